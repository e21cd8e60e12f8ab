"""The generator that foresees: its gradient is that of the real future."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor

from ganbench import registry
from ganbench.datasets import Dataset
from ganbench.errors import UserError
from ganbench.game import SGD, SGHMC, Adam, RMSprop
from ganbench.game.contract import Game
from ganbench.suites.expand import expand
from ganbench.suites.suite import read_suite
from ganbench.training.stack import Stack
from ganbench.training.step import Clock, TrainStep

DENSE = {"kind": "mlp", "generator": [7], "critic": [6], "generator_norm": "none", "critic_activation": "tanh"}
FOREIGN = {"latent": 5, "generator.optimiser": {"kind": "sgd", "lr": 1.0}}  # a step then is minus the gradient
RATE = 1e-2  # of the discriminator, large enough to see what it does


@pytest.fixture
def points() -> Dataset:
    """Points on a circle, as vectors."""
    angles = torch.linspace(0, 6, 64)
    circle = torch.stack([angles.cos(), angles.sin()], 1)
    return Dataset("circle", {split: circle for split in ("train", "validation", "test")})


def started(model: str, data: Dataset, rounds: int = 3, **settings: object) -> Stack:
    """Return a stack of one seed after some rounds, so that Adam has a past."""
    registered = registry.models.get(model)
    typed = registered.settings(DENSE, FOREIGN, settings)
    stack = Stack([registered.build(data.data_spec, typed, 0)], [0], data, model, 16, 50, dtype=torch.float64)
    for _ in range(rounds):
        stack.train_round()
    return stack


def draw(stack: Stack) -> tuple[Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(8)
    x = torch.randn(1, 16, 2, generator=generator, dtype=torch.float64)
    return x, {"z": torch.randn(1, 16, 5, generator=generator, dtype=torch.float64)}


def gradient(stack: Stack) -> dict[str, Tensor]:
    """Return the generator's gradient on the draw."""
    x, noise = draw(stack)
    before = {n: p.detach().clone() for n, p in stack.state.parameters.items()}
    double = torch.float64
    clock = Clock(
        torch.tensor(1.0, dtype=double),
        torch.tensor(1.0, dtype=double),
        torch.tensor([RATE, 1.0], dtype=double),
        torch.zeros(2, dtype=double),
    )
    TrainStep(stack.game, stack.game.players[1:])(stack.state, x, noise, clock)
    after = stack.state.parameters
    assert all(torch.equal(after[n], before[n]) for n in after if n.startswith("D."))
    return {n: (before[n] - after[n]).detach() for n in after if n.startswith("G.")}


def future(stack: Stack, steps: int, game: Game) -> float:
    """Return the value of the game after the discriminator's next steps, taken by torch's own Adam.

    With p = D(x) it is E log p(x) + E log(1 - p(G)), or E log p(x) - E log p(G) where G does not saturate: as in
    the authors' notebook, which minimises minus the whole loss of the discriminator.
    """
    game = deepcopy(game)
    x, noise = draw(stack)
    adam = torch.optim.Adam(game.D.parameters(), lr=RATE, betas=(0.5, 0.999), foreach=False)
    moments = stack.state.moments["discriminator"]
    for index, parameter in enumerate(game.D.parameters()):
        adam.state[parameter] = {
            "step": moments["count"][0].clone(),
            "exp_avg": moments["average"][index][0].clone(),
            "exp_avg_sq": moments["square"][index][0].clone(),
        }
    fake = game.G(noise["z"][0]).detach()
    for _ in range(steps):
        adam.zero_grad()
        (-0.5 * (game.D(x[0]).sigmoid().log().mean() + (1 - game.D(fake).sigmoid()).log().mean())).backward()
        adam.step()
    real, made = game.D(x[0]).sigmoid(), game.D(fake).sigmoid()
    cost = (1 - made).log() if game.config.saturating else -made.log()
    return (real.log().mean() + cost.mean()).item()


