"""SGHMC against a Gaussian posterior; the Bayesian GAN's rules against plain re-computations."""

from __future__ import annotations

import math
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from ganbench import registry
from ganbench.distributions.noise import Noise, Normal, draw
from ganbench.errors import UserError
from ganbench.game import SGD, Adam, Player
from ganbench.game.contract import Config, DataSpec, Game
from ganbench.losses.adversarial import gaussian_prior, langevin_force
from ganbench.records import to_json
from ganbench.training.batches import scale
from ganbench.training.stack import Stack

DENSE = {"kind": "mlp", "generator": [6], "critic": [5]}
MEAN = torch.tensor([1.0, -2.0], dtype=torch.float64)
COVARIANCE = torch.tensor([[1.0, 0.6], [0.6, 0.8]], dtype=torch.float64)
N, ETA, FRICTION = 50, 0.02, 0.2
BATCH = 9


class Posterior(Game):
    """A player whose loss is -log N(theta; MEAN, COVARIANCE) / N and SGHMC's noise; not registered."""

    players = (Player("walker", nets=("theta",), optimiser=SGD(ETA * N, momentum=1 - FRICTION)),)

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.theta = nn.Parameter(torch.zeros(2))

    def noise(self) -> dict[str, Noise]:
        return {"force": Normal(2, per_step=True)}

    def walker_loss(self, x: Tensor, batch: dict[str, Tensor]) -> Tensor:
        away = self.theta - MEAN
        energy = 0.5 * away @ torch.linalg.inv(COVARIANCE) @ away
        return energy / N + langevin_force([self.theta], batch["force"], ETA * N, FRICTION, 1 / N)


def stationary() -> Tensor:
    """The covariance at which SGHMC with finite steps rests: the fixed point of S = A S A' + Q over (theta, v)."""
    one, precision = torch.eye(2, dtype=torch.float64), torch.linalg.inv(COVARIANCE)
    move = torch.cat([-ETA * precision, (1 - FRICTION) * one], 1)
    a = torch.cat([torch.cat([one, 0 * one], 1) + move, move])
    push = torch.cat([one, one]) * math.sqrt(2 * FRICTION * ETA)
    flat = torch.linalg.solve(torch.eye(16, dtype=torch.float64) - torch.kron(a, a), (push @ push.T).flatten())
    return flat.reshape(4, 4)[:2, :2]


def test_sghmc_recovers_mean_and_covariance_of_a_gaussian_posterior(tiny):
    data, seeds = tiny(), 400
    games = [Posterior(data.data_spec) for _ in range(seeds)]
    stack = Stack(games, range(seeds), data, "posterior", 4, 450, dtype=torch.float64)
    kept = []
    for round_ in range(450):
        stack.train_round()
        if round_ >= 150 and round_ % 15 == 0:  # about one relaxation time apart, after ten of them
            kept.append(stack.state.parameters["theta"].detach().clone())
    draws = torch.cat(kept)
    # 8,000 nearly independent draws: standard errors of 0.011 (mean) and 0.016 (variance).
    assert torch.allclose(draws.mean(0), MEAN, rtol=0, atol=0.05)
    assert torch.allclose(draws.T.cov(), stationary(), rtol=0, atol=0.07)
    # The bias of finite steps is of the order of eta / friction.
    assert torch.allclose(stationary(), COVARIANCE, rtol=0, atol=0.1)


def test_one_step_of_sgd_is_the_step_of_sghmc_as_published():
    data = DataSpec("none", (1, 2, 2), 0, torch.zeros(1, 2, 2))
    game = Posterior(data).double()
    optimiser = torch.optim.SGD(game.parameters(), lr=ETA * N, momentum=1 - FRICTION)
    theta, v = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        normal = torch.randn(2, generator=generator, dtype=torch.float64)
        optimiser.zero_grad()
        game.walker_loss(torch.empty(0), {"force": normal}).backward()
        optimiser.step()
        slope = -torch.linalg.inv(COVARIANCE) @ (theta - MEAN)  # of the log posterior
        v = (1 - FRICTION) * v + ETA * slope - math.sqrt(2 * FRICTION * ETA) * normal
        theta = theta + v
        assert torch.allclose(game.theta, theta, rtol=1e-12)


def test_the_prior_is_the_negative_log_density_of_a_normal_law():
    one, two = torch.tensor([[1.0, -2.0]]).double(), torch.tensor([3.0]).double()
    law = torch.distributions.Normal(0.0, math.sqrt(10.0))
    expected = -sum(law.log_prob(t).sum() - law.log_prob(torch.zeros_like(t)).sum() for t in (one, two))
    assert float(gaussian_prior([one, two], 0.1)) == pytest.approx(float(expected), rel=1e-12)


# ---------------------------------------------------------------- the game


def build(name: str, data, overrides: dict | None = None) -> tuple[Game, Tensor, dict[str, Tensor]]:
    """A game of few networks with one batch and its noise, float64."""
    model = registry.models.get(name)
    few = {"generators": 3, "discriminators": 2, "chains": 2} if name != "gan-ensemble" else {}
    game = model.build(data.data_spec, model.settings(DENSE, few | (overrides or {})), 0).double()
    game.fit(scale(data.images["train"], torch.float64), None, 0)
    like = torch.empty(0, dtype=torch.float64)
    noise = {k: v[0] for k, v in draw(game.noise(), BATCH, [torch.Generator().manual_seed(1)], like).items()}
    return game, scale(data.images["train"][:BATCH], torch.float64), noise | game.precompute(noise)


