"""Gaussian mixture VAEs: their bounds against formulas written out cluster by cluster, and against quadrature."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Normal, kl_divergence

from ganbench import registry
from ganbench.distributions.noise import draw
from ganbench.errors import UserError
from ganbench.game.contract import DataSpec, Game
from ganbench.losses.gaussian import normal_divergence, normal_log_density

LINEAR = {"kind": "mlp", "generator": [], "critic": [6], "generator_norm": "none"}
SMALL = {"latent": 3, "style": 2, "hidden": 5}
BOTH = ["gmvae", "gmvae-alpha"]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(name: str, shape: tuple[int, ...] = (1, 4, 4), backbone: dict = LINEAR, **settings: object) -> Game:
    model = registry.models.get(name)
    data_spec = DataSpec("made", shape, 0, torch.full(shape, 0.5))
    return model.build(data_spec, model.settings(backbone, settings), 3).double()


def inputs(game: Game, n: int = 6, seed: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
    """Grey images in [-1, 1] and the noise of a step."""
    x = 2 * random(n, *game.data.shape, seed=seed + 1).sigmoid() - 1
    noise = draw(game.noise(), n, [torch.Generator().manual_seed(seed)], x)
    return x, {key: value[0] for key, value in noise.items()}


def law(mean: Tensor, log_variance: Tensor) -> Normal:
    return Normal(mean, log_variance.exp().sqrt())


def surprise(game: Game, x: Tensor, z: Tensor) -> Tensor:
    """-log p(x | z) from the probabilities themselves, (n,)."""
    probability, pixels = (game.decode(z).flatten(1) + 1) / 2, (x.flatten(1) + 1) / 2
    return -(pixels * probability.log() + (1 - pixels) * (1 - probability).log()).sum(1)


# ---------------------------------------------------------------- normal laws


def test_normal_laws_are_those_of_torch_and_broadcast():
    mean, log_variance, others, log_others = random(7, 1, 3), random(7, 1, 3, seed=1), random(4, 3), random(4, 3)
    expected = kl_divergence(law(mean, log_variance), law(others, log_others)).sum(2)
    assert expected.shape == (7, 4)
    assert torch.allclose(normal_divergence(mean, log_variance, others, log_others), expected, rtol=1e-12)
    standard = Normal(torch.zeros(3).double(), torch.ones(3).double())
    expected = kl_divergence(law(mean, log_variance), standard).sum(2)
    assert torch.allclose(normal_divergence(mean, log_variance), expected, rtol=1e-12)
    assert normal_divergence(mean, log_variance, mean, log_variance).abs().max() < 1e-15
    expected = law(others, log_others).log_prob(mean).sum(2)
    assert torch.allclose(normal_log_density(mean, others, log_others), expected, rtol=1e-12)


def test_normal_laws_keep_their_digits_in_bfloat16():
    values = [random(5, 200, seed=seed).bfloat16() for seed in range(4)]
    exact = [value.double() for value in values]
    assert torch.allclose(normal_divergence(*values).double(), normal_divergence(*exact), rtol=1e-5)
    assert torch.allclose(normal_divergence(*values[:2]).double(), normal_divergence(*exact[:2]), rtol=1e-5)
    assert torch.allclose(normal_log_density(*values[:3]).double(), normal_log_density(*exact[:3]), rtol=1e-5)


# ---------------------------------------------------------------- Dilokthanakul et al.


def parts(game: Game, x: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Cost that k leaves alone (n,), KL to each cluster's law (n, K) and p(k | z, w) (n, K), by torch's laws."""
    latent, style = game.config.latent, game.config.style
    outputs = game.encoder(x)
    q_z = law(outputs[:, :latent], outputs[:, latent : 2 * latent])
    rest = outputs[:, 2 * latent :]
    q_w = law(rest[:, :style], rest[:, style : 2 * style])
    z, w = q_z.mean + q_z.stddev * batch["z"], q_w.mean + q_w.stddev * batch["w"]
    table = game.prior(w).reshape(len(x), game.config.clusters, 2, latent)
    divergences, joint = [], []
    for k in range(game.config.clusters):
        p_z = law(table[:, k, 0], table[:, k, 1])
        divergences.append(kl_divergence(q_z, p_z).sum(1))
        joint.append(p_z.log_prob(z).exp().prod(1) / game.config.clusters)
    total = torch.stack(joint, 1)
    standard = Normal(torch.zeros_like(w), torch.ones_like(w))
    fixed = surprise(game, x, z) + kl_divergence(q_w, standard).sum(1)
    return fixed, torch.stack(divergences, 1), total / total.sum(1, keepdim=True)