@pytest.mark.parametrize("saturating", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_gradient_is_that_of_finite_differences_through_adam(
    steps: int, saturating: bool, points: Dataset
) -> None:
    settings = {"generator.unroll": steps, "saturating": saturating}
    stack = started("unrolled-gan-1", points, **settings, **{"discriminator.optimiser.lr": RATE})
    game = deepcopy(stack.game)
    game.load_state_dict(stack.weights()[0])
    found = gradient(stack)
    generator = torch.Generator().manual_seed(3)
    directions = {n: torch.randn(g[0].shape, generator=generator, dtype=torch.float64) for n, g in found.items()}
    h, ends = 1e-5, []
    for sign in (1, -1):
        moved = deepcopy(game)
        with torch.no_grad():
            for name, direction in directions.items():
                moved.get_parameter(name).add_(sign * h * direction)
        ends.append(future(stack, steps, moved))
    expected = (ends[0] - ends[1]) / (2 * h)
    assert abs(expected) > 1e-3
    assert sum((found[n][0] * d).sum().item() for n, d in directions.items()) == pytest.approx(expected, rel=1e-5)


def test_foreseeing_changes_the_gradient(points: Dataset) -> None:
    one, none = (gradient(started("unrolled-gan-1", points, **{"generator.unroll": k})) for k in (1, 0))
    assert max((one[name] - none[name]).abs().max().item() for name in one) > 1e-4


def test_nothing_foreseen_is_the_plain_gan(points: Dataset) -> None:
    unrolled, plain = (started(name, points) for name in ("unrolled-gan-0", "gan"))
    for stack in (unrolled, plain):
        stack.restore({**unrolled.saved(), "state": [t.clone() for t in unrolled.saved()["state"]]})
    one, other = gradient(unrolled), gradient(plain)
    assert all(torch.allclose(one[name], other[name], rtol=0, atol=1e-14) for name in one)


@pytest.mark.parametrize("seeds", [1, 2])
def test_critics_that_keep_statistics_can_be_foreseen(seeds: int, points: Dataset) -> None:
    """Spectral norm writes its vector at each pass, which a function under differentiation may not."""
    registered = registry.models.get("sngan")
    ends = []
    for unroll in (0, 2):
        typed = registered.settings(
            DENSE, {"latent": 5, "generator.unroll": unroll, "generator.optimiser.lr": 1e-30}
        )
        games = [registered.build(points.data_spec, typed, seed) for seed in range(seeds)]
        stack = Stack(games, range(seeds), points, "sngan", 16, 50, dtype=torch.float64)
        stack.train_round()
        ends.append(stack.weights()[0])
    weights = [name for name in ends[0] if name.startswith("D.") and not name.endswith("u")]
    assert weights and any(name.endswith("u") for name in ends[0])
    # What the generator tries out never reaches the real critic.
    assert all(torch.allclose(ends[0][name], ends[1][name], atol=1e-12) for name in weights)


@pytest.mark.parametrize("rule", [Adam(0.01), Adam(0.01, epsilon=0.3), RMSprop(0.01), SGD(0.01, momentum=0.5)])
def test_a_foreseen_step_is_the_step(rule) -> None:
    generator = torch.Generator().manual_seed(1)
    parameters = [torch.randn(3, 2, generator=generator, dtype=torch.float64)]
    lr, momentum = torch.tensor(0.01, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
    state, foreseen, ahead = rule.start(parameters), list(parameters), None
    real = [p.clone() for p in parameters]
    ahead = {key: [t.clone() for t in tensors] for key, tensors in state.items()}
    for _ in range(4):
        gradients = [torch.randn(3, 2, generator=generator, dtype=torch.float64)]
        foreseen, ahead = rule.lookahead(foreseen, gradients, ahead, lr, momentum)
        rule.step(real, tuple(gradients), state, lr, momentum)
    assert torch.allclose(real[0], foreseen[0], rtol=1e-10, atol=1e-12)
    assert not torch.allclose(real[0], parameters[0], atol=1e-3)


def test_steps_with_noise_cannot_be_foreseen() -> None:
    one = torch.ones((), dtype=torch.float64)
    with pytest.raises(UserError, match="the steps of SGHMC cannot be foreseen; choose another to unroll"):
        SGHMC().lookahead([one], [one], SGHMC().start([one]), one, one)


def test_a_parameter_without_gradient_does_not_spoil_the_future() -> None:
    """The root of a second moment of zero has no derivative."""
    rule, parameter = Adam(0.01), torch.zeros(2, dtype=torch.float64)
    slope = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    gradients = [torch.stack([slope * 3, slope + 1])]
    lr = torch.tensor(0.01, dtype=torch.float64)
    moved, _ = rule.lookahead([parameter], gradients, rule.start([parameter]), lr, lr)
    (through,) = torch.autograd.grad(moved[0].sum(), slope)
    assert through.isfinite()


def test_the_released_configuration_is_that_of_the_notebook(points: Dataset) -> None:
    registered = registry.models.get("unrolled-2017")
    settings = registered.settings({"kind": "mlp"})
    game = registered.build(points.data_spec, settings, 0)
    rates = {player.name: (player.optimiser.lr, player.optimiser.betas, player.unroll) for player in game.players}
    assert rates == {"discriminator": (1e-4, (0.5, 0.999), 0), "generator": (1e-3, (0.5, 0.999), 5)}
    assert game.config.latent == 256 and game.config.saturating and game.config.simultaneous
    for net, inputs, outputs in ((game.G.layers, 256, 2), (game.D, 2, 1)):
        layers = [part for part in net.modules() if isinstance(part, torch.nn.Linear)]
        sizes = [(layer.in_features, layer.out_features) for layer in layers]
        assert sizes == [(inputs, 128), (128, 128), (128, outputs)]
        assert sum(isinstance(part, torch.nn.Tanh) for part in net.modules()) == 2
        square = layers[1].weight.detach()
        assert torch.allclose(square @ square.T, 1.96 * torch.eye(128), atol=1e-4)
        assert not any(layer.bias.any() for layer in layers)


@pytest.mark.parametrize("name", ["unrolled-gan-5", "unrolled-gan-10"])
def test_on_mixtures_the_rates_are_those_of_the_notebook(name: str) -> None:
    """At one rate of 1e-3 for all, what the generator foresees is no longer near what comes."""
    own, released = (
        registry.models.get(model).read(settings)[1]
        for model, settings in (
            (name, expand(read_suite("mixtures"), "standard", [name])[name][0].settings),
            ("unrolled-2017", registry.models.get("unrolled-2017").settings({"kind": "mlp"})),
        )
    )
    assert [p.optimiser.lr for p in own] == [p.optimiser.lr for p in released] == [1e-4, 1e-3]
