"""DCGAN, PacGAN and VEEGAN are the models of their papers: networks, settings, losses, packs, numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import logsigmoid

from ganbench import registry
from ganbench.distributions.noise import draw
from ganbench.errors import UserError
from ganbench.game import Adam
from ganbench.game.contract import DataSpec, Game
from ganbench.layers.blocks import BatchNorm1d, BatchNorm2d
from ganbench.suites.expand import expand
from ganbench.suites.suite import read_suite

DENSE = {"kind": "mlp", "generator": [12, 12], "critic": [10, 10]}
CONV = {"kind": "conv", "width": 4}
IMAGES, PLANE = (3, 8, 8), (2,)


def build(name: str, shape: tuple[int, ...] = IMAGES, backbone: dict | None = None, **settings: object) -> Game:
    model = registry.models.get(name)
    data_spec = DataSpec("tiny", shape, 0, torch.zeros(shape))
    return model.build(data_spec, model.settings(backbone or DENSE, settings), seed=1).double()


def inputs(game: Game, n: int = 12) -> tuple[Tensor, dict[str, Tensor]]:
    drawn = draw(game.noise(), n, [torch.Generator().manual_seed(0)], torch.empty(0, dtype=torch.float64))
    noise = {name: value[0] for name, value in drawn.items()}
    x = torch.rand(n, *game.data.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 2 - 1
    return x, noise | game.precompute(noise)


def widths(network: nn.Module) -> list[tuple[int, ...]]:
    kinds = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
    return [tuple(m.weight.shape) for m in network.modules() if isinstance(m, kinds)]


class Recorder(nn.Module):
    """A critic that keeps what it is shown and gives the mean of each row."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return x.flatten(1).mean(1, keepdim=True)


# ---------------------------------------------------------------- DCGAN


@pytest.mark.parametrize(("name", "width"), [("dcgan", 128), ("dcgan-torch", 64)])
def test_dcgan_has_the_papers_sizes(name, width):
    game = build(name, (3, 64, 64), CONV)
    channels = [8 * width, 4 * width, 2 * width, width]
    pairs = list(zip([3, *channels[::-1]], channels[::-1], strict=False))  # from the image inwards
    assert widths(game.G) == [(channels[0] * 16, 100), *((wide, thin, 4, 4) for thin, wide in reversed(pairs))]
    assert widths(game.D) == [*((wide, thin, 4, 4) for thin, wide in pairs), (1, channels[0] * 16)]
    # Batch norm everywhere but at the generator's output and the critic's input.
    assert [m.num_features for m in game.G.modules() if isinstance(m, BatchNorm2d)] == channels
    assert [m.num_features for m in game.D.modules() if isinstance(m, BatchNorm2d)] == channels[-2::-1]
    small = build(name, (1, 28, 28), DENSE)
    w = width
    assert widths(small.G) == [(2 * w * 49, 100), (2 * w, w, 4, 4), (w, 1, 4, 4)]
    assert widths(small.D) == [(w, 1, 4, 4), (2 * w, w, 4, 4), (1, 2 * w * 49)]
    assert [player.optimiser for player in game.players] == [Adam(2e-4, (0.5, 0.999))] * 2


def test_dcgan_latent_laws():
    for name, bound, deviation in (("dcgan", 1.0, 3**-0.5), ("dcgan-torch", 10.0, 1.0)):
        law = build(name).noise()["z"]
        z = law.fill(torch.empty(5000, *law.shape), torch.Generator().manual_seed(0))
        assert z.abs().max() <= bound and z.std().item() == pytest.approx(deviation, rel=0.01)
        assert z.min() < -0.99 * min(bound, 1)


def test_dcgan_refuses_vectors():
    with pytest.raises(UserError, match=r"dcgan cannot play on tiny: .* needs square images .* got shape \(2,\)"):
        build("dcgan", PLANE)


# ---------------------------------------------------------------- PacGAN


@pytest.mark.parametrize(("shape", "backbone"), [(IMAGES, DENSE), (IMAGES, CONV), (PLANE, DENSE)], ids=str)
def test_packs_of_one_are_the_plain_gan(shape, backbone):
    gan, packed = build("gan", shape, backbone), build("pacgan-2", shape, backbone, pack=1)
    packed.load_state_dict(gan.state_dict())
    for player in gan.players:
        found = []
        for game in (gan, packed):
            loss = game(f"{player.name}_loss", *inputs(game))
            mine = [p for n, p in game.named_parameters() if n.startswith(player.nets)]
            found.append([loss, *torch.autograd.grad(loss, mine)])
        assert all(torch.allclose(a, b, rtol=1e-10, atol=0) for a, b in zip(*found, strict=True))
        assert all(value.abs().sum() > 0 for value in found[0])