@pytest.mark.parametrize(("name", "constant"), [("gmvae", 0.5), ("gmvae-alpha", 0.0)])
def test_one_cluster_is_a_vae_with_a_learned_prior(name, constant):
    game = build(name, clusters=1, **SMALL)
    x, noise = inputs(game)
    fixed, divergences, _ = parts(game, x, noise)
    expected = (fixed + divergences[:, 0]).mean()
    assert game.vae_loss(x, noise).item() == pytest.approx(expected.item() + constant, rel=1e-12)
    assert game.log_likelihood_bound(x, noise).mean().item() == pytest.approx(-expected.item(), rel=1e-12)
    assert game.cluster(x).abs().max() == 0


@pytest.mark.parametrize("name", BOTH)
def test_the_loss_is_the_one_written_out_cluster_by_cluster(name):
    game = build(name, clusters=4, free_bits=0.0, **SMALL)
    x, noise = inputs(game)
    fixed, divergences, bayes = parts(game, x, noise)
    q = bayes if name == "gmvae" else game.encoder(x)[:, -4:].softmax(1)
    clusters = kl_divergence(Categorical(q), Categorical(torch.ones_like(q)))
    bound = fixed + (q * divergences).sum(1) + clusters
    assert torch.allclose(game.log_likelihood_bound(x, noise), -bound, rtol=1e-12)
    entropy = 0.4 * Categorical(bayes).entropy().mean() if name == "gmvae-alpha" else 0.0
    assert game.vae_loss(x, noise).item() == pytest.approx((bound.mean() + entropy).item(), rel=1e-12)
    assert clusters.max() > 1e-3 and divergences.std(1).min() > 1e-3  # the clusters differ


def test_free_bits_cut_the_gradient_of_the_cluster_term_and_nothing_else():
    game = build("gmvae", clusters=4, **SMALL)
    x, noise = inputs(game)
    fixed, clusters, _ = game.costs(x, noise)
    held = clusters.mean().item()

    def gradient(value: Tensor) -> list[Tensor]:
        return torch.autograd.grad(value, list(game.parameters()), retain_graph=True)

    for bits, expected in ((held + 0.1, fixed.mean()), (held - 0.1, (fixed + clusters).mean())):
        object.__setattr__(game.config, "free_bits", bits)
        loss = game.vae_loss(x, noise)
        assert loss.item() == pytest.approx(fixed.mean().item() + max(bits, held), rel=1e-12)
        for one, other in zip(gradient(loss), gradient(expected), strict=True):
            assert torch.allclose(one, other, rtol=1e-12, atol=1e-14)


def test_clusters_follow_bayes_rule_at_the_means():
    game = build("gmvae", clusters=4, **SMALL)
    x, noise = inputs(game)
    means = noise | {"z": torch.zeros_like(noise["z"]), "w": torch.zeros_like(noise["w"])}
    assert torch.allclose(game.cluster(x).exp(), parts(game, x, means)[2], rtol=1e-10)
    assert torch.allclose(game.cluster(x).logsumexp(1), torch.zeros(6).double(), atol=1e-12)


