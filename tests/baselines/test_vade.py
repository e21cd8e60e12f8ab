"""VaDE: its bound against other forms of it, and the start that an autoencoder and a mixture give it."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.distributions import Categorical, Normal, kl_divergence

from ganbench import registry
from ganbench.datasets import Dataset
from ganbench.distributions.noise import draw
from ganbench.errors import UserError
from ganbench.game.contract import DataSpec, Game
from ganbench.training.batches import scale
from ganbench.training.stack import Stack

LINEAR = {"kind": "mlp", "generator": [], "critic": [6], "generator_norm": "none"}
DENSE = {"kind": "mlp", "generator": [16], "critic": [16]}


def build(
    name: str = "vade", shape: tuple[int, ...] = (1, 4, 4), backbone: dict = LINEAR, **settings: object
) -> Game:
    model = registry.models.get(name)
    data_spec = DataSpec("made", shape, 0, torch.full(shape, 0.5))
    return model.build(data_spec, model.settings(backbone, settings), 3).double()


def spread(game: Game) -> Game:
    """A game whose prior has distinct weights, means and variances."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in (game.logits, game.means, game.log_variances):
            parameter.normal_(generator=generator)
    return game


def inputs(game: Game, n: int = 6) -> tuple[Tensor, dict[str, Tensor]]:
    """Grey images in [-1, 1] and the noise of a step."""
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.rand(n, *game.data.shape, generator=generator, dtype=torch.float64) - 1
    return x, {key: value[0] for key, value in draw(game.noise(), n, [generator], x).items()}


# ---------------------------------------------------------------- the bound


def test_one_standard_cluster_is_the_vae():
    game, vae = build(clusters=1, latent=3), build("vae", latent=3)
    vae.encoder.load_state_dict(game.encoder.state_dict())
    vae.decoder.load_state_dict(game.decoder.state_dict())
    with torch.no_grad():
        game.means.zero_()
        game.logits.fill_(1.7)  # one cluster has all the weight
    x, noise = inputs(game)
    assert game.vae_loss(x, noise).item() == pytest.approx(vae.vae_loss(x, noise).item(), rel=1e-12)


def test_the_loss_is_the_papers_up_to_its_constant():
    game = spread(build(clusters=4, latent=3))
    x, noise = inputs(game)
    mean, log_variance = game.encoder(x).chunk(2, 1)
    z = mean + log_variance.exp().sqrt() * noise["z"]
    weights, total = game.logits.softmax(0), torch.zeros(())
    for i in range(6):
        joint = torch.stack([weights[c] * law.log_prob(z[i]).exp().prod() for c, law in enumerate(laws(game))])
        gamma = joint / joint.sum()
        for c in range(4):
            for j in range(3):
                variance = game.log_variances[c, j].exp()
                gap = log_variance[i, j].exp() + (mean[i, j] - game.means[c, j]) ** 2
                total = total + gamma[c] / 2 * (math.log(2 * math.pi) + variance.log() + gap / variance)
            total = total + gamma[c] * (gamma[c].log() - weights[c].log())
        total = total - 0.5 * (1 + log_variance[i]).sum()
        probability, pixels = (game.decode(z[i : i + 1]).flatten() + 1) / 2, (x[i].flatten() + 1) / 2
        total = total - (pixels * probability.log() + (1 - pixels) * (1 - probability).log()).sum()
    expected = total.item() / 6 - 0.5 * 3 * math.log(2 * math.pi)
    assert game.vae_loss(x, noise).item() == pytest.approx(expected, rel=1e-12)


def laws(game: Game) -> list[Normal]:
    scales = game.log_variances.exp().sqrt()
    return [Normal(mean, std) for mean, std in zip(game.means, scales, strict=True)]


