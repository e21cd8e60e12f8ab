"""The step in its forms: eager, stacked, compiled and captured give the same parameters; turns are in order."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ganbench import registry
from ganbench.checks.case import Case, small_settings
from ganbench.datasets import Dataset
from ganbench.distributions.noise import Normal
from ganbench.errors import UserError
from ganbench.game import SGD, Adam, Player, RMSprop
from ganbench.game.contract import Config, DataSpec, Game
from ganbench.precision import float32_arithmetic
from ganbench.training import engines
from ganbench.training.batches import scale
from ganbench.training.engines import choose_engine
from ganbench.training.stack import Stack, labels_for
from ganbench.training.step import note_nonfinite, steps_of_round
from tests.cases import CONV, DENSE, TRAINED, cases, first_of_each_class

ROUNDS, BATCH = 50, 16
# One of each kind of step: both orders of play, penalties, buffers that change, one player, convolutions.
KINDS = [
    ("gan", DENSE),
    ("gan-2014", DENSE),
    ("wgan-gp", DENSE),
    ("sngan", DENSE),
    ("vae-gaussian", DENSE),
    ("gan", CONV),
]


def stack(
    name: str, data: Dataset, backbone: dict, seeds: Sequence[int], dtype: torch.dtype = torch.float64, **options
) -> Stack:
    model = registry.models.get(name)
    games = [model.build(data.data_spec, small_settings(model, backbone), seed) for seed in seeds]
    for game in games:
        game.fit(scale(data.images["train"], dtype), labels_for(game, data), 0)
    return Stack(games, seeds, data, name, BATCH, ROUNDS, dtype=dtype, **options)


def play(stack: Stack, rounds: int = ROUNDS) -> list[dict[str, Tensor]]:
    """Play some rounds and return the evaluated weights of every seed."""
    for _ in range(rounds):
        stack.train_round()
    return stack.weights()


def deviation(ones: list[dict[str, Tensor]], others: list[dict[str, Tensor]]) -> float:
    """Largest difference relative to max(1, |value|)."""
    gaps = [
        ((one[name] - other[name]).abs() / one[name].abs().clamp(min=1)).double().max().item()
        for one, other in zip(ones, others, strict=True)
        for name in one
    ]
    assert len(gaps) == sum(map(len, others)) > 0
    return max(gaps)


# ---------------------------------------------------------------- one step, several forms


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "backbone"), KINDS, ids=lambda v: v["kind"] if isinstance(v, dict) else v)
def test_compiled_steps_give_the_eager_parameters(name, backbone, tiny):
    data, seeds = tiny(), [0, 4]
    eager = play(stack(name, data, backbone, seeds))
    compiled = play(stack(name, data, backbone, seeds, engine="compiled"))
    assert deviation(compiled, eager) < 1e-9
    assert deviation(compiled[:1], compiled[1:]) > 1e-3  # the seeds did learn different things


@pytest.mark.parametrize(("name", "backbone"), KINDS, ids=lambda v: v["kind"] if isinstance(v, dict) else v)
def test_stacked_steps_give_the_parameters_of_one_by_one(name, backbone, tiny):
    data, seeds = tiny(), [0, 4]
    one_by_one = [play(stack(name, data, backbone, [seed]))[0] for seed in seeds]
    assert deviation(play(stack(name, data, backbone, seeds)), one_by_one) < 1e-9


@pytest.mark.nightly
def test_compiled_steps_in_float32_differ_by_rounding(tiny):
    data = tiny()
    eager = play(stack("vae", data, DENSE, [0, 4], torch.float32))
    compiled = play(stack("vae", data, DENSE, [0, 4], torch.float32, engine="compiled"))
    assert deviation(compiled, eager) < 1e-3


@pytest.mark.parametrize(("name", "backbone"), cases(TRAINED, chosen=first_of_each_class))
def test_every_step_can_be_traced(name, backbone, traced):
    """The trace is what gets compiled; played operation by operation it must give the eager numbers."""
    case = Case.of(registry.models.get(name), backbone)
    eager, trace = case.stack(0, 4), case.stack(0, 4, engine="compiled")
    assert deviation(play(trace, 2), play(eager, 2)) < 1e-9  # not only on the numbers it was traced with


def test_tracing_takes_no_step(tiny):
    data = tiny()
    game = stack("gan", data, DENSE, [0, 4], engine="compiled")
    before = [tensor.detach().clone() for tensor in tree_leaves(game.state)]
    fast = engines.compiled(lambda state, x: state[0].add_(x.sum()))
    x = torch.ones(3)
    assert fast([torch.zeros(2)], x).tolist() == [3.0, 3.0]
    assert all(torch.equal(a, b) for a, b in zip(before, tree_leaves(game.state), strict=True))


@pytest.mark.parametrize("name", ["vae", pytest.param("sngan", marks=pytest.mark.nightly)])
def test_a_compiled_training_is_the_eager_one_and_goes_on_where_it_stopped(name, tiny):
    data = tiny()
    first, second = (stack(name, data, DENSE, [0, 4], engine="compiled") for _ in range(2))
    assert deviation(play(first, 4), play(stack(name, data, DENSE, [0, 4]), 4)) < 1e-9
    saved = first.saved()
    second.restore({**saved, "state": [tensor.clone() for tensor in saved["state"]]})
    assert deviation(play(second, 5), play(first, 5)) == 0


def test_a_failing_compiler_is_one_line(monkeypatch):
    def fail(*arguments: object) -> None:
        raise RuntimeError("\nno C++ compiler\nin sight")

    monkeypatch.setattr(torch, "compile", lambda traced, **options: fail)
    with pytest.raises(UserError, match=r"^the training step cannot be compiled \(no C\+\+ compiler\)"):
        engines.compiled(lambda x: x + 1)(torch.ones(2))


def test_a_step_that_asks_for_a_value_is_one_line():
    def step(x: Tensor) -> Tensor:
        return x + 1 if x.sum() > 0 else x

    with pytest.raises(UserError, match=r"^the training step cannot be compiled \(.*; try --engine eager$"):
        engines.compiled(step)(torch.ones(2))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-3)], ids=str)
@pytest.mark.parametrize(("name", "backbone"), KINDS, ids=lambda v: v["kind"] if isinstance(v, dict) else v)
def test_captured_steps_give_the_eager_parameters_on_cuda(name, backbone, dtype, tolerance, tiny):
    data = tiny().to("cuda")
    eager = play(stack(name, data, backbone, [0, 4], dtype))
    captured = play(stack(name, data, backbone, [0, 4], dtype, engine="graph"))
    assert deviation(captured, eager) < tolerance


def test_a_stack_is_freed_at_once(tiny):
    gc.disable()
    try:
        used = stack("gan", tiny(), DENSE, [0])
        play(used, 1)
        gone = weakref.ref(used)
        del used
        assert gone() is None
    finally:
        gc.enable()


def test_engines_are_chosen_for_the_device():
    assert choose_engine("auto", "cpu") == "eager" and choose_engine("auto", "cuda") == "graph"
    assert choose_engine("compiled", "cpu") == "compiled" and choose_engine("eager", "cuda") == "eager"
    with pytest.raises(UserError, match="--engine graph captures CUDA graphs, but the device is cpu"):
        choose_engine("graph", "cpu")
    with pytest.raises(UserError, match=r"unknown engine 'compile'.*did you mean compiled"):
        choose_engine("compile", "cpu")


# ---------------------------------------------------------------- precision


@pytest.mark.parametrize("name", ["gan", "vae", "wgan-gp"])
def test_bfloat16_is_near_float32_and_not_equal(name, tiny):
    data = tiny()
    full = play(stack(name, data, DENSE, [0, 4], torch.float32), 3)
    half = stack(name, data, DENSE, [0, 4], torch.float32, bf16=True)
    mixed = play(half, 3)
    assert {tensor.dtype for tensor in tree_leaves(half.state)} <= {torch.float32, torch.int64}
    assert 1e-6 < deviation(mixed, full) < 0.05
    alone = play(stack(name, data, DENSE, [4], torch.float32, bf16=True), 3)
    assert deviation(mixed[1:], alone) < 0.02


def test_tensorfloat_is_off_unless_declared():
    def modes() -> tuple[str, str]:
        return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision

    before = modes()
    for tf32, expected in ((False, "ieee"), (True, "tf32")):
        with float32_arithmetic(tf32):
            assert modes() == (expected, expected)
            with float32_arithmetic():  # a metric within a training
                assert modes() == ("ieee", "ieee")
            assert modes() == (expected, expected)
        assert modes() == before


# ---------------------------------------------------------------- who moves on which draw


def names(players: Sequence[Player], round_: int = 0, simultaneous: bool = False) -> list[str]:
    return ["+".join(p.name for p in turn) for turn in steps_of_round(players, round_, simultaneous)]


def test_a_player_begins_on_the_draw_at_which_the_one_before_ended():
    d, g, e = Player("d", nets=("D",)), Player("g", nets=("G",)), Player("e", nets=("E",), steps=2)
    assert names([d, g]) == ["d+g"]
    assert names([d, g], simultaneous=True) == ["d+g"]
    assert names([e, g]) == ["e", "e+g"]
    assert names([g, e]) == ["g+e", "e"]
    assert names([e, g, d]) == ["e", "e+g+d"]
    boosted = replace(d, steps=2, boost=4, boost_first=1)
    assert names([boosted, g]) == ["d"] * 3 + ["d+g"] and names([boosted, g], 1) == ["d", "d+g"]


class Counting(Game):
    """Counts how often it makes what two players share; without a name, so that it is not registered."""

    players = (
        Player("first", nets=("a",), optimiser=SGD(0.1)),
        Player("second", nets=("b",), optimiser=SGD(0.1)),
        Player("third", nets=("c",), optimiser=SGD(0.1)),
    )

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.a, self.b, self.c = (nn.Parameter(torch.tensor(1.0)) for _ in range(3))
        self.made = 0

    def noise(self):
        return {"z": Normal()}

    def sample(self, noise):
        raise NotImplementedError

    def precompute(self, batch):
        self.made += 1
        return {"fake": self.c * batch["z"]}

    def first_loss(self, x, batch):
        return self.a * batch["fake"].detach().mean()

    def second_loss(self, x, batch):
        return (self.b * batch["z"]).mean()

    def third_loss(self, x, batch):
        return batch["fake"].square().mean() + self.a.detach() * self.c


def test_what_is_shared_is_made_once_per_turn_and_carries_gradients(tiny):
    data = tiny()
    game = Counting(data.data_spec)
    played = Stack([game], [0], data, "counting", 4, 9, dtype=torch.float64)
    played.train_round()
    assert game.made == 1
    weights = played.weights()[0]
    again = Stack([Counting(data.data_spec)], [0], data, "counting", 4, 9, dtype=torch.float64)
    z = torch.empty(4, dtype=torch.float64).normal_(generator=again.generators[0])
    assert weights["a"].item() == pytest.approx(1 - 0.1 * z.mean().item(), rel=1e-12)
    # the third player sees the first one's new a, and the gradient of the shared fake
    slope = 2 * z.square().mean().item() + weights["a"].item()
    assert weights["c"].item() == pytest.approx(1 - 0.1 * slope, rel=1e-12)


# ---------------------------------------------------------------- optimisers


@pytest.mark.parametrize(
    ("rule", "reference"),
    [
        (Adam(0.01, (0.5, 0.9)), lambda p: torch.optim.Adam(p, 0.01, (0.5, 0.9), foreach=False)),
        (Adam(0.01, epsilon=0.3), lambda p: torch.optim.Adam(p, 0.01, (0.5, 0.999), eps=0.3, foreach=False)),
        (RMSprop(0.01, 0.9), lambda p: torch.optim.RMSprop(p, 0.01, 0.9, foreach=False)),
        (SGD(0.01, momentum=0.7), lambda p: torch.optim.SGD(p, 0.01, 0.7, foreach=False)),
    ],
    ids=["adam", "epsilon", "rmsprop", "sgd"],
)
def test_optimisers_take_the_steps_of_torch(rule, reference: Callable[[list[Tensor]], torch.optim.Optimizer]):
    generator = torch.Generator().manual_seed(3)
    shapes = [(3, 4), (5,), ()]
    mine = [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]
    theirs = [tensor.clone().requires_grad_() for tensor in mine]
    optimiser, state = reference(theirs), rule.start(mine)
    lr, momentum = torch.tensor(0.01, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)
    for _ in range(7):
        # transposed, as gradients of stacked products are
        gradients = [
            torch.randn(s[::-1], dtype=torch.float64, generator=generator).mT
            if s
            else torch.randn((), dtype=torch.float64, generator=generator)
            for s in shapes[:1] + shapes[2:]
        ]
        gradients.insert(1, torch.randn(5, dtype=torch.float64, generator=generator))
        rule.step(mine, tuple(gradients), state, lr, momentum)
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient
        optimiser.step()
        for one, other in zip(mine, theirs, strict=True):
            assert torch.allclose(one, other.detach(), rtol=1e-12, atol=1e-14)


def test_first_bad_round_is_kept():
    first_nonfinite = torch.tensor([-1, -1, -1])
    note_nonfinite(first_nonfinite, [torch.tensor([0.0, float("nan"), 1.0])], 3)
    note_nonfinite(
        first_nonfinite, [torch.zeros(3), torch.tensor([[float("inf")], [0.0], [0.0]])], torch.tensor(5)
    )
    assert first_nonfinite.tolist() == [5, 3, -1]