@pytest.mark.parametrize("name", BOTH)
def test_log_probabilities_of_clusters_are_not_clamped(name):
    game = build(name, clusters=3, **SMALL)
    with torch.no_grad():
        (game.prior[2] if name == "gmvae" else game.encoder.blocks[-1][1]).weight.mul_(1000)
    low = game.cluster(inputs(game)[0]).min(1).values
    assert low.max() < -60 and low.isfinite().all() and len(low.unique()) == 6


@pytest.mark.parametrize("name", BOTH)
def test_samples_come_from_every_cluster_alike(name):
    game = build(name, clusters=4, **SMALL)
    game.decoder = nn.Identity()
    with torch.no_grad():  # cluster k around (k, k, k), with a variance of exp(-2 k)
        game.prior[2].weight.zero_()
        k = torch.arange(4).double()
        game.prior[2].bias.copy_(torch.stack([k, -2 * k], 1)[:, :, None].expand(4, 2, 3).flatten())
    z = random(8, 3)
    places = torch.arange(8).double()[:, None] / 8 + 0.01
    codes = game.sample({"w": random(8, 2), "z": z, "cluster": places})
    which = torch.arange(8).double().div(2).floor()[:, None]
    assert torch.allclose(codes, which + (-which).exp() * z)
    last = game.sample({"w": random(8, 2), "z": 0 * z, "cluster": torch.full((8, 1), 1.0).double()})
    assert torch.allclose(last, torch.full((8, 3), 3.0).double())


# ---------------------------------------------------------------- bounds are bounds


def log_evidence(game: Game, name: str, x: Tensor) -> Tensor:
    """log p(x) by quadrature over z in one dimension, and over w where there is one, (n,)."""
    grid = torch.linspace(-12, 12, 1601, dtype=torch.float64)
    step, decoded = (grid[1] - grid[0]).log(), grid[:, None]
    if name == "gmvae-exact":
        densities = [law(*(table[k] for table in game.components())).log_prob(decoded)[:, 0] for k in range(3)]
        prior = torch.stack(densities).logsumexp(0) - math.log(3)
    else:
        w = torch.linspace(-8, 8, 161, dtype=torch.float64)
        mean, log_variance = game.components(w[:, None])
        given_w = law(mean, log_variance).log_prob(grid).logsumexp(1) - math.log(3)
        weight = Normal(0.0, 1.0).log_prob(w) + (w[1] - w[0]).log()
        prior = (given_w + weight[:, None]).logsumexp(0)
    assert (prior + step).logsumexp(0).item() == pytest.approx(0, abs=1e-6)  # it integrates to one
    likelihood = [-surprise(game, image.expand(len(grid), *image.shape), decoded) for image in x]
    return (torch.stack(likelihood) + prior + step).logsumexp(1)


@pytest.mark.parametrize("name", [*BOTH, "gmvae-exact"])
def test_the_bound_is_below_the_log_likelihood(name):
    sizes = {"latent": 1} | ({} if name == "gmvae-exact" else {"style": 1, "hidden": 5})
    game = build(name, clusters=3, **sizes)
    x, _ = inputs(game, 3)
    with torch.no_grad():
        exact = log_evidence(game, name, x)
        draws = 4000
        _, noise = inputs(game, 3 * draws)
        bounds = game.log_likelihood_bound(x.repeat(draws, 1, 1, 1), noise).reshape(draws, 3)
    error = bounds.std(0) / draws**0.5
    assert (bounds.mean(0) + 4 * error < exact).all()
    assert (exact - bounds.mean(0) < 5).all()  # one hidden layer away from it, not another scale


# ---------------------------------------------------------------- the exact form


def test_the_exact_form_is_brute_force_over_clusters():
    game = build("gmvae-exact", clusters=4, latent=3)
    x, noise = inputs(game)
    q = Categorical(logits=game.classifier(x))
    costs = []
    for k in range(4):
        mark = torch.zeros(6, 4).double()
        mark[:, k] = 1
        q_z = law(*game.encoder(torch.cat([x.flatten(1), mark], 1)).chunk(2, 1))
        table = game.prior.weight[:, k] + game.prior.bias
        p_z = law(table[:3], table[3:])
        z = q_z.mean + q_z.stddev * noise["z"]
        costs.append(surprise(game, x, z) + kl_divergence(q_z, p_z).sum(1) + math.log(4))
    expected = q.entropy() - (q.probs * torch.stack(costs, 1)).sum(1)
    assert torch.allclose(game.log_likelihood_bound(x, noise), expected, rtol=1e-12)


