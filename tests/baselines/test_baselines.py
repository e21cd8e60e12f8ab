"""Each baseline is the model of its paper: losses, networks, settings, references, published numbers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, MultivariateNormal, Normal, kl_divergence
from torch.nn.functional import linear

from ganbench import registry
from ganbench.datasets import Dataset, load
from ganbench.distributions.noise import draw
from ganbench.game import SGD, Adam, Decay, LinearDecay, RMSprop
from ganbench.game.contract import DataSpec, Game
from ganbench.layers.blocks import Spectral
from ganbench.layers.networks import Conv
from ganbench.losses.adversarial import gradient_penalty, r1_penalty
from ganbench.losses.divergences import NAMES
from ganbench.metrics.modes import nearest_modes
from ganbench.records import to_json
from ganbench.suites.expand import expand
from ganbench.suites.suite import read_suite
from ganbench.training.batches import scale

DENSE = {"kind": "mlp", "generator": [12, 12], "critic": [10, 10]}
BATCH = 16


def build(name: str, data: Dataset, backbone: dict | None = None, **settings: object) -> Game:
    model = registry.models.get(name)
    return model.build(data.data_spec, model.settings(backbone or DENSE, settings), seed=1).double()


def inputs(game: Game, data: Dataset, n: int = BATCH) -> tuple[Tensor, dict[str, Tensor]]:
    noise = draw(game.noise(), n, [torch.Generator().manual_seed(0)], torch.empty(0, dtype=torch.float64))
    alone = {name: value[0] for name, value in noise.items()}
    return scale(data.images["train"][:n], torch.float64), alone | game.precompute(alone)


def softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


# ---------------------------------------------------------------- the 2014 GAN


@pytest.fixture
def paper(tiny) -> tuple[Game, Dataset]:
    """The released networks at their full size."""
    data = tiny(1, 28)
    return build("gan-2014", data), data


def test_gan_2014_has_the_released_settings(paper):
    game, _ = paper
    rule = SGD(0.1, momentum=0.5, final_momentum=0.7, ramp=125_000, schedule=Decay(1.000004, floor=1e-5))
    assert [player.optimiser for player in game.players] == [rule, rule]
    assert [(player.steps, player.boost, player.clip) for player in game.players] == [(1, 0, 0.0)] * 2
    assert game.config.simultaneous and game.config.cost == "nonsaturating" and game.config.latent == 100
    assert rule.schedule.factor(10**9, 1) * rule.lr == pytest.approx(1e-6)
    widths = [tuple(layer.weight.shape) for layer in game.D.modules() if isinstance(layer, torch.nn.Linear)]
    assert widths == [(240 * 5, 784), (240 * 5, 240), (1, 240)]
    widths = [tuple(layer.weight.shape) for layer in game.G.modules() if isinstance(layer, torch.nn.Linear)]
    assert widths == [(1200, 100), (1200, 1200), (784, 1200)]
    assert not any(isinstance(module, torch.nn.BatchNorm1d) for module in game.modules())
    assert game.D.dropout == (0.8, 0.5, 0.5) and game.D.widths == (784, 240, 240)


def test_gan_2014_starts_as_released(paper):
    game, data = paper
    for name, value in game.named_parameters():
        bound = 0.05 if name.startswith("G") else 0.005
        if name.endswith("weight"):
            assert 0.98 * bound < value.abs().max() <= bound * (1 + 1e-6) or value.numel() < 1000
            assert value.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
        elif name != "G.layers.4.bias":
            assert not value.any()
    mean = data.images["train"].double().mean(0) / 255
    assert torch.allclose(game.G.layers[-1].bias.sigmoid(), mean.flatten(), atol=1e-6)
    z = inputs(game, data, 4000)[1]["z"]
    assert z.abs().max() <= math.sqrt(3) and z.var().item() == pytest.approx(1, abs=0.01)


def test_gan_2014_discriminator_by_hand(paper):
    game, data = paper
    x, noise = inputs(game, data)
    weights = [(m.weight, m.bias) for m in game.D.modules() if isinstance(m, torch.nn.Linear)]

    def logits(images: Tensor, uniform: Tensor) -> Tensor:
        first, second, third = uniform[:, :784], uniform[:, 784:1024], uniform[:, 1024:]
        h = ((images + 1) / 2).flatten(1) * (first < 0.8) * 1.25
        h = linear(h, *weights[0]).reshape(-1, 240, 5).max(2).values * (second < 0.5) * 2
        h = linear(h, *weights[1]).reshape(-1, 240, 5).max(2).values * (third < 0.5) * 2
        return linear(h, *weights[2])

    real = logits(x, noise["drop_real"])
    fake = logits(game.sample(noise), noise["drop_fake"])
    assert not torch.equal(noise["drop_real"], noise["drop_fake"])
    expected = (softplus(-real).mean() + softplus(fake).mean()) / 2
    assert game.discriminator_loss(x, noise).item() == pytest.approx(expected.item(), rel=1e-12)
    # the same dropped-out pass on the fakes feeds both losses
    assert game.generator_loss(x, noise).item() == pytest.approx(softplus(-fake).mean().item(), rel=1e-12)
    other = game.generator_loss(x, noise | {"drop_fake": noise["drop_real"]})
    assert other.item() != game.generator_loss(x, noise).item()
    assert {"drop_real", "drop_fake"} == {name for name, law in game.noise().items() if law.training_only}


def test_mean_start_is_refused_where_no_bias_belongs_to_a_pixel(tiny):
    with pytest.raises(registry.UserError, match="gan cannot play on tiny-1x8: mean_start"):
        build("gan", tiny(), to_json(Conv(width=4)), mean_start=True)


# ---------------------------------------------------------------- losses of the games, written out


def test_gan_costs(tiny):
    data = tiny()
    for name, cost in {
        "gan": lambda fake: softplus(-fake).mean(),
        "gan-minimax": lambda fake: -softplus(fake).mean(),
        "gan-maximum-likelihood": lambda fake: -fake.exp().mean(),
    }.items():
        game = build(name, data)
        x, noise = inputs(game, data)
        real, fake = game.D(x), game.D(game.G(noise["z"]))
        assert game.generator_loss(x, noise).item() == pytest.approx(cost(fake).item(), rel=1e-12)
        both = (softplus(-real).mean() + softplus(fake).mean()) / 2
        assert game.discriminator_loss(x, noise).item() == pytest.approx(both.item(), rel=1e-12)


@pytest.mark.parametrize(("name", "codes"), [("lsgan", (-1.0, 1.0, 0.0)), ("lsgan-01", (0.0, 1.0, 1.0))])
def test_lsgan_codes(tiny, name, codes):
    data = tiny()
    game = build(name, data)
    a, b, c = codes
    assert (game.config.a, game.config.b, game.config.c) == codes
    x, noise = inputs(game, data)
    real, fake = game.D(x), game.D(game.G(noise["z"]))
    expected = ((real - b) ** 2).mean() / 2 + ((fake - a) ** 2).mean() / 2
    assert game.discriminator_loss(x, noise).item() == pytest.approx(expected.item(), rel=1e-12)
    assert game.generator_loss(x, noise).item() == pytest.approx(((fake - c) ** 2).mean().item() / 2, rel=1e-12)


def test_wasserstein_games(tiny):
    data = tiny()
    for name in ("wgan", "wgan-gp"):
        game = build(name, data)
        x, noise = inputs(game, data)
        fake = game.G(noise["z"])
        expected = game.D(fake).mean() - game.D(x).mean()
        if name == "wgan-gp":
            assert game.config.penalty == 10.0
            expected = expected + 10 * gradient_penalty(game.D, x, fake.detach(), noise["mix"])
        assert game.critic_loss(x, noise).item() == pytest.approx(expected.item(), rel=1e-12)
        assert game.generator_loss(x, noise).item() == pytest.approx(-game.D(fake).mean().item(), rel=1e-12)
    critic, generator = game.players
    assert critic.optimiser == generator.optimiser == Adam(1e-4, (0.0, 0.9)) and critic.steps == 5
    critic, generator = registry.models.get("wgan").game.players
    assert critic.optimiser == generator.optimiser == RMSprop(5e-5) and critic.clip == 0.01
    assert generator.clip == 0 and (critic.steps, generator.steps) == (5, 1)


def test_gan_r1(tiny):
    data = tiny()
    game = build("gan-r1", data)
    x, noise = inputs(game, data)
    real, fake = game.D(x), game.D(game.G(noise["z"]))
    expected = softplus(-real).mean() + softplus(fake).mean() + 10 * r1_penalty(game.D, x)
    assert game.discriminator_loss(x, noise).item() == pytest.approx(expected.item(), rel=1e-12)
    assert [p.optimiser for p in game.players] == [RMSprop(1e-4)] * 2 and game.config.latent == 256


@pytest.mark.parametrize("backbone", [DENSE, {"kind": "conv", "width": 4}], ids=["mlp", "conv"])
def test_sngan(tiny, backbone):
    data = tiny()
    game = build("sngan", data, backbone).eval()
    layers = [m for m in game.D.modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)]
    normed = [m.layer for m in game.D.modules() if isinstance(m, Spectral)]
    assert normed == layers and not any(isinstance(m, Spectral) for m in game.G.modules())
    x, noise = inputs(game, data)
    real, fake = game.D(x), game.D(game.G(noise["z"]))
    expected = (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()
    assert game.discriminator_loss(x, noise).item() == pytest.approx(expected.item(), rel=1e-12)
    assert game.generator_loss(x, noise).item() == pytest.approx(-fake.mean().item(), rel=1e-12)
    assert {p.optimiser for p in game.players} == {Adam(2e-4, (0.0, 0.9), LinearDecay())}
    assert [p.steps for p in game.players] == [5, 1]


def test_fgan_has_a_variant_for_every_divergence():
    game = registry.models.get("fgan-kl").game
    assert {settings["divergence"] for settings in game.variants.values()} == set(NAMES)
    plain = {variant: settings for variant, settings in game.variants.items() if variant != "fgan-2016"}
    assert all(variant == f"fgan-{settings['divergence']}" for variant, settings in plain.items())


@pytest.mark.parametrize("name", [f"fgan-{name}" for name in NAMES])
def test_fgan_players_share_one_bound(tiny, name):
    data = tiny()
    game = build(name, data).eval()
    x, noise = inputs(game, data)
    assert game.config.simultaneous and noise["z"].abs().max() <= 1 and noise["z"].min() < 0
    row = game.divergence
    on_real = row.activation(game.V(x)).mean()
    on_fake = row.conjugate(row.activation(game.V(game.G(noise["z"])))).mean()
    assert game.critic_loss(x, noise).item() == pytest.approx((on_fake - on_real).item(), rel=1e-9)
    assert game.generator_loss(x, noise).item() == pytest.approx(-on_fake.item(), rel=1e-9)
    other = build(name, data, cost="alternative").eval()
    expected = -row.activation(other.V(other.G(noise["z"]))).mean()
    assert other.generator_loss(x, noise).item() == pytest.approx(expected.item(), rel=1e-9)


def test_fgan_jensen_shannon_and_gan_are_the_gan_game(tiny):
    data = tiny()
    for name, shift in (("fgan-gan", 0.0), ("fgan-jensen-shannon", math.log(4))):
        game = build(name, data).eval()
        x, noise = inputs(game, data)
        real, fake = game.V(x), game.V(game.G(noise["z"]))
        expected = softplus(-real).mean() + softplus(fake).mean() - shift
        assert game.critic_loss(x, noise).item() == pytest.approx(expected.item(), rel=1e-9)


# ---------------------------------------------------------------- VAE


@pytest.mark.parametrize("name", ["vae", "vae-gaussian"])
def test_vae_loss_is_the_evidence_bound_of_torch_distributions(tiny, name):
    data = tiny()
    game = build(name, data).eval()
    if name == "vae-gaussian":
        game.log_scale.data.fill_(-0.7)
    x, noise = inputs(game, data)
    mean, log_variance = game.encoder(x).chunk(2, 1)
    posterior = Normal(mean, (log_variance / 2).exp())
    z = posterior.loc + posterior.scale * noise["z"]
    pixels, decoded = (x + 1) / 2, (game.decoder(z) + 1) / 2
    if name == "vae":
        likelihood = Bernoulli(decoded, validate_args=False).log_prob(pixels)  # grey levels count as probabilities
    else:
        likelihood = Normal(decoded, game.log_scale.exp()).log_prob(pixels)
    prior = Normal(torch.zeros_like(mean), torch.ones_like(mean))
    bound = likelihood.flatten(1).sum(1) - kl_divergence(posterior, prior).sum(1)
    assert x.dtype == torch.float64
    assert game.vae_loss(x, noise).item() == pytest.approx(-bound.mean().item(), rel=1e-10)
    assert torch.equal(game.encode(x), mean)
    assert torch.equal(game.reconstruct(x), game.decoder(mean))


def test_vae_scale_is_trained_only_where_there_is_one(tiny):
    assert hasattr(build("vae-gaussian", tiny()), "log_scale") and not hasattr(build("vae", tiny()), "log_scale")


# ---------------------------------------------------------------- references


def blobs(n: int, centres: list[int], spread: int) -> Tensor:
    """Images around flat grey levels, far from black and white; (n, 1, 4, 4) in [-1, 1]."""
    generator = torch.Generator().manual_seed(0)
    level = torch.tensor(centres).repeat(n // len(centres)).reshape(-1, 1, 1, 1)
    noise = torch.randint(-spread, spread + 1, (n, 1, 4, 4), generator=generator)
    return scale((level + noise).to(torch.uint8), torch.float64)


def reference(name: str, **settings: object) -> Game:
    data = Dataset("blobs", {"train": torch.zeros(1, 1, 4, 4, dtype=torch.uint8)})
    return build(name, data, **settings)


def sample(game: Game, n: int) -> Tensor:
    noise = draw(game.noise(), n, [torch.Generator().manual_seed(3)], torch.empty(0, dtype=torch.float64))
    return game.sample({name: value[0] for name, value in noise.items()})


def test_kmeans_finds_the_centres_and_draws_all_of_them():
    images = blobs(300, [60, 128, 200], 5)
    game = reference("kmeans-centroids", centroids=3)
    game.fit(images, None, seed=2**63 - 1)
    assert game.centres.shape == (3, 1, 4, 4) and game.centres.dtype == torch.float64
    found = game.centres.flatten(1).mean(1).sort().values
    assert torch.allclose(found, torch.tensor([60, 128, 200]).double() / 127.5 - 1, atol=0.01)
    drawn = sample(game, 3000).flatten(1)
    shares = (drawn[:, None] == game.centres.flatten(1)).all(2).double().mean(0)
    assert shares.sum().item() == pytest.approx(1) and (shares - 1 / 3).abs().max() < 0.03


def test_kmeans_takes_no_more_centroids_than_images():
    images = blobs(30, [60, 128, 200], 5)
    game = reference("kmeans-centroids", centroids=1000)
    game.fit(images, None, seed=0)
    assert len(game.centres) == 30 and sample(game, 50).shape == (50, 1, 4, 4)


def test_gaussian_mixture_keeps_the_moments_of_its_data():
    images = blobs(600, [80, 80, 160], 12)
    game = reference("gaussian-mixture", components=2)
    game.fit(images, None, seed=1)
    assert game.edges.tolist() == pytest.approx(sorted(game.edges.tolist()))
    assert game.edges[-1].item() == pytest.approx(1)
    drawn = sample(game, 60_000)
    assert torch.allclose(drawn.mean(0), images.mean(0), atol=0.01)
    # expectation maximisation keeps the mean and, but for the floor, the variance of every pixel
    assert torch.allclose(drawn.var(0), images.var(0) + game.config.floor, rtol=0.03)
    dark = (drawn.flatten(1).mean(1) < (120 / 127.5 - 1)).double().mean()
    assert dark.item() == pytest.approx(2 / 3, abs=0.01)
    # two separated blobs are independent pixels given the component: not so over all
    within = drawn[drawn.flatten(1).mean(1) < (120 / 127.5 - 1)].flatten(1)
    assert torch.corrcoef(within.T).fill_diagonal_(0).abs().max() < 0.03
    assert drawn.min() >= -1 and drawn.max() <= 1


@pytest.mark.parametrize("name", ["gaussian-mixture", "gaussian-mixture-tied", "gaussian-mixture-full"])
def test_gaussian_mixture_finds_the_ring(name: str) -> None:
    data = load("ring")
    game = build(name, data)
    game.fit(data.images["train"][:10_000].double(), None, seed=0)
    drawn = sample(game, 4000)
    nearest, high = nearest_modes(drawn, data.distribution.modes)
    assert high.double().mean() >= 0.95 and len(nearest[high].unique()) == 8


@pytest.mark.parametrize("covariance", ["tied", "full"])
def test_gaussian_mixture_of_one_component_is_the_normal_law_of_its_data(covariance: str) -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.tensor([[1.0, 0.0], [0.9, 0.2]], dtype=torch.float64)
    x = torch.randn(5000, 2, generator=generator, dtype=torch.float64) @ mixing.T
    game = build("gaussian-mixture", load("ring"), components=1, covariance=covariance)
    game.fit(x, None, seed=0)
    assert torch.allclose(sample(game, 100_000).T.cov(), x.T.cov(), atol=0.02)
    assert not game.cluster(x).any()


@pytest.mark.parametrize("covariance", ["tied", "full"])
def test_gaussian_mixture_clusters_by_the_posterior_of_torch(covariance: str) -> None:
    x = load("ring").images["train"][:2000].double()
    game = build("gaussian-mixture", load("ring"), components=3, covariance=covariance)
    game.fit(x, None, seed=0)
    factors = game.factors.expand(3, 2, 2)
    joint = [
        MultivariateNormal(mean, scale_tril=L).log_prob(x) for mean, L in zip(game.means, factors, strict=True)
    ]
    weights = game.edges.diff(prepend=torch.zeros(1)).log()
    assert torch.allclose(game.cluster(x), (torch.stack(joint, 1) + weights).log_softmax(1), rtol=1e-6, atol=1e-8)


def test_gaussian_mixture_on_fewer_images_than_components():
    game = reference("gaussian-mixture", components=50)
    game.fit(blobs(30, [60, 128, 200], 5), None, seed=1)
    assert sample(game, 9).shape == (9, 1, 4, 4)


def test_fits_follow_their_seed():
    for name, settings in (("kmeans-centroids", {"centroids": 5}), ("gaussian-mixture", {"components": 3})):
        states = []
        for seed in (1, 1, 2):
            game = reference(name, **settings)
            game.fit(blobs(200, [100, 150], 90), None, seed)
            states.append(torch.cat([value.flatten() for value in game.state_dict().values()]))
        assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])


def test_real_train_draws_training_images_to_the_last_bit(tiny):
    images = tiny(3).images["train"]
    for dtype in (torch.float32, torch.float64):
        game = reference("real-train")
        game.fit(scale(images, dtype), None, seed=0)
        assert torch.equal(game.images, images)
        place = (torch.arange(64, dtype=dtype)[:, None] + 0.5) / 64
        assert torch.equal(game.sample({"place": place}), scale(images, dtype))
        assert torch.equal(
            game.sample({"place": torch.tensor([[0.0], [1 - 2**-24]], dtype=dtype)}), scale(images[[0, 63]], dtype)
        )


# ---------------------------------------------------------------- published numbers

PUBLISHED = {
    ("gan-2014", "mnist", "parzen-goodfellow"): (225, 2),
    ("fgan-kl", "mnist", "parzen-fgan"): (416, 5.62),
    ("fgan-reverse-kl", "mnist", "parzen-fgan"): (319, 8.36),
    ("fgan-pearson", "mnist", "parzen-fgan"): (429, 5.53),
    ("fgan-neyman", "mnist", "parzen-fgan"): (300, 8.33),
    ("fgan-squared-hellinger", "mnist", "parzen-fgan"): (-708, 18.1),
    ("fgan-jeffrey", "mnist", "parzen-fgan"): (-2101, 29.9),
    ("fgan-jensen-shannon", "mnist", "parzen-fgan"): (367, 8.19),
    ("fgan-gan", "mnist", "parzen-fgan"): (305, 8.97),
    ("vae-gaussian", "mnist", "parzen-fgan"): (445, 5.36),
    ("real-train", "mnist", "parzen-fgan"): (502, 5.99),
    ("real-train", "mnist", "parzen-goodfellow"): (243, None),
    ("kmeans-centroids", "mnist", "parzen-goodfellow"): (313, None),
    ("conditional-gan-2014", "mnist", "parzen-goodfellow"): (132, 1.8),
    ("semi-supervised-gan", "mnist", "classification-error"): (0.0093, 0.00065),
    ("wgan", "cifar10", "fid@inception-2015"): (42.6, None),
    ("wgan-gp", "cifar10", "fid@inception-2015"): (40.2, None),
    ("sngan", "cifar10", "fid@inception-2015"): (25.5, None),
}


def test_published_numbers_are_those_of_the_papers():
    found, papers = {}, set()
    for name in registry.models.names():
        for entry in registry.models.get(name).published:
            once = (name, entry.dataset, entry.metric, entry.source.partition(",")[0])
            assert once not in papers
            papers.add(once)
            found[name, entry.dataset, entry.metric] = (
                entry.value,
                None if math.isnan(entry.error) else entry.error,
            )
            assert any(year in entry.source for year in ("2014", "2015", "2016", "2017", "2018", "2024"))
            assert " et al. " in entry.source or " and " in entry.source
    assert {key: found.get(key) for key in PUBLISHED} == PUBLISHED


def test_fgan_2016_has_the_papers_networks_and_batch():
    model = registry.models.get("fgan-2016")
    settings = model.settings({"kind": "mlp"})
    game = model.build(DataSpec("mnist", (1, 28, 28), 10, torch.zeros(1, 28, 28)), settings, 0)
    sizes = [
        [(m.in_features, m.out_features) for m in net.modules() if isinstance(m, nn.Linear)]
        for net in (game.G, game.V)
    ]
    assert sizes == [[(100, 1024), (1024, 1024), (1024, 784)], [(784, 240), (240, 240), (240, 1)]]
    assert sum(isinstance(m, nn.ELU) for m in game.V.modules()) == 2
    assert [(p.optimiser.lr, p.optimiser.betas) for p in game.players] == [(2e-4, (0.5, 0.999))] * 2
    assert game.config.simultaneous and game.config.divergence == "kl"
    spec = expand(read_suite("mnist"), "quick", ["fgan-2016", "fgan-kl"])
    assert [specs[0].batch for specs in spec.values()] == [4096, 100]