def test_clusters_follow_bayes_rule_at_the_mean():
    game = spread(build(clusters=4, latent=3))
    x, _ = inputs(game)
    z, prior = game.encode(x), Categorical(logits=game.logits).probs
    joint = torch.stack([prior[c] * law.log_prob(z).exp().prod(1) for c, law in enumerate(laws(game))], 1)
    assert torch.allclose(game.cluster(x).exp(), joint / joint.sum(1, keepdim=True), rtol=1e-10)
    assert torch.allclose(game.cluster(x).logsumexp(1), torch.zeros(6).double(), atol=1e-12)


def test_the_bound_is_below_the_log_likelihood_and_its_terms_are_those_of_torch():
    game = spread(build(clusters=3, latent=1))
    x, _ = inputs(game, 3)
    grid = torch.linspace(-40, 40, 8001, dtype=torch.float64)
    step = (grid[1] - grid[0]).log()
    weights = Categorical(logits=game.logits).probs.log()
    densities = torch.stack([law.log_prob(grid[:, None])[:, 0] for law in laws(game)], 1)
    prior = (weights + densities).logsumexp(1)
    assert (prior + step).logsumexp(0).item() == pytest.approx(0, abs=1e-6)  # it integrates to one
    rows = [-game.surprise(image.expand(len(grid), 1, 4, 4), grid[:, None]) for image in x]
    exact = (torch.stack(rows) + prior + step).logsumexp(1)
    draws = 4000
    noise = {"z": torch.randn(3 * draws, 1, generator=torch.Generator().manual_seed(1)).double()}
    bounds = game.log_likelihood_bound(x.repeat(draws, 1, 1, 1), noise).reshape(draws, 3)
    assert (bounds.mean(0) + 4 * bounds.std(0) / draws**0.5 < exact).all()
    assert (exact - bounds.mean(0) < 5).all()
    # With one cluster left, the divergence is that of two normal laws.
    with torch.no_grad():
        game.logits.copy_(torch.tensor([0.0, -800.0, -800.0]))
    mean, log_variance = game.encoder(x).chunk(2, 1)
    q, z = Normal(mean, log_variance.exp().sqrt()), mean
    expected = -game.surprise(x, z) - kl_divergence(q, laws(game)[0]).sum(1)
    assert torch.allclose(game.log_likelihood_bound(x, {"z": 0 * mean}), expected, rtol=1e-12)


def test_samples_follow_the_mixture():
    game = build(clusters=3, latent=2)
    game.decoder = nn.Identity()
    with torch.no_grad():
        game.logits.copy_(torch.tensor([0.2, 0.5, 0.3]).log())
        game.means.copy_(torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))
        game.log_variances.copy_(torch.tensor([[0.0], [2.0], [4.0]]).expand(3, 2))
    places = (torch.arange(10).double() + 0.5)[:, None] / 10
    z = torch.randn(10, 2, generator=torch.Generator().manual_seed(0)).double()
    k = torch.tensor([0] * 2 + [1] * 5 + [2] * 3)
    expected = game.means[k] + k[:, None].double().exp() * z
    assert torch.allclose(game.sample({"cluster": places, "z": z}), expected)
    last = game.sample({"cluster": torch.ones(1, 1).double(), "z": torch.zeros(1, 2).double()})
    assert last.tolist() == [[4.0, 5.0]]


# ---------------------------------------------------------------- the start


@pytest.fixture(scope="module")
def blobs() -> Dataset:
    """Images around four patterns of 6x6 pixels, with which pattern as label."""
    generator = torch.Generator().manual_seed(2)
    patterns = torch.rand(4, 1, 6, 6, generator=generator) * 180 + 35
    images, labels = {}, {}
    for split in ("train", "validation", "test"):
        labels[split] = torch.arange(200) % 4
        noisy = patterns[labels[split]] + 15 * torch.randn(200, 1, 6, 6, generator=generator)
        images[split] = noisy.clamp(0, 255).to(torch.uint8)
    return Dataset("blobs", images, labels, classes=4)


def fitted(blobs: Dataset, seed: int = 1, dtype: torch.dtype = torch.float32, **settings: object) -> Game:
    game = build(shape=(1, 6, 6), backbone=DENSE, latent=3, **({"clusters": 4} | settings)).to(dtype)
    game.fit(scale(blobs.images["train"], torch.float32), None, seed)
    return game