@pytest.mark.parametrize("shape", [IMAGES, PLANE], ids=str)
@pytest.mark.parametrize("pack", [2, 3, 4])
def test_packs_are_disjoint_and_of_one_kind(pack, shape):
    game = build(f"pacgan-{pack}", shape)
    game.D = Recorder()
    x, noise = inputs(game, n=11)
    fake = noise["fake"]
    game.discriminator_loss(x, noise)
    game.generator_loss(x, noise)
    assert len(game.D.seen) == 3
    for seen, kind in zip(game.D.seen, (x, fake, fake), strict=True):
        expected = [torch.cat(list(kind[i * pack : (i + 1) * pack]), 0) for i in range(11 // pack)]
        assert torch.equal(seen, torch.stack(expected))
    critic = build(f"pacgan-{pack}", shape).D
    assert critic.blocks[0][1].weight.shape[1] == pack * torch.Size(shape).numel()


def test_the_images_of_a_pack_share_the_input_channels_of_a_conv_critic():
    game = build("pacgan-3", IMAGES, CONV)
    assert widths(game.D)[0] == (4, 9, 4, 4)
    x, noise = inputs(game)
    assert game.D(game.pack(x)).shape == (4, 1) and game.sample(noise).shape == (12, *IMAGES)


def test_the_discriminator_sees_whether_a_pack_repeats_itself():
    """What packing is for: two batches with equal images one by one, and other logits pack by pack."""
    game = build("pacgan-2", PLANE)
    x, _ = inputs(game, 12)
    twice = x[:6].repeat_interleave(2, 0)
    assert (game.D(game.pack(twice)).mean() - game.D(game.pack(x[:6].repeat(2, 1))).mean()).abs() > 1e-4


def test_a_batch_smaller_than_a_pack_is_refused():
    game = build("pacgan-4")
    x, noise = inputs(game, n=3)
    with pytest.raises(UserError, match="a pack of 4 needs a larger batch than 3; raise batch or lower pack"):
        game.discriminator_loss(x, noise)


@pytest.mark.parametrize("pack", [2, 3, 4])
def test_a_batch_is_one_of_packs(pack):
    """Lin et al. draw 100 packs where a plain GAN sees 100 examples; more examples in all, not fewer packs."""
    for suite, budget in (("mixtures", "standard"), ("stacked-mnist", "standard")):
        plan = expand(read_suite(suite), budget, ["gan", f"pacgan-{pack}"])
        [gan, packed] = (specs[0].batch for specs in plan.values())
        assert packed == pack * gan
    model = registry.models.get(f"pacgan-{pack}-2018")
    assert model.read(model.settings(DENSE))[0].examples(7) == 100 * pack


def test_features_are_matched_on_packs():
    game = build("pacgan-2", PLANE)
    x, noise = inputs(game)
    gap = game.D.features(game.pack(x)).mean(0) - game.D.features(game.pack(noise["fake"])).mean(0)
    found = game.match_features(game.players[1], x, noise["fake"])
    assert found.item() == pytest.approx(gap.square().mean().item(), rel=1e-12)


@pytest.mark.parametrize("pack", [2, 3, 4])
def test_pacgan_2018_has_the_released_settings(pack):
    game = build(f"pacgan-{pack}-2018", PLANE)
    assert widths(game.G) == [(400, 2), *[(400, 400)] * 3, (2, 400)]
    assert widths(game.D) == [(1000, 2 * pack), (1000, 200), (1000, 200), (1, 200)]
    assert sum(isinstance(m, BatchNorm1d) for m in game.G.modules()) == 4
    assert [player.optimiser for player in game.players] == [Adam(1e-4, (0.8, 0.999))] * 2
    assert game.config.simultaneous and game.config.pack == pack
    for weight in (p for p in game.parameters() if p.dim() == 2 and p.numel() > 10_000):
        assert weight.std().item() == pytest.approx(0.02, rel=0.02)


# ---------------------------------------------------------------- VEEGAN


@pytest.mark.parametrize(("shape", "backbone"), [(IMAGES, DENSE), (IMAGES, CONV), (PLANE, DENSE)], ids=str)
def test_veegan_losses_by_hand(shape, backbone):
    game = build("veegan", shape, backbone, latent=7)
    x, noise = inputs(game)
    z, fake = noise["z"], game.G(noise["z"])
    surprise = -Normal(game.R(fake), 1.0).log_prob(z).sum(1).mean()
    generated = game.D(fake, z)
    data = game.D(x, Normal(game.R(x), 1.0).icdf(torch.special.ndtr(noise["code"])))  # a sample by quantiles
    expected = {
        "discriminator": -0.5 * (logsigmoid(generated).mean() + logsigmoid(-data).mean()),
        "reconstructor": surprise,
        "generator": generated.mean() + surprise,
    }
    assert [player.name for player in game.players] == list(expected)
    for name, value in expected.items():
        assert game(f"{name}_loss", x, noise).item() == pytest.approx(value.item(), rel=1e-9)


@pytest.mark.parametrize("backbone", [DENSE, CONV], ids=["mlp", "conv"])
def test_veegan_judges_pairs_one_by_one(backbone):
    game = build("veegan", IMAGES, {**backbone, "minibatch_kernels": 3}, latent=7)
    x, noise = inputs(game)
    logits = game.D(x, noise["z"])
    assert torch.allclose(game.D(x[:3], noise["z"][:3]), logits[:3], rtol=0, atol=1e-12) == (backbone is CONV)
    assert (game.D(x.roll(1, 0), noise["z"]) - logits).abs().min() > 1e-9
    assert (game.D(x, noise["z"].roll(1, 0)) - logits).abs().min() > 1e-9
    # encoders see one image at a time, whatever the critic does
    assert torch.allclose(game.encode(x[:3]), game.encode(x)[:3], rtol=0, atol=1e-12)
    assert game.encode(x).shape == (12, 7)
    game.eval()
    assert torch.equal(game.reconstruct(x), game.G(game.R(x)))


def test_veegan_settings():
    game = build("veegan", PLANE)
    assert game.noise()["z"].shape == (254,) and widths(game.D)[0] == (10, 2 + 254)
    assert [player.optimiser for player in game.players] == [Adam(1e-3, (0.5, 0.999))] * 3
    assert not game.noise()["z"].training_only and game.noise()["code"].training_only
    assert {"encode", "reconstruct"} <= set(registry.models.get("veegan").abilities)


# ---------------------------------------------------------------- label smoothing, published numbers


@pytest.mark.parametrize("name", ["gan", "dcgan-torch", "pacgan-2"])
def test_targets_of_both_players(name):
    game = build(name, IMAGES, CONV, real_target=0.9, fake_target=0.05, **{"backbone.width": 4})
    x, noise = inputs(game)
    pack = getattr(game, "pack", lambda images: images)
    real, fake = game.D(pack(x)), game.D(pack(noise["fake"]))
    expected = cross_entropy(real, torch.full_like(real, 0.9)) + cross_entropy(fake, torch.full_like(fake, 0.05))
    assert game.discriminator_loss(x, noise).item() == pytest.approx(expected.item() / 2, rel=1e-12)
    cost = cross_entropy(fake, torch.ones_like(fake)).item()  # the generator's target stays 1
    assert game.generator_loss(x, noise).item() == pytest.approx(cost, rel=1e-12)
    with pytest.raises(UserError, match="real_target"):
        build(name, IMAGES, CONV, real_target=1.1)


def test_published_numbers_of_mode_coverage():
    rows = {}
    for name in registry.models.names():
        entries = registry.models.get(name).published
        rows[name] = {(e.dataset, e.metric, e.source[:4]): (e.value, e.error, e.comparable) for e in entries}
    assert rows["pacgan-4-2018"]["grid", "modes-captured", "Lin "] == (24.8, 0.2, True)
    assert rows["pacgan-2-2018"]["ring", "high-quality", "Lin "] == (0.956, 0.020, True)
    assert rows["gan"]["grid", "mode-kl", "Lin "] == (0.70, 0.07, True)
    assert [rows["gan"]["ring", "modes-captured", paper][0] for paper in ("Lin ", "Sriv")] == [6.3, 1.0]
    assert rows["veegan"]["stacked-mnist", "stacked-kl@lenet-mnist-v1", "Sriv"][0] == 2.95
    most = {"ring": 8, "grid": 25, "stacked-mnist": 1000, "mixture-1200d": 10}
    for cells in rows.values():
        for (dataset, metric, _), (value, _, _) in cells.items():
            if metric == "high-quality":
                assert 0 < value <= 1
            if metric.split("@")[0] in ("modes-captured", "stacked-modes"):
                assert 0 <= value <= most[dataset]
