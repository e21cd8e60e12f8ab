"""The contract of a game, for every registered model; stacked training against a plain loop, seed by seed."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass, replace

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from ganbench import registry
from ganbench.datasets import Dataset
from ganbench.distributions.noise import Noise, Normal, Uniform, draw
from ganbench.errors import UserError
from ganbench.game.contract import Config, DataSpec, Game
from ganbench.game.model import ABILITIES
from ganbench.game.players import SGD, Adam, Constant, Decay, LinearDecay, Player, RMSprop
from ganbench.layers.networks import MLP, Conv
from ganbench.records import from_json, seed_stream, to_json
from ganbench.suites.suite import read_suite, suite_names
from ganbench.training.batches import Batches, scale
from ganbench.training.stack import Stack, labels_for
from ganbench.training.step import noise_of as laws_of

DENSE = {"kind": "mlp", "generator": [12, 12], "critic": [10, 10]}
CONV = {"kind": "conv", "width": 4}
BATCH, ROUNDS = 24, 6  # 2 batches to an epoch of 64 images, so that the order is reshuffled on the way

NAMES = registry.models.names()
TRAINED = [name for name in NAMES if registry.models.get(name).game.players]
FITTED = [name for name in NAMES if name not in TRAINED]


def small(name: str, backbone: dict) -> dict:
    """Settings of a model on tiny networks; what it pins stays pinned except for widths and long schedules."""
    model = registry.models.get(name)
    settings = model.settings(backbone)
    shrunk = {}
    if settings["backbone"]["kind"] == "mlp":
        shrunk = {"backbone.generator": [12, 12], "backbone.critic": [10, 10]}
    for player in model.game.players:
        if settings[player.name]["boost"]:
            shrunk |= {f"{player.name}.boost": 3, f"{player.name}.boost_first": 2, f"{player.name}.boost_every": 5}
        if settings[player.name]["optimiser"].get("ramp"):
            shrunk |= {f"{player.name}.optimiser.ramp": 4}
    if "width" in settings["backbone"]:
        shrunk |= {"backbone.width": 4, "backbone.layers": min(3, settings["backbone"]["layers"])}
    shrunk |= {key: 8 for key in ("joint", "hidden", "content", "channels") if key in settings}
    shrunk |= {key: 5 for key in ("centroids", "components") if key in settings}
    shrunk |= {key: 3 for key in ("clusters", "epochs") if key in settings}
    shrunk |= {
        key: min(2, settings[key]) for key in ("generators", "chains", "labels_per_class") if key in settings
    }
    return model.settings(backbone, shrunk)


def takes_conv(name: str) -> bool:
    return registry.models.get(name).settings(CONV)["backbone"]["kind"] == "conv"


def build(name: str, data: Dataset, backbone: dict, seed: int = 0) -> Game:
    """A game in float64 with everything that a seed decides."""
    model = registry.models.get(name)
    init = seed_stream(data.name, name, seed, "init")
    game = model.build(data.data_spec, small(name, backbone), init).double()
    if type(game).fit is not Game.fit:
        game.fit(scale(data.images["train"], torch.float64), labels_for(game, data), seed)
    return game


def stacked(name: str, data: Dataset, backbone: dict, seeds: list[int], dtype=torch.float64) -> Stack:
    games = [build(name, data, backbone, seed) for seed in seeds]
    return Stack(games, seeds, data, name, BATCH, ROUNDS, dtype=dtype)


def noise_of(game: Game, n: int, training: bool = True, seed: int = 5) -> dict[str, Tensor]:
    laws = {name: law for name, law in game.noise().items() if training or not law.training_only}
    drawn = draw(laws, n, [torch.Generator().manual_seed(seed)], torch.empty(0, dtype=torch.float64))
    labels = {"y": torch.arange(n) % game.data.classes} if training and game.supervision != "unlabelled" else {}
    return {name: value[0] for name, value in drawn.items()} | labels


def loss_of(game: Game, player: Player, x: Tensor, batch: dict[str, Tensor]) -> Tensor:
    return game(f"{player.name}_loss", x, batch | game.precompute(batch))


def owned(player: Player, game: Game) -> list[str]:
    return [n for n, _ in game.named_parameters() if n.split(".")[0] in player.nets]


def deviation(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Largest difference relative to max(1, |value|) over all tensors."""
    assert one.keys() == other.keys()
    worst = 0.0
    for name, value in one.items():
        assert value.isfinite().all() and value.shape == other[name].shape
        if value.numel():
            gap = (value.double() - other[name].double()).abs() / value.double().abs().clamp(min=1)
            worst = max(worst, gap.max().item())
    return worst