def flat(network: nn.Module) -> Tensor:
    return torch.cat([parameter.flatten() for parameter in network.parameters()])


def cross_entropy(logits: Tensor, real: bool) -> Tensor:
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def test_sghmc_losses_are_minus_log_posterior_and_noise(tiny):
    data = tiny()
    game, x, noise = build("bayesian-gan", data)
    n = 64
    scaled = math.sqrt(2 * 0.1 / (0.01 * n))
    critics = generators = 0.0
    for chain in range(2):
        fakes = [game.G[3 * chain + j](noise["z"]) for j in range(3)]
        judges = [game.D[2 * chain + k] for k in range(2)]
        for judge in judges:
            generated = sum(cross_entropy(judge(fake), False) for fake in fakes) / 3
            critics += cross_entropy(judge(x), True) + generated
        generators += sum(cross_entropy(judge(fake), True) for judge in judges for fake in fakes) / 2
    for nets, found, plain, player in (
        (game.D, game.discriminator_loss(x, noise), critics, "discriminator"),
        (game.G, game.generator_loss(x, noise), generators, "generator"),
    ):
        theta = flat(nets)
        expected = plain + theta.square().sum() / (2 * 10) / n + scaled * (theta * noise[f"force_{player}"]).sum()
        assert found.item() == pytest.approx(expected.item(), rel=1e-12)


def test_released_losses_are_a_plain_recomputation(tiny):
    game, x, noise = build("bayesian-gan-released", tiny())
    n = 64
    fakes = [generator(noise["z"]) for generator in game.G]
    critics = generators = 0.0
    for judge in game.D:
        terms = [3 * cross_entropy(judge(x), True) + cross_entropy(judge(fake), False) for fake in fakes]
        critics += sum(term.exp() for term in terms).log()
    for fake in fakes:
        total = 0.0
        for judge in game.D:
            gap = (judge.features(fake) - judge.features(x)).abs()
            huber = torch.where(gap < 1, 0.5 * gap.square(), gap - 0.5).mean()
            total += (cross_entropy(judge(fake), True) + huber).exp()
        generators += total.log()
    for nets, found, plain, player in (
        (game.D, game.discriminator_loss(x, noise), critics, "discriminator"),
        (game.G, game.generator_loss(x, noise), generators, "generator"),
    ):
        prior = sum(parameter.square().mean() for parameter in nets.parameters())
        force = (flat(nets) * noise[f"force_{player}"]).sum() * math.sqrt(2 * 0.01 * 2e-4)
        assert found.item() == pytest.approx((plain + (prior + force) / n).item(), rel=1e-12)


def test_an_ensemble_of_one_is_a_gan_and_its_members_never_meet(tiny):
    data = tiny()
    game, x, noise = build("gan-ensemble", data, {"chains": 1})
    gan = registry.models.get("gan")
    plain = gan.build(data.data_spec, gan.settings(DENSE), 3).double()
    plain.G.load_state_dict(game.G[0].state_dict())
    plain.D.load_state_dict(game.D[0].state_dict())
    seen = noise | plain.precompute(noise)
    assert torch.equal(noise["fake"][0], seen["fake"])
    for loss in ("discriminator_loss", "generator_loss"):
        assert getattr(game, loss)(x, noise).item() == pytest.approx(
            getattr(plain, loss)(x, seen).item(), rel=1e-14
        )

    def slope(game: Game) -> Tensor:
        loss = game.generator_loss(x, noise | game.precompute(noise))
        return torch.autograd.grad(loss, game.G[0].layers[-1].weight)[0]

    several, x, noise = build("gan-ensemble", data, {"chains": 3})
    other = deepcopy(several)
    with torch.no_grad():
        for parameter in [*other.G[1].parameters(), *other.D[2].parameters()]:
            parameter.add_(1)
    assert torch.equal(slope(several), slope(other))


def test_every_generator_gives_its_share_of_the_samples(tiny):
    game, _, noise = build("bayesian-gan", tiny())
    game.eval()
    chosen = torch.arange(BATCH, dtype=torch.float64)[:, None] / BATCH
    images = game.sample({"z": noise["z"], "which": chosen})
    for image, z, place in zip(images, noise["z"], chosen[:, 0], strict=True):
        assert torch.allclose(image, game.G[int(place * 6)](z[None])[0], rtol=0, atol=1e-12)
    assert game.sample({"z": noise["z"][:1], "which": torch.ones(1, 1)}).isfinite().all()


@pytest.mark.parametrize(
    "optimiser", [Adam(), SGD(ramp=3, momentum=0.5), {**to_json(SGD()), "schedule": {"kind": "linear-decay"}}]
)
def test_sghmc_refuses_optimisers_under_which_it_would_sample_something_else(optimiser, tiny):
    game, x, noise = build("bayesian-gan", tiny(), {"generator.optimiser": optimiser})
    game.discriminator_loss(x, noise)
    with pytest.raises(UserError, match=r"needs SGD at a constant rate and momentum.*set generator\.optimiser"):
        game.generator_loss(x, noise)


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("bayesian-gan", {"instance_noise": 0.1}, "neither instance noise nor dropout"),
        ("bayesian-gan", {"backbone.keep": [0.5]}, "neither instance noise nor dropout"),
        ("gan-ensemble", {"generators": 2}, "chains of one generator and one discriminator"),
    ],
)
def test_settings_that_make_no_sense_are_refused(name, overrides, message, tiny):
    with pytest.raises(UserError, match=message):
        build(name, tiny(), overrides)