def accuracy(game: Game, blobs: Dataset) -> float:
    """Share of test images in the cluster that a one-to-one map gives their class."""
    with torch.no_grad():
        k = game.eval().cluster(scale(blobs.images["test"], torch.float32)).argmax(1)
    counts = torch.zeros(4, 4)
    counts.index_put_((k, blobs.labels["test"]), torch.ones(200), accumulate=True)
    rows, columns = linear_sum_assignment(counts.numpy(), maximize=True)
    return counts[rows, columns].sum().item() / 200


def test_known_clusters_are_found_and_kept(blobs):
    games = [fitted(blobs, seed) for seed in (1, 2)]
    assert [accuracy(game, blobs) for game in games] == [1.0, 1.0]
    x = scale(blobs.images["train"], torch.float32)
    with torch.no_grad():
        blind = games[0].surprise(x, games[0].encode(x).mean(0).expand(200, 3)).mean()
        _, noise = inputs(games[0], 200)
        mean, log_variance = games[0].encoder(x).chunk(2, 1)
        drawn = games[0].surprise(x, mean + (0.5 * log_variance).exp() * noise["z"].float()).mean()
        known = games[0].surprise(x, mean).mean()
    # A normed decoder sets no scale to the codes: draws of them must be as good as their means from the start.
    assert drawn - known < 0.3 * (blind - known)
    stack = Stack([game.train() for game in games], [1, 2], blobs, "vade", 50, 100)
    for _ in range(100):
        stack.train_round()
    for index, game in enumerate(games):
        game.load_state_dict(stack.weights()[index])
        assert accuracy(game, blobs) == 1.0


def test_the_start_depends_on_its_seed_alone(blobs):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one = fitted(blobs, epochs=2)
    assert torch.equal(torch.get_rng_state(), state) and one.training
    torch.manual_seed(6)
    again, other = fitted(blobs, epochs=2).state_dict(), fitted(blobs, 2, epochs=2).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in one.state_dict().items())
    assert not torch.equal(one.means, other["means"])
    assert all(parameter.grad is None for parameter in one.parameters())
    assert {value.dtype for value in fitted(blobs, dtype=torch.float64, epochs=1).parameters()} == {torch.float64}


def test_the_prior_starts_at_the_mixture_of_the_codes(blobs):
    game = fitted(blobs).eval()
    x, label = scale(blobs.images["train"], torch.float32), blobs.labels["train"]
    with torch.no_grad():
        codes, k = game.encode(x), game.cluster(x).argmax(1)
    assert game.logits.softmax(0).tolist() == pytest.approx([0.25] * 4, abs=1e-3)
    for cluster in range(4):
        mine = codes[k == cluster]
        assert len(label[k == cluster].unique()) == 1
        assert torch.allclose(game.means[cluster], mine.mean(0), atol=1e-3)
        assert torch.allclose(game.log_variances[cluster].exp(), mine.var(0, correction=0), rtol=1e-2, atol=1e-5)


def test_more_clusters_than_images_are_refused(blobs):
    with pytest.raises(UserError, match="at least clusters=201 training images, got 200"):
        fitted(blobs, clusters=201)


def test_vectors_are_refused():
    with pytest.raises(UserError, match="vade cannot play on made: its Bernoulli likelihood needs images"):
        build(shape=(7,))


def test_the_papers_setting():
    model = registry.models.get("vade-2017")
    config, [player] = model.read(model.settings(DENSE))
    assert config.backbone.critic == (500, 500, 2000) and config.backbone.generator == (2000, 500, 500)
    factor = player.optimiser.schedule.factor
    assert player.optimiser.lr == 2e-3 and factor(0, 1) == 1
    assert factor(7000, 1) == pytest.approx(0.9) and factor(14_000, 1) == pytest.approx(0.81)
    assert factor(10**6, 1) == 0.1
    [entry] = model.published
    assert (entry.metric, entry.value, entry.comparable) == ("cluster-accuracy", 0.9446, False)