# ---------------------------------------------------------------- the contract


def test_all_baselines_are_registered():
    assert {"gan", "gan-2014", "wgan", "wgan-gp", "sngan", "vae", "lsgan", "fgan-kl", "real-train"} <= set(NAMES)
    assert TRAINED and FITTED


@pytest.mark.parametrize("name", TRAINED)
def test_losses_are_finite_scalars_and_reach_every_parameter_of_their_player(name, tiny_for):
    data = tiny_for(name)
    game = build(name, data, DENSE)
    x, noise = scale(data.images["train"][:BATCH], torch.float64), noise_of(game, BATCH)
    everything = dict(game.named_parameters())
    assert {v.dtype for v in everything.values()} == {torch.float64}
    assert sorted(n for p in game.players for n in owned(p, game)) == sorted(everything)
    for player in game.players:
        mine = owned(player, game)
        fresh = deepcopy(game)  # a training pass moves the buffers
        loss = loss_of(game, player, x, noise)
        assert loss.shape == () and loss.isfinite() and loss.dtype == torch.float64
        gradients = torch.autograd.grad(loss, [everything[n] for n in mine])  # raises if one is not reached
        for parameter, gradient in zip(mine, gradients, strict=True):
            assert gradient.isfinite().all()
            if not gradient.any():  # e.g. the last bias of a Wasserstein critic, which the loss cannot see
                with torch.no_grad():
                    fresh.get_parameter(parameter).add_(0.01)
                assert loss_of(fresh, player, x, noise).item() == pytest.approx(loss.item(), abs=1e-12), parameter


@pytest.mark.parametrize("name", TRAINED)
def test_a_player_moves_its_parameters_and_nobody_elses(name, tiny_for):
    stack = stacked(name, tiny_for(name), DENSE, [0, 1])
    everybody = stack.game.players
    for player in everybody:
        before = {n: p.detach().clone() for n, p in stack.state.parameters.items()}
        stack.game.players = (player,)
        stack.train_round()
        moved = {n for n, p in stack.state.parameters.items() if not torch.equal(p, before[n])}
        assert moved and moved <= set(owned(player, stack.game))


