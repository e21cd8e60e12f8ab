"""ALI, GAN-G and the mixture of its codes: losses, whom they move, networks, posteriors as in scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from ganbench import registry
from ganbench.datasets import Dataset
from ganbench.distributions.noise import draw
from ganbench.errors import UserError
from ganbench.game.contract import DataSpec, Game
from ganbench.layers.blocks import BatchNorm2d
from ganbench.losses.adversarial import pair_critic, pair_generator
from ganbench.suites.expand import expand
from ganbench.suites.suite import read_suite
from ganbench.training.stack import Stack

DENSE = {"kind": "mlp", "generator": [12, 12], "critic": [10, 10]}
CONV = {"kind": "conv", "width": 4}
IMAGES = (1, 8, 8)
NAMES = ["ali", "gan-g", "ali-mixtures", "ali-gmm"]


def build(name: str, shape: tuple[int, ...] = IMAGES, backbone: dict = DENSE, **settings: object) -> Game:
    model = registry.models.get(name)
    options = {key.replace("__", "."): value for key, value in settings.items()}
    data_spec = DataSpec("tiny", shape, 0, torch.zeros(shape))
    return model.build(data_spec, model.settings(backbone, options), seed=1).double()


def inputs(game: Game, n: int = 12) -> tuple[Tensor, dict[str, Tensor]]:
    drawn = draw(game.noise(), n, [torch.Generator().manual_seed(0)], torch.empty(0, dtype=torch.float64))
    noise = {name: value[0] for name, value in drawn.items()}
    x = torch.rand(n, *game.data.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 2 - 1
    return x, noise | game.precompute(noise)


def widths(network: nn.Module) -> list[tuple[int, ...]]:
    kinds = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
    return [tuple(m.weight.shape) for m in network.modules() if isinstance(m, kinds)]


# ---------------------------------------------------------------- losses


def test_pair_losses_are_cross_entropies_and_swap():
    q, p = torch.randn(2, 30, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    expected = cross_entropy(q, torch.ones_like(q)) + cross_entropy(p, torch.zeros_like(p))
    assert pair_critic(q, p).item() == pytest.approx(expected.item(), rel=1e-12)
    assert pair_generator(q, p).item() == pytest.approx(pair_critic(p, q).item(), rel=1e-12)
    assert pair_generator(q, p).item() == pytest.approx(pair_critic(-q, -p).item(), rel=1e-12)
    zero = torch.zeros(4, 1)
    assert pair_critic(zero, zero).item() == pytest.approx(2 * math.log(2)) == pytest.approx(1.3863, abs=5e-5)
    assert pair_generator(zero, zero).item() == pytest.approx(2 * math.log(2))


def test_the_critics_optimum_gives_the_jensen_shannon_divergence():
    """On four cells the best logits are log(q / p), and the loss is 2 log 2 - 2 JS(q, p)."""
    q = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    p = torch.tensor([0.1, 0.1, 0.3, 0.5], dtype=torch.float64)
    counts_q, counts_p = (1000 * q).round().int(), (1000 * p).round().int()
    logits = (q / p).log().requires_grad_()
    loss = pair_critic(logits.repeat_interleave(counts_q), logits.repeat_interleave(counts_p))
    middle = (q + p) / 2
    js = 0.5 * ((q * (q / middle).log()).sum() + (p * (p / middle).log()).sum())
    assert loss.item() == pytest.approx(2 * math.log(2) - 2 * js.item(), rel=1e-9)
    assert torch.autograd.grad(loss, logits)[0].abs().max() < 1e-12
    # Where q = p the optimum is logit 0, and no player gains by moving.
    zero = torch.zeros(1000, dtype=torch.float64)
    assert pair_critic(zero, zero).item() == pytest.approx(2 * math.log(2))


@pytest.mark.parametrize("name", NAMES)
def test_a_critic_that_says_zero_leaves_both_losses_at_two_log_two(name):
    game = build(name)
    with torch.no_grad():
        for parameter in game.D.parameters():
            parameter.zero_()
    x, noise = inputs(game)
    for player in game.players:
        assert game(f"{player.name}_loss", x, noise).item() == pytest.approx(2 * math.log(2), rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_encoder_learns_from_data_and_generator_from_noise(name):
    game = build(name)
    x, noise = inputs(game)
    encoder, generator = list(game.E.parameters()), list(game.G.parameters())
    q, p = game.judge(x, noise)
    assert q.shape == p.shape == (12, 1)

    def reached(loss: Tensor, parameters: list[Tensor]) -> list[bool]:
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        return [gradient is not None for gradient in found]

    assert all(reached(q.sum(), encoder)) and not any(reached(q.sum(), generator))
    assert all(reached(p.sum(), generator)) and not any(reached(p.sum(), encoder))
    # Both descend on the critic's mistakes: a step against the gradient lowers the logit of q and lifts that of p.
    q, p = q.detach().requires_grad_(), p.detach().requires_grad_()
    slopes = torch.autograd.grad(pair_generator(q, p), [q, p])
    assert (slopes[0] > 0).all() and (slopes[1] < 0).all()


# ---------------------------------------------------------------- encoders and abilities


def test_the_gaussian_encoder_draws_from_its_mean_and_deviation():
    game = build("ali", latent=3).eval()
    x, noise = inputs(game)
    mean, log_deviation = game.E(x).chunk(2, dim=1)
    assert torch.equal(game.encode(x), mean)
    drawn = game.infer(x, noise["code"])
    assert torch.allclose((drawn - mean) / log_deviation.exp(), noise["code"], atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [IMAGES, (2,)], ids=["image", "vector"])
def test_reconstruction_is_the_decoded_code(name, shape):
    game = build(name, shape).eval()
    x, noise = inputs(game, 5)
    codes = game.encode(x)
    assert codes.shape == (5, game.config.latent)
    assert torch.equal(game.reconstruct(x), game.decode(codes)) and game.reconstruct(x).shape == x.shape
    assert torch.equal(game.decode(noise["z"]), game.sample(noise))


def test_feature_matching_is_refused():
    with pytest.raises(UserError, match="judges pairs"):
        game = build("ali")
        game.match_features(game.players[0], torch.zeros(2, *IMAGES), torch.zeros(2, *IMAGES))


def test_critic_noise_is_on_both_parts_of_both_pairs():
    plain, game = build("gan-g", latent=3), build("gan-g", latent=3, critic_noise=0.2)
    x, noise = inputs(game)
    blur = {side: noise[f"blur_{side}"] for side in "qp"}
    assert all(part.shape == (12, 64 + 3) for part in blur.values()) and not torch.equal(blur["q"], blur["p"])
    pairs = {"q": (x, plain.encode(x)), "p": (noise["fake"], noise["z"])}
    expected = [
        plain.D(image + 0.2 * blur[side][:, :64].reshape(image.shape), code + 0.2 * blur[side][:, 64:])
        for side, (image, code) in pairs.items()
    ]
    for found, logits in zip(game.judge(x, noise), expected, strict=True):
        assert torch.allclose(found, logits, rtol=0, atol=1e-12)
    assert "blur_q" not in plain.noise()


@pytest.mark.parametrize("suite", ["clustering", "clustering-10", "clustering-30"])
def test_games_of_pairs_of_image_and_code_have_equal_settings_where_they_are_compared(suite):
    """What helps small networks, fewer latent numbers and noise on the critics, helps the rival as well."""
    plan = expand(read_suite(suite), "cpu")
    rivals = {"ali-gmm", "ali", "graphical-gan-mixture", "graphical-gan-mixture-global"} & set(plan)
    settings = [plan[name][0].settings for name in sorted(rivals)]
    assert {"ali-gmm", "graphical-gan-mixture"} <= rivals
    assert {(own["latent"], own["critic_noise"]) for own in settings} == {(16, 0.3)}


def test_ali_has_a_plane_of_codes_for_a_plane():
    spec = expand(read_suite("mixtures"), "standard", ["ali"])["ali"][0]
    assert spec.settings["latent"] == 2 and spec.batch == 100


# ---------------------------------------------------------------- the papers' networks


def test_gan_g_2018_has_the_released_sizes():
    game = build("gan-g-2018", (1, 28, 28))
    maps = [(64, 1, 5, 5), (128, 64, 5, 5), (256, 128, 5, 5)]
    assert widths(game.G) == [(4096, 128), (256, 128, 5, 5), (128, 64, 5, 5), (64, 1, 5, 5)]
    assert widths(game.E) == [*maps, (128, 4096)]
    assert widths(game.D) == [*maps, (512, 128), (512, 512), (512, 4608), (512, 512), (1, 512)]
    for network in (game.E, game.D):
        assert [m.num_features for m in network.modules() if isinstance(m, BatchNorm2d)] == [128, 256]
    assert [p.optimiser.lr for p in game.players] == [2e-4] * 2 and not game.config.simultaneous


def test_ali_mixtures_has_the_released_sizes():
    model = registry.models.get("ali-mixtures")
    data_spec = DataSpec("plane", (2,), 0, torch.zeros(2))
    game = model.build(data_spec, model.settings(DENSE), seed=0)
    assert widths(game.G) == [(400, 2), *[(400, 400)] * 3, (2, 400)]
    assert widths(game.E) == [(400, 4), (400, 400), (2, 400)]
    assert widths(game.D) == [(1000, 4), (1000, 200), (1000, 200), (1, 200)]
    for network in (game.G, game.E, game.D):
        weights = torch.cat([m.weight.flatten() for m in network.modules() if isinstance(m, nn.Linear)])
        assert weights.std().item() == pytest.approx(0.02, rel=0.02)
    assert game.config.simultaneous and {p.optimiser.betas[0] for p in game.players} == {0.8}


# ---------------------------------------------------------------- the mixture of codes


@pytest.mark.parametrize("covariance", ["diag", "full"])
def test_cluster_is_scikit_learns_posterior(covariance):
    game = build("ali-gmm", clusters=4, latent=3, covariance=covariance).eval()
    images = torch.rand(1300, *IMAGES, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 2 - 1
    assert torch.allclose(game.cluster(images).exp(), torch.full((1300, 4), 0.25, dtype=torch.float64))
    game.finalize(images, None, seed=2**40 + 5)
    with torch.no_grad():
        codes, found = game.encode(images).numpy(), game.cluster(images).numpy()
    own = GaussianMixture(4, covariance_type=covariance, random_state=5).fit(codes)
    _, expected = own._estimate_log_prob_resp(codes)
    assert found.dtype == np.float64 and np.abs(found - expected).max() < 1e-8
    assert np.abs(np.exp(found).sum(1) - 1).max() < 1e-12
    fresh = build("ali-gmm", clusters=4, latent=3, covariance=covariance).eval()
    fresh.load_state_dict(game.state_dict())
    assert np.array_equal(fresh.cluster(images).detach().numpy(), found)


def test_fewer_images_than_clusters():
    game = build("ali-gmm", clusters=10, latent=2).eval()
    images = torch.rand(6, *IMAGES, dtype=torch.float64)
    game.finalize(images, None, seed=0)
    assert game.cluster(images).shape == (6, 6)


# ---------------------------------------------------------------- a law that is known


def test_the_encoder_learns_to_invert_the_generator():
    """x ~ N(1, 0.5^2) and z ~ N(0, 1): at the optimum x = 1 +- z / 2, and E undoes G."""
    x = 1 + 0.5 * torch.randn(2000, 1, generator=torch.Generator().manual_seed(0))
    data = Dataset("line", {split: x for split in ("train", "validation", "test")}, {}, classes=0)
    model = registry.models.get("gan-g")
    backbone = {"kind": "mlp", "generator": [], "critic": [32, 32], "generator_norm": "none"}
    rate = {"kind": "adam", "lr": 2e-3, "betas": [0.5, 0.999], "schedule": {"kind": "linear-decay", "start": 0.5}}
    settings = {"latent": 1, "discriminator.optimiser": rate, "generator.optimiser": rate, "simultaneous": True}
    game = model.build(data.data_spec, model.settings(backbone, settings), seed=0)
    start = (game.reconstruct(x) - x).square().mean().item()
    stack = Stack([game], [0], data, "gan-g", 100, 1500)
    while stack.round < 1500:
        stack.train_round()
    game.load_state_dict(stack.weights()[0])
    with torch.no_grad():
        z = torch.randn(2000, 1, generator=torch.Generator().manual_seed(1))
        made, error = game.sample({"z": z}), (game.reconstruct(x) - x).square().mean().item()
    assert error < 0.03 < start  # the variance is 0.25
    assert made.mean().item() == pytest.approx(1, abs=0.15) and made.std().item() == pytest.approx(0.5, abs=0.15)
