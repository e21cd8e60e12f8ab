"""InfoGAN: its bound in closed form, who learns from it, its relation to a GAN, and that the codes are found."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from ganbench import datasets, registry
from ganbench.distributions.noise import draw
from ganbench.errors import UserError
from ganbench.game.contract import Game
from ganbench.losses.adversarial import gan_discriminator, gan_generator_nonsaturating
from ganbench.training.batches import scale
from ganbench.training.stack import Stack

DENSE = {"kind": "mlp", "generator": [12], "critic": [10, 9]}
CONV = {"kind": "conv", "width": 4}
BATCH = 16


def build(data, name: str = "infogan", backbone: dict = DENSE, overrides: dict | None = None) -> Game:
    model = registry.models.get(name)
    return model.build(data.data_spec, model.settings(backbone, overrides or {}), 0).double()


def batch(game: Game, data, n: int = BATCH) -> tuple[Tensor, dict[str, Tensor]]:
    """Real images and noise with the fakes as every player but the last gets them."""
    like = torch.empty(0, dtype=torch.float64)
    noise = {k: v[0] for k, v in draw(game.noise(), n, [torch.Generator().manual_seed(1)], like).items()}
    return scale(data.images["train"][:n], torch.float64), noise | game.precompute(noise)


class Answer(nn.Module):
    """A Q that says the same whatever it sees."""

    def __init__(self, out: Tensor) -> None:
        super().__init__()
        self.out = out

    def forward(self, features: Tensor) -> Tensor:
        return self.out


def told(game: Game, noise: dict[str, Tensor], *parts: Tensor) -> tuple[float, float]:
    game.Q = Answer(torch.cat(parts, 1))
    return tuple(bound.item() for bound in game.information(torch.zeros(BATCH, 9).double(), noise))


# ---------------------------------------------------------------- the bound


def test_information_is_log_k_for_a_perfect_q_none_for_a_uniform_one_and_never_more(tiny):
    game = build(tiny())
    _, noise = batch(game, tiny())
    hot = torch.eye(10).double()[(noise["category"][:, 0] * 10).long()]
    c = noise["c"]
    assert told(game, noise, 1e3 * hot, c)[0] == pytest.approx(math.log(10), rel=1e-12)
    assert told(game, noise, 0 * hot, c)[0] == pytest.approx(0, abs=1e-12)
    assert told(game, noise, -1e3 * hot, c)[0] < -900
    # q on the true category: log 10 + log q
    logits = hot * math.log(0.7) + (1 - hot) * math.log(0.3 / 9)
    assert told(game, noise, logits, c)[0] == pytest.approx(math.log(7), rel=1e-12)
    for seed in range(5):
        random = torch.randn(BATCH, 10, generator=torch.Generator().manual_seed(seed)).double() * 3
        assert told(game, noise, random, c)[0] <= math.log(10)


@pytest.mark.parametrize("learned", [False, True])
def test_continuous_information_is_the_entropy_and_gaussian_log_density(learned, tiny):
    game = build(tiny(), overrides={"learned_std": learned})
    _, noise = batch(game, tiny())
    c, logits = noise["c"], torch.zeros(BATCH, 10).double()
    mean = c + torch.tensor([0.3, -0.5]).double()
    std = torch.tensor([0.2, 1.7]).double() if learned else torch.ones(2).double()
    parts = [std.log().expand(BATCH, 2)] if learned else []
    density = torch.distributions.Normal(mean, std).log_prob(c).sum(1).mean().item()
    assert told(game, noise, logits, mean, *parts)[1] == pytest.approx(2 * math.log(2) + density, rel=1e-12)
    if not learned:  # unit variance cannot do better than this
        assert told(game, noise, logits, c)[1] == pytest.approx(2 * math.log(2) - math.log(2 * math.pi), rel=1e-12)


def test_codes_are_uniform_and_one_hot(tiny):
    game = build(tiny(), overrides={"clusters": 4, "latent": 5}).eval()
    seen = []
    game.G = nn.Module()
    game.G.forward = lambda codes: seen.append(codes) or codes
    n = 4000
    like = torch.empty(0, dtype=torch.float64)
    noise = {k: v[0] for k, v in draw(game.noise(), n, [torch.Generator().manual_seed(0)], like).items()}
    noise["category"][:2, 0] = torch.tensor([0.0, 1 - 2**-25]).double()
    game.sample(noise | {"category": noise["category"].float().double()})
    [codes] = seen
    z, hot, c = codes.split([5, 4, 2], 1)
    assert hot[:2].tolist() == [[1, 0, 0, 0], [0, 0, 0, 1]]  # 1 - 2^-25 is 1 in float32
    assert torch.equal(hot.sort(1).values, torch.tensor([0.0, 0, 0, 1]).double().expand(n, 4))
    assert torch.allclose(hot.mean(0), torch.full((4,), 0.25).double(), atol=0.03)
    for part in (z, c):
        assert part.min() >= -1 and part.max() < 1
        assert part.mean().item() == pytest.approx(0, abs=0.02)
        assert part.var().item() == pytest.approx(1 / 3, abs=0.02)  # that of U(-1, 1)


# ---------------------------------------------------------------- losses and who learns from them


@pytest.mark.parametrize(("name", "backbone"), [("infogan", DENSE), ("infogan", CONV), ("infogan-2016", DENSE)])
def test_without_information_the_losses_are_those_of_a_gan(name, backbone, tiny):
    overrides = {"information": 0.0} | ({"backbone.width": 4, "hidden": 8} if name == "infogan-2016" else {})
    game = build(tiny(), name, backbone, overrides)
    x, noise = batch(game, tiny())
    # The paper's cross-entropies are sums, ours of GANs halves.
    expected = 2 * gan_discriminator(game.D(x), game.D(noise["fake"])).item()
    assert game.discriminator_loss(x, noise).item() == expected
    expected = gan_generator_nonsaturating(game.D(noise["fake"])).item()
    assert game.generator_loss(x, noise).item() == expected


def test_information_is_subtracted_from_both_losses(tiny):
    plain, game = build(tiny(), overrides={"information": 0.0}), build(tiny(), overrides={"information": 2.5})
    x, noise = batch(game, tiny())
    bound = sum(game.information(game.D.features(noise["fake"]), noise)).item()
    for loss in ("discriminator_loss", "generator_loss"):
        gap = getattr(plain, loss)(x, noise) - getattr(game, loss)(x, noise)
        assert gap.item() == pytest.approx(2.5 * bound, rel=1e-9)


def test_information_reaches_the_trunk_and_q_in_one_step_and_g_in_the_other(tiny):
    game = build(tiny())
    _, noise = batch(game, tiny())
    noise["fake"].retain_grad()
    sum(game.information(game.D.features(noise["fake"]), noise)).backward()
    trunk = [p for block in game.D.blocks[:-1] for p in block.parameters()]
    assert all(p.grad.abs().max() > 0 for p in [*trunk, *game.Q.parameters(), *game.G.parameters()])
    assert all(p.grad is None for p in game.D.blocks[-1].parameters())


@pytest.mark.parametrize("mover", ["discriminator", "generator"])
def test_a_step_moves_the_nets_of_its_player_alone(mover, tiny):
    data = tiny()
    games = [build(data)]
    games[0].players = tuple(p for p in games[0].players if p.name == mover)
    stack = Stack(games, [0], data, "infogan", BATCH, 2, dtype=torch.float64)
    before = {n: p.detach().clone() for n, p in stack.state.parameters.items()}
    stack.train_round()
    moved = {n.split(".")[0] for n, p in stack.state.parameters.items() if not torch.equal(p, before[n])}
    assert moved == ({"D", "Q"} if mover == "discriminator" else {"G"})


# ---------------------------------------------------------------- networks and abilities


def test_released_networks_have_the_published_sizes():
    model = registry.models.get("infogan-2016")
    data_spec = datasets.Dataset("square", {"train": torch.zeros(2, 1, 28, 28, dtype=torch.uint8)}, {}).data_spec
    game = model.build(data_spec, model.settings(DENSE), 0)
    linear = [(m.in_features, m.out_features) for m in game.modules() if isinstance(m, nn.Linear)]
    assert linear == [(74, 1024), (1024, 6272), (6272, 1024), (1024, 1), (1024, 128), (128, 12)]
    convs = [
        (m.in_channels, m.out_channels, m.kernel_size, m.stride) for m in game.modules() if hasattr(m, "stride")
    ]
    assert convs == [
        (128, 64, (4, 4), (2, 2)),
        (64, 1, (4, 4), (2, 2)),
        (1, 64, (4, 4), (2, 2)),
        (64, 128, (4, 4), (2, 2)),
    ]
    sizes = {name: sum(p.numel() for p in net.parameters()) / 1e6 for name, net in game.named_children()}
    # The released generator has a gain and shift for each unit of its first maps.
    sizes["G"] += 2 * (6272 - 128) / 1e6
    assert sizes == pytest.approx({"G": 6.65, "D": 6.56, "Q": 0.13}, abs=0.006)
    linear = [m.weight for m in game.modules() if isinstance(m, nn.Linear) and m.weight.numel() > 1e5]
    assert all(weight.std().item() == pytest.approx(0.02, rel=0.02) for weight in linear)
    assert {m.slope for m in game.modules() if hasattr(m, "slope")} == {0.01}


def test_d_sees_pixels_from_0_to_1_if_asked(tiny):
    plain, shifted = build(tiny()), build(tiny(), overrides={"zero_one": True})
    x, _ = batch(plain, tiny())
    assert torch.allclose(shifted.D(x), plain.D((x + 1) / 2), rtol=0, atol=1e-12)


@pytest.mark.parametrize("continuous", [0, 1, 2])
def test_clusters_are_log_probabilities_and_codes_hold_them_and_the_means(continuous, tiny):
    game = build(tiny(), overrides={"continuous": continuous, "learned_std": True, "clusters": 7}).eval()
    x, noise = batch(game, tiny())
    log_q, codes = game.cluster(x), game.encode(x)
    assert log_q.shape == (BATCH, 7) and codes.shape == (BATCH, 7 + continuous)
    assert torch.allclose(log_q.logsumexp(1), torch.zeros(BATCH).double(), atol=1e-12)
    out = game.Q(game.D.features(x))
    assert torch.allclose(codes, torch.cat([out[:, :7].softmax(1), out[:, 7 : 7 + continuous]], 1), atol=1e-12)
    assert torch.allclose(game.cluster(x[3:4])[0], log_q[3], rtol=0, atol=1e-12)
    assert ("c" in noise) == (continuous > 0)
    with torch.no_grad():  # ties at probability 1 are still ranked
        game.Q[-1].weight.mul_(1e4)
    assert game.cluster(x).isfinite().all() and game.cluster(x).exp().max() == 1


def test_finish_gives_the_norms_the_moments_of_real_images(tiny):
    data = tiny()
    game = build(data, "infogan-2016", DENSE, {"backbone.width": 4, "hidden": 8})
    for _ in range(3):
        game.discriminator_loss(*batch(game, data))
    images = scale(data.images["train"], torch.float64)
    trained = deepcopy(game).train()
    expected = trained.Q(trained.D.features(images))  # by the batch's own moments
    samples = game.eval().sample(batch(game, data)[1])
    before = game.Q(game.D.features(images))
    game.finalize(images, None, 0)
    found = game.Q(game.D.features(images))
    # Running variances are divided by n - 1, those of a batch by n.
    assert (found - expected).abs().max() < 0.1 * (before - expected).abs().max()
    assert torch.equal(game.sample(batch(game, data)[1]), samples) and not any(m.training for m in game.modules())


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("infogan", {"backbone.keep": [0.5]}),
        ("infogan-2016", {"backbone.minibatch_kernels": 3, "backbone.width": 4}),
    ],
)
def test_what_the_heads_cannot_share_is_refused(name, overrides, tiny):
    with pytest.raises(UserError, match=f"{name} cannot play on .*: InfoGAN needs a backbone without dropout"):
        build(tiny(), name, overrides=overrides)


# ---------------------------------------------------------------- training


def test_the_codes_are_found_in_the_images():
    data = datasets.load("digits")
    model = registry.models.get("infogan")
    settings = model.settings({"kind": "mlp", "generator": [64], "critic": [64]})
    start = model.build(data.data_spec, settings, 0)
    stack = Stack([start], [0], data, "infogan", 100, 300)
    found = []
    for rounds in (1, 299):
        for _ in range(rounds):
            stack.train_round()
        game = model.build(data.data_spec, settings, 0)
        game.load_state_dict(stack.weights()[0])
        like = torch.empty(0)
        noise = {k: v[0] for k, v in draw(game.noise(), 500, [torch.Generator().manual_seed(9)], like).items()}
        with torch.no_grad():
            game.train()  # moments of the generated images, as in training
            found.append(game.information(game.D.features(game.sample(noise)), noise)[0].item())
    assert found[0] < 0.5 and 1.5 < found[1] <= math.log(10)