@pytest.mark.parametrize("backbone", [DENSE, CONV], ids=["mlp", "conv"])
@pytest.mark.parametrize("name", NAMES)
def test_samples_are_images_that_the_noise_alone_decides(name, backbone, tiny_for):
    data = tiny_for(name, 3)
    game = build(name, data, backbone)
    if name in FITTED:
        game.fit(scale(data.images["train"], torch.float64), None, seed=1)
    game.eval()
    noise = noise_of(game, 7, training=False)
    state = torch.get_rng_state()
    first = game.sample(noise)
    torch.manual_seed(99)
    again = game.sample({key: value.clone() for key, value in noise.items()})
    torch.set_rng_state(state)
    assert first.shape == (7, *data.data_spec.shape) and first.dtype == torch.float64
    assert first.min() >= -1 and first.max() <= 1 and first.std() > 0
    assert torch.equal(first, again)
    # In eval mode no image depends on its batch.
    alone = game.sample({key: value[2:3] for key, value in noise.items()})
    assert torch.allclose(alone[0], first[2], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_weights_survive_a_file(name, tiny_for):
    data = tiny_for(name)
    if name in FITTED:
        game = build(name, data, DENSE)
        game.fit(scale(data.images["train"], torch.float64), None, seed=1)
        weights = {key: value.contiguous() for key, value in game.state_dict().items()}
    else:
        stack = stacked(name, data, DENSE, [0, 1])
        stack.train_round()
        weights = stack.weights(1)
        game = build(name, data, DENSE, 1)
        game.load_state_dict(weights)
    fresh = build(name, data, DENSE, seed=7)
    if name not in FITTED:
        assert any(not torch.equal(value, weights[key]) for key, value in fresh.state_dict().items())
    loaded = load(save(weights))
    for key, value in loaded.items():
        assert value.dtype == weights[key].dtype
        if fresh.state_dict()[key].shape != value.shape:  # a fitted reference may hold another number of items
            setattr(fresh, key, torch.empty_like(value))
    fresh.load_state_dict(loaded, strict=True)
    noise = noise_of(game, 6, training=False)
    assert torch.equal(fresh.eval().sample(noise), game.eval().sample(noise))


@pytest.mark.parametrize("name", NAMES)
def test_noise_laws_and_abilities(name, tiny_for):
    data = tiny_for(name)
    game = build(name, data, DENSE)
    if name in FITTED:
        game.fit(scale(data.images["train"], torch.float64), None, seed=1)
    laws = game.noise()
    assert laws and all(isinstance(law, Noise) for law in laws.values())
    for key, value in noise_of(game, 4).items():
        if key == "y":
            continue
        shape = laws[key].shape if laws[key].per_step else (4, *laws[key].shape)
        assert value.shape == shape and value.isfinite().all() and value.std() > 0
    x = scale(data.images["test"][:9], torch.float64)
    abilities = registry.models.get(name).abilities
    assert "sample" in abilities and set(abilities) <= set(ABILITIES)
    game.eval()
    noise = noise_of(game, 4, training=False)
    given = (x, data.labels["test"][:9]) if game.supervision == "conditional" else (x,)
    calls = {
        "encode": lambda: game.encode(x).shape[0] == 9,
        "reconstruct": lambda: (again := game.reconstruct(*given)).shape == x.shape and again.abs().max() <= 1,
        "decode": lambda: game.decode(game.encode(x)).shape == x.shape,
        "cluster": lambda: game.cluster(x).shape[0] == 9 and game.cluster(x).logsumexp(1).abs().max() < 1e-6,
        "classify": lambda: game.classify(x).shape == (9, data.classes),
        "predict": lambda: game.predict(x).shape == (9, 3, 1, 8, 8) and game.predict(x).abs().max() <= 1,
        "extrapolate": lambda: game.extrapolate(noise, 9).shape == (4, 9, 1, 8, 8),
    }
    for ability in abilities:
        assert calls.get(ability, lambda: True)()


@pytest.mark.parametrize("name", NAMES)
def test_description(name):
    model = registry.models.get(name)
    assert model.summary.endswith(".") and len(model.summary) > 20
    assert model.game.role in ("model", "floor", "ceiling")
    assert model.game.supervision in ("unlabelled", "labelled", "conditional")
    assert (model.game.role == "model") == (name in TRAINED)
    for entry in model.published:
        assert entry.source and entry.dataset and entry.metric and (entry.error > 0 or math.isnan(entry.error))
        assert math.isfinite(entry.value) and (entry.comparable or entry.note)


def test_published_names_are_variants():
    for name in NAMES:
        game = registry.models.get(name).game
        assert set(game.published) <= set(game.variants or {game.name})


# ---------------------------------------------------------------- seeds together, seeds alone, and a plain loop


@pytest.mark.parametrize(
    ("name", "backbone"),
    [(name, DENSE) for name in TRAINED] + [(name, CONV) for name in TRAINED if takes_conv(name)],
    ids=lambda value: value["kind"] if isinstance(value, dict) else value,
)
def test_seeds_together_are_seeds_alone(name, backbone, tiny_for):
    data, seeds = tiny_for(name, 3), [0, 1, 5]
    together = stacked(name, data, backbone, seeds)
    start = [together.weights(i) for i in range(3)]
    assert {p.dtype for p in together.state.parameters.values()} == {torch.float64}
    alone = [stacked(name, data, backbone, [seed]) for seed in seeds]
    for _ in range(ROUNDS):
        losses = together.train_round()
        for index, stack in enumerate(alone):
            single = stack.train_round()
            for player, loss in single.items():
                assert loss.shape == (1,)
                assert loss.item() == pytest.approx(losses[player][index].item(), rel=1e-9, abs=1e-9)
    assert together.position == alone[0].position >= ROUNDS
    for index, stack in enumerate(alone):
        assert deviation(together.weights(index), stack.weights(0)) < 1e-9
        assert deviation(together.weights(index), start[index]) > 1e-6
    assert deviation(together.weights(0), together.weights(1)) > 1e-3


def plain_loop(game: Game, data: Dataset, name: str, seed: int) -> Game:
    """Train one seed as a page of ordinary PyTorch would: a module, an optimiser per player, no stacking."""
    game = deepcopy(game).train()
    generator = torch.Generator().manual_seed(seed_stream(data.name, name, seed, "noise"))
    optimisers = {}
    for player in game.players:
        rule, mine = player.optimiser, [game.get_parameter(n) for n in owned(player, game)]
        optimisers[player.name] = {
            "adam": lambda r, m: torch.optim.Adam(
                m, lr=r.lr, betas=r.betas, eps=r.epsilon, foreach=False, fused=False
            ),
            "rmsprop": lambda r, m: torch.optim.RMSprop(m, lr=r.lr, alpha=r.alpha, foreach=False),
            "sghmc": lambda r, m: torch.optim.Adam(
                m, lr=r.adam.lr, betas=r.adam.betas, foreach=False, fused=False
            ),
            "sgd": lambda r, m: torch.optim.SGD(m, lr=r.lr, momentum=r.momentum, foreach=False),
        }[rule.kind](rule, mine)
    steps = 0

    def step_data():
        nonlocal steps
        per_epoch = 64 // BATCH
        order = torch.Generator().manual_seed(seed_stream(data.name, name, seed, "order", steps // per_epoch))
        place = steps % per_epoch * BATCH
        index = torch.randperm(64, generator=order)[place : place + BATCH]
        steps += 1
        x = data.images["train"][index].double() / 127.5 - 1
        noise = {
            key: law.fill(torch.empty(*([] if law.per_step else [BATCH]), *law.shape).double(), generator)
            for key, law in laws_of(game).items()
        }
        labels = labels_for(game, data)
        return x, noise | ({} if labels is None else {"y": labels[index]})

    def gradients(player, x, batch):
        mine = [game.get_parameter(n) for n in owned(player, game)]
        return torch.autograd.grad(getattr(game, f"{player.name}_loss")(x, batch), mine, retain_graph=True)

    def descend(player, values, round_):
        optimiser, rule = optimisers[player.name], player.optimiser
        for group in optimiser.param_groups:
            group["lr"] = (rule.adam if rule.kind == "sghmc" else rule).lr * rule.schedule.factor(round_, ROUNDS)
            if rule.kind == "sgd":
                group["momentum"] = rule.momentum_at(round_)
        for n, value in zip(owned(player, game), values, strict=True):
            game.get_parameter(n).grad = value
        optimiser.step()

    for round_ in range(ROUNDS):
        if game.config.simultaneous:
            x, noise = step_data()
            noise |= game.precompute(noise)
            held = [gradients(player, x, noise) for player in game.players]
            for player, values in zip(game.players, held, strict=True):
                descend(player, values, round_)
            continue
        drawn = False
        for player in game.players:
            for step in range(player.steps_at(round_)):
                if player.clip:
                    with torch.no_grad():
                        for n in owned(player, game):
                            if not player.clip_nets or n.split(".")[0] in player.clip_nets:
                                game.get_parameter(n).clamp_(-player.clip, player.clip)
                if step or not drawn:  # the first step is on the draw at which the player before ended
                    x, noise = step_data()
                    noise |= game.precompute(noise)
                    drawn = True
                descend(player, gradients(player, x, noise), round_)
    return game


@pytest.mark.parametrize(
    ("name", "backbone"),
    [(name, DENSE) for name in TRAINED] + [(name, CONV) for name in ("gan", "wgan-gp", "sngan", "vae", "wgan")],
    ids=lambda value: value["kind"] if isinstance(value, dict) else value,
)
def test_stack_is_a_plain_loop(name, backbone, tiny_for):
    """Also catches an optimiser kernel that ignores the strides of the gradients which vmap returns."""
    if any(player.unroll for player in build(name, tiny_for(name), backbone).players):
        pytest.skip("a foreseen step is no plain loop; see test_unrolled.py")
    data, seeds = tiny_for(name), [0, 3]
    stack = stacked(name, data, backbone, seeds)
    plain = [plain_loop(build(name, data, backbone, seed), data, name, seed) for seed in seeds]
    for _ in range(ROUNDS):
        stack.train_round()
    for index, game in enumerate(plain):
        assert {p.dtype for p in game.parameters()} == {torch.float64}
        assert deviation(stack.weights(index), game.state_dict()) < 1e-9


def test_every_optimiser_and_both_orders_of_play_are_among_these_models():
    models = [registry.models.get(name) for name in TRAINED]
    typed = [model.read(small(model.name, DENSE)) for model in models]
    assert {player.optimiser.kind for _, players in typed for player in players} == {
        "adam",
        "rmsprop",
        "sghmc",
        "sgd",
    }
    assert {config.simultaneous for config, _ in typed} == {True, False}


# ---------------------------------------------------------------- order of play, in closed form


class Bilinear(Game):
    """min over a, max over b of ab; without a name, so that it is not registered."""

    players = (
        Player("first", nets=("a",), optimiser=SGD(0.1)),
        Player("second", nets=("b",), optimiser=SGD(0.1)),
    )

    def __init__(self, data: DataSpec, config: Config = Config(), a: float = 1.0, b: float = 1.0) -> None:
        super().__init__(data, config)
        self.a, self.b = nn.Parameter(torch.tensor(a)), nn.Parameter(torch.tensor(b))

    def noise(self):
        return {}

    def sample(self, noise):
        raise NotImplementedError

    def first_loss(self, x, batch):
        return self.a * self.b

    def second_loss(self, x, batch):
        return -self.a * self.b


STARTS = [(1.0, 1.0), (-0.5, 2.0)]


def bilinear(data: Dataset, simultaneous: bool, rounds: int = 20) -> list[tuple[float, float]]:
    games = [Bilinear(data.data_spec, Config(simultaneous=simultaneous), *start) for start in STARTS]
    stack = Stack(games, [0, 1], data, "bilinear", 4, rounds, dtype=torch.float64)
    for _ in range(rounds):
        stack.train_round()
    return [(w["a"].item(), w["b"].item()) for w in map(stack.weights, range(2))]


def test_simultaneous_gradients_are_taken_at_one_point(tiny):
    for start, end in zip(STARTS, bilinear(tiny(), simultaneous=True), strict=True):
        # one step multiplies a + ib by 1 + i eta
        expected = complex(*start) * (1 + 0.1j) ** 20
        assert end == pytest.approx((expected.real, expected.imag), rel=1e-12)


def test_alternating_gradients_see_the_other_players_step(tiny):
    for (a, b), end in zip(STARTS, bilinear(tiny(), simultaneous=False), strict=True):
        invariant = a * a + b * b - 0.1 * a * b
        for _ in range(20):
            a -= 0.1 * b
            b += 0.1 * a
        assert end == pytest.approx((a, b), rel=1e-12)
        assert a * a + b * b - 0.1 * a * b == pytest.approx(invariant, rel=1e-12)


class Climb(Bilinear):
    """Both players climb at slope 1 without end: only the clip holds them."""

    players = (
        Player("first", nets=("a",), optimiser=SGD(0.1)),
        Player("second", nets=("b",), optimiser=SGD(0.1), clip=0.5),
    )

    def first_loss(self, x, batch):
        return self.a * self.b

    def second_loss(self, x, batch):
        return -self.b


@pytest.mark.parametrize("simultaneous", [False, True])
def test_weights_are_clipped_before_the_gradients_of_a_step(tiny, simultaneous):
    data = tiny()
    stack = Stack([Climb(data.data_spec, Config(simultaneous=simultaneous), 0.0, 3.0)], [0], data, "climb", 4, 9)
    stack.train_round()
    weights = stack.weights(0)
    assert weights["b"].item() == pytest.approx(0.6)  # 3 is cut to 0.5, then a step of 0.1
    # alternating: the first player still saw 3; simultaneous: all gradients are those after the cut
    assert weights["a"].item() == pytest.approx(-0.05 if simultaneous else -0.3)


def test_averaged_weights_follow_the_closed_form(tiny):
    data = tiny()
    games = [Bilinear(data.data_spec, Config(), *start) for start in STARTS]
    stack = Stack(games, [0, 1], data, "bilinear", 4, 5, ema=0.9, dtype=torch.float64)
    expected = [start[0] for start in STARTS]
    for _ in range(5):
        stack.train_round()
        expected = [0.9 * e + 0.1 * a for e, a in zip(expected, stack.state.parameters["a"].tolist(), strict=True)]
    assert [stack.weights(i)["a"].item() for i in range(2)] == pytest.approx(expected, rel=1e-12)
    assert stack.weights(0)["a"].item() != stack.state.parameters["a"][0].item()


# ---------------------------------------------------------------- batches, noise, schedules


def batch_at(batches: Batches, position: int) -> Tensor:
    batches.seek(position)
    return batches.get(torch.float64)[0]


def test_every_epoch_shows_every_image_once_in_a_new_order(tiny):
    images = torch.arange(64, dtype=torch.uint8).reshape(64, 1, 1, 1)
    batches = Batches(images, 16, [("d", "m", 0), ("d", "m", 1)])
    epochs = []
    for epoch in range(2):
        drawn = torch.cat([batch_at(batches, 4 * epoch + i) for i in range(4)], 1)
        epochs.append(((drawn + 1) * 127.5).round().long().reshape(2, 64))
    for epoch in epochs:
        assert all(sorted(row.tolist()) == list(range(64)) for row in epoch)
    orders = {tuple(row.tolist()) for epoch in epochs for row in epoch}
    assert len(orders) == 4
    # a function of the position alone
    again = batch_at(Batches(images, 16, [("d", "m", 1)]), 5)
    assert torch.equal(again[0], batch_at(batches, 5)[1])


def test_pixels_are_scaled_to_the_whole_range():
    assert scale(torch.tensor([0, 255], dtype=torch.uint8), torch.float64).tolist() == [-1.0, 1.0]


def test_laws_have_their_moments():
    generator = torch.Generator().manual_seed(0)
    normal = Normal(4).fill(torch.empty(50_000, 4, dtype=torch.float64), generator)
    assert normal.mean().item() == pytest.approx(0, abs=0.01) and normal.var().item() == pytest.approx(1, abs=0.02)
    uniform = Uniform(4, low=-2.0, high=3.0).fill(torch.empty(50_000, 4, dtype=torch.float64), generator)
    assert uniform.min() >= -2 and uniform.max() < 3
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.02)
    assert uniform.var().item() == pytest.approx(25 / 12, abs=0.02)


def test_steps_follow_the_released_wgan_schedule():
    critic = registry.models.get("wgan").game.players[0]
    boosted = [round_ for round_ in range(1501) if critic.steps_at(round_) == 100]
    assert boosted == [*range(25), 500, 1000, 1500]
    assert {critic.steps_at(round_) for round_ in range(1501)} == {5, 100}
    assert [Player("p", ("n",), steps=3).steps_at(r) for r in (0, 500)] == [3, 3]


def test_schedules_have_their_closed_forms():
    assert {Constant().factor(r, 10) for r in range(10)} == {1.0}
    decay = Decay(divisor=1.000004, floor=1e-5)
    assert decay.factor(0, 1) == 1
    assert decay.factor(100_000, 1) == pytest.approx(math.exp(-100_000 * math.log(1.000004)), rel=1e-12)
    assert decay.factor(10_000_000, 1) == 1e-5
    assert [LinearDecay().factor(r, 4) for r in range(4)] == [1.0, 0.75, 0.5, 0.25]
    assert [LinearDecay(start=0.5).factor(r, 4) for r in range(4)] == [1.0, 1.0, 1.0, 0.5]


def test_momentum_rises_linearly_then_stays():
    ramp = SGD(momentum=0.5, final_momentum=0.7, ramp=10)
    assert [ramp.momentum_at(r) for r in (0, 5, 10, 1000)] == pytest.approx([0.5, 0.6, 0.7, 0.7])
    assert SGD(momentum=0.3, final_momentum=0.9).momentum_at(50) == 0.3


@pytest.mark.parametrize("optimiser", [Adam(), RMSprop(), SGD(schedule=Decay()), Adam(schedule=LinearDecay(0.5))])
def test_rules_survive_json(optimiser):
    assert from_json(Player, to_json(Player("p", ("n",), optimiser))) == Player("p", ("n",), optimiser)


# ---------------------------------------------------------------- settings


def test_settings_are_set_by_path_and_the_last_one_wins():
    model = registry.models.get("wgan-gp")
    settings = model.settings(DENSE, {"penalty": 3.0, "critic.steps": 2}, {"penalty": 4.0})
    config, players = model.read(settings)
    assert config.penalty == 4.0 and players[0].steps == 2 and players[0].optimiser.lr == 1e-4
    assert config.backbone == MLP(generator=(12, 12), critic=(10, 10))
    assert model.settings(CONV)["backbone"] == to_json(Conv(width=4))


def test_settings_reach_fields_that_the_suite_leaves_at_their_defaults():
    model = registry.models.get("gan")
    settings = model.settings(DENSE, {"backbone.critic_activation": "elu"})
    assert settings["backbone"] == {**to_json(MLP()), **DENSE, "critic_activation": "elu"}
    settings = model.settings(DENSE, {"backbone": {"kind": "conv"}, "backbone.width": 8})
    assert settings["backbone"] == to_json(Conv(width=8))
    settings = model.settings(DENSE, {"generator.optimiser": {"kind": "sgd"}, "generator.optimiser.momentum": 0.9})
    assert settings["generator"]["optimiser"] == to_json(SGD(momentum=0.9))


def test_settings_of_one_model_never_leak_into_another():
    backbone = {**DENSE, "generator": [12, 12]}
    changed = registry.models.get("gan").settings(backbone, {"backbone.generator": [7]})
    assert changed["backbone"]["generator"] == [7]
    assert backbone == DENSE
    assert registry.models.get("lsgan").settings(backbone)["backbone"]["generator"] == [12, 12]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"penalti": 3.0}, r"unknown setting of wgan-gp 'penalti'; did you mean penalty"),
        ({"critic.optimiser.momentum": 0.5}, r"unknown setting of wgan-gp 'critic.optimiser.momentum'"),
        ({"critic": 3}, r"unknown setting of wgan-gp 'critic'; did you mean"),
        ({"critic.name": "x"}, r"unknown setting of wgan-gp 'critic.name'"),
        ({"penalty.deep": 1}, r"unknown setting of wgan-gp 'penalty.deep'"),
        ({"backbone.kind": "conv"}, r"unknown setting of wgan-gp 'backbone.kind'"),
        ({"penalty": "big"}, r"setting of wgan-gp: penalty: .*number.*'big'"),
        ({"critic.steps": 2.5}, r"setting of wgan-gp: .*steps.*2\.5"),
        ({"critic.steps": 0}, r"setting of wgan-gp: critic.steps: .*greater than or equal to 1, got 0"),
        ({"critic.optimiser.lr": -1.0}, r"setting of wgan-gp: critic.optimiser.*lr: .*greater than 0, got -1"),
        ({"latent": 0}, r"setting of wgan-gp: latent: .*greater than or equal to 1, got 0"),
        ({"simultaneous": True}, r"simultaneous updates of wgan-gp need one step"),
        ({"backbone": {"kind": "transformer"}}, r"setting of wgan-gp: backbone.*transformer"),
    ],
)
def test_bad_settings_are_one_line_for_the_user(override, message):
    with pytest.raises(UserError, match=message) as caught:
        registry.models.get("wgan-gp").settings(DENSE, override)
    assert "\n" not in str(caught.value)