def test_the_exact_form_learns_from_binarised_images():
    game = build("gmvae-exact", clusters=2, latent=3)
    x, noise = inputs(game)
    x[0, 0, 0, :2] = torch.tensor([-1.0, 1.0])  # never and always on
    binary = torch.where(noise["grey"] < (x + 1) / 2, 1.0, -1.0).double()
    assert binary[0, 0, 0, :2].tolist() == [-1, 1] and 0.2 < (binary > 0).double().mean() < 0.8
    expected = -game.log_likelihood_bound(binary, noise).mean()
    assert game.vae_loss(x, noise).item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("backbone", [LINEAR, {"kind": "conv", "width": 4}], ids=["mlp", "conv"])
def test_the_code_of_the_exact_form_is_that_of_the_most_probable_cluster(backbone):
    game = build("gmvae-exact", (1, 8, 8), backbone, clusters=5, latent=3).eval()
    x, _ = inputs(game, 20)
    assert len(game.cluster(x).argmax(1).unique()) > 1
    for index, k in enumerate(game.cluster(x).argmax(1)):
        alone = game.recognise(x[index : index + 1])[0][0, k]
        assert torch.allclose(game.encode(x)[index], alone, rtol=1e-10)


# ---------------------------------------------------------------- networks, errors, published numbers


def test_the_released_networks_have_the_papers_sizes():
    game = build("gmvae-2016", (1, 28, 28), clusters=2)
    sizes = []
    for part in [*game.encoder, *game.decoder.layers]:
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            part.register_forward_hook(lambda _, inputs, out: sizes.append(tuple(out.shape[1:])))
    x, noise = inputs(game, 3)
    assert game.vae_loss(x, noise).isfinite()
    there = [(16, 23, 23), (32, 18, 18), (64, 9, 9), (500, 1, 1)]
    assert sizes == [*there, (64, 9, 9), (32, 18, 18), (16, 23, 23), (1, 28, 28)]
    assert (game.config.latent, game.config.style, game.prior[0].out_features) == (200, 150, 500)
    assert registry.models.get("gmvae-2016").defaults.clusters == 30


@pytest.mark.parametrize("shape", [(1, 27, 27), (1, 28, 32), (1, 4, 4)], ids=str)
def test_images_that_the_released_networks_cannot_take(shape):
    with pytest.raises(UserError, match=r"gmvae-2016 cannot play on made: .* square images of even size >= 6"):
        build("gmvae-2016", shape)


@pytest.mark.parametrize("side", [6, 8, 16, 32])
def test_the_released_networks_take_other_sizes(side):
    game = build("gmvae-2016", (3, side, side), clusters=2, latent=2, style=2)
    x, noise = inputs(game, 2)
    assert game.reconstruct(x).shape == x.shape and game.vae_loss(x, noise).isfinite()


@pytest.mark.parametrize("name", [*BOTH, "gmvae-2016", "gmvae-exact"])
def test_vectors_are_refused(name):
    with pytest.raises(UserError, match=rf"{name} cannot play on made: its Bernoulli likelihood needs images"):
        build(name, (7,))


def test_published_numbers_name_their_number_of_clusters():
    [entry] = registry.models.get("gmvae-2016").published
    assert (entry.metric, entry.value, entry.error) == ("exemplar-accuracy-test", 0.9277, 0.0160)
    assert "K = 30" in entry.source and entry.protocol == "K=30"
    [entry] = registry.models.get("gmvae-alpha").published
    assert entry.value == 0.7447 and "K = 10" in entry.source and entry.protocol == "K=10"