def test_a_bad_backbone_of_a_suite_is_an_error_too():
    with pytest.raises(UserError, match=r"setting of gan: backbone.*widht"):
        registry.models.get("gan").settings({"kind": "conv", "widht": 3})


def test_simultaneous_updates_take_exactly_one_step_in_every_round():
    model = registry.models.get("gan")
    with pytest.raises(UserError, match="one step"):
        model.settings(
            DENSE, {"simultaneous": True, "generator.steps": 2, "generator.boost": 1, "generator.boost_first": 1}
        )
    with pytest.raises(UserError, match="one step"):
        model.settings(DENSE, {"simultaneous": True, "generator.boost": 2, "generator.boost_every": 5})
    assert model.settings(DENSE, {"simultaneous": True})["simultaneous"] is True


def test_build_leaves_the_global_random_state_alone_and_follows_its_seed(tiny):
    data_spec = tiny().data_spec
    model = registry.models.get("sngan")
    settings = small("sngan", DENSE)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    one, same, other = (model.build(data_spec, settings, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(4), expected)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("name", "overrides", "shape", "message"),
    [
        ("gan", {"backbone": {"kind": "conv"}}, (1, 7, 7), "gan cannot play on odd: the conv backbone needs"),
        ("gan", {"backbone": {"kind": "conv"}, "mean_start": True}, (1, 8, 8), "mean_start needs"),
        ("fgan-alpha", {"alpha": 1.0}, (1, 8, 8), "fgan-alpha cannot play on odd: alpha must be neither"),
        ("fgan-weighted-jensen-shannon", {"pi": 1.5}, (1, 8, 8), "pi must be in"),
    ],
)
def test_a_game_that_cannot_be_built_says_why(name, overrides, shape, message):
    model = registry.models.get(name)
    data_spec = DataSpec("odd", shape, 0, torch.full(shape, 0.5))
    with pytest.raises(UserError, match=message):
        model.build(data_spec, model.settings(DENSE, overrides), 0)


@pytest.mark.parametrize("name", suite_names())
def test_every_model_accepts_the_backbone_of_every_suite(name):
    for model in NAMES:
        settings = registry.models.get(model).settings(read_suite(name).backbone)
        config, players = registry.models.get(model).read(settings)
        assert {**to_json(config), **{p.name: settings[p.name] for p in players}} == settings


# ---------------------------------------------------------------- what is checked when a class is made


@pytest.fixture
def spare_registry(monkeypatch):
    monkeypatch.setattr(registry.models, "_items", dict(registry.models._items))


@dataclass(frozen=True)
class OwnConfig(Config):
    latent: int = 3
    "size of z"


def test_a_new_game_is_registered_with_its_variants(spare_registry, tiny):
    class Mine(Bilinear):
        """Mine."""

        name = "mine"
        variants = {"mine": {}, "mine-fast": {"first.optimiser.lr": 0.5}}

    assert {"mine", "mine-fast"} <= set(registry.models.names())
    model = registry.models.get("mine-fast")
    assert model.game is Mine and model.summary == "Mine."
    assert model.build(tiny().data_spec, model.settings(DENSE), 0).players[0].optimiser == SGD(0.5)
    assert Mine.players[0].optimiser == SGD(0.1)
    with pytest.raises(UserError, match="model 'mine' is registered twice"):

        class Again(Bilinear):
            name = "mine"


def test_a_class_that_breaks_the_contract_is_refused(spare_registry):
    with pytest.raises(UserError, match="game 'bad': player 'third' has no method third_loss"):

        class NoLoss(Bilinear):
            name = "bad"
            players = (Player("third", nets=("a",)),)

    with pytest.raises(UserError, match="game 'bad' has neither players nor a method fit"):

        class NoPlayers(Bilinear):
            name = "bad"
            players = ()

    with pytest.raises(UserError, match="game 'bad' has no method sample"):

        class NoSample(Game):
            name = "bad"
            players = Bilinear.players
            noise = Bilinear.noise
            first_loss = second_loss = Bilinear.first_loss

    with pytest.raises(UserError, match="game 'bad': __init__ needs a parameter 'config'"):

        class NoConfig(Bilinear):
            name = "bad"

            def __init__(self, data, config):
                super().__init__(data, config)

    assert "bad" not in registry.models.names()


def test_replace_keeps_records_frozen():
    config = OwnConfig()
    with pytest.raises(AttributeError):
        config.latent = 4  # type: ignore[misc]
    assert replace(config, latent=4).latent == 4 and config.latent == 3
