"""Training: interrupted equals straight, divergence is dated, damage is reported, nothing is half-written."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ganbench import records, registry
from ganbench.errors import UserError
from ganbench.records import seed_stream
from ganbench.runs import folder
from ganbench.runs.folder import Status, build, pending
from ganbench.suites.spec import RunSpec, read_spec
from ganbench.training.batches import scale
from ganbench.training.loop import stacks, train
from ganbench.training.stack import Stack

DENSE = {"kind": "mlp", "generator": [12, 12], "critic": [10, 10]}
CONV = {"kind": "conv", "width": 4}
FILES = ("log.csv", "spec.json", "weights.safetensors")


def specs(
    name: str, count: int = 2, backbone: dict = DENSE, ema: float = 0.0, rounds: int = 9, **settings
) -> list[RunSpec]:
    """One specification per seed."""
    model = registry.models.get(name)
    first = RunSpec(
        suite="test",
        version=1,
        budget="tiny",
        dataset="tiny",
        model=name,
        settings=model.settings(backbone, {key.replace("__", "."): value for key, value in settings.items()}),
        changed=settings,
        seed=0,
        rounds=rounds,
        batch=16,
        ema=ema,
        samples=10,
    )
    return [replace(first, seed=seed) for seed in range(count)]


def contents(spec: RunSpec, out: Path) -> dict[str, bytes]:
    return {name: (spec.folder(out) / name).read_bytes() for name in FILES}


def weights(spec: RunSpec, out: Path) -> dict[str, Tensor]:
    return load_file(spec.folder(out) / "weights.safetensors")


def status(spec: RunSpec, out: Path) -> Status:
    found = Status.read(spec.folder(out))
    assert found is not None
    return found


def checkpoints(out: Path) -> list[Path]:
    return sorted(out.rglob("checkpoint-*"))


def log(spec: RunSpec, out: Path) -> list[dict[str, str]]:
    with open(spec.folder(out) / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


# ---------------------------------------------------------------- interruptions

SCHEDULED = {"critic__boost": 4, "critic__boost_first": 2, "critic__boost_every": 5}
RELEASED = {"backbone__generator": [12, 12], "backbone__critic": [10, 10]} | {
    f"{player}__optimiser__ramp": 5 for player in ("discriminator", "generator")
}


@pytest.mark.parametrize(
    ("name", "options", "state"),
    [
        ("gan", {}, "adam"),
        ("gan", {"ema": 0.9}, "averages"),
        ("wgan", SCHEDULED, "critic schedule, RMSprop"),
        ("gan-2014", RELEASED, "momentum"),
        ("sngan", {}, "spectral u, decaying rate"),
        ("vae-gaussian", {}, "one player"),
        ("gan", {"backbone": CONV, "ema": 0.9}, "one by one"),
        ("sngan", {"backbone": CONV}, "one by one, spectral u"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_interrupted_training_is_straight_training_bit_for_bit(tiny, tmp_path, name, options, state):
    data, plan = tiny(), specs(name, **options)
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    assert stacks(build(plan[0], data), torch.device("cpu")) == ("one by one" not in state)
    train(plan, data, straight)
    for stop in (3, 7, 7, 5):  # the last two ask for what is already done
        train(plan, data, broken, stop_after=stop)
        assert pending(plan, broken) == plan and checkpoints(broken)
        assert not list(broken.rglob("status.json"))
        torch.rand(7)  # the global random state has no part in it
    train(plan, data, broken)
    for spec in plan:
        assert contents(spec, broken) == contents(spec, straight)
        assert (status(spec, broken).state, status(spec, broken).round) == ("finished", 9)
        assert {value.dtype for value in weights(spec, straight).values()} <= {torch.float32, torch.int64}
    assert not checkpoints(broken) and not checkpoints(straight)
    assert contents(plan[0], straight)["weights.safetensors"] != contents(plan[1], straight)["weights.safetensors"]


def test_a_checkpoint_is_written_on_the_way(tiny, tmp_path, monkeypatch):
    data, plan = tiny(), specs("gan")
    play = Stack.train_round

    def stop(stack):
        if stack.round == 5:
            raise KeyboardInterrupt
        return play(stack)

    with monkeypatch.context() as patch:
        patch.setattr(Stack, "train_round", stop)
        with pytest.raises(KeyboardInterrupt):
            train(plan, data, tmp_path / "broken", checkpoint_seconds=0)
    saved = torch.load(next(p for p in checkpoints(tmp_path) if p.suffix == ".pt"), weights_only=True)
    assert saved["stack"]["round"] == 5
    train(plan, data, tmp_path / "broken")
    train(plan, data, tmp_path / "straight")
    for spec in plan:
        assert contents(spec, tmp_path / "broken") == contents(spec, tmp_path / "straight")


@pytest.mark.parametrize("backbone", [DENSE, CONV], ids=["stacked", "one by one"])
def test_more_seeds_after_an_interruption(tiny, tmp_path, backbone):
    data, plan = tiny(), specs("gan", 3, backbone)
    train(plan[:2], data, tmp_path / "broken", stop_after=4)
    assert pending(plan, tmp_path / "broken") == plan
    train(plan, data, tmp_path / "broken")
    assert pending(plan, tmp_path / "broken") == [] and not checkpoints(tmp_path)
    train(plan[:2], data, tmp_path / "straight")
    train(plan[2:], data, tmp_path / "straight")
    for spec in plan:
        assert contents(spec, tmp_path / "broken") == contents(spec, tmp_path / "straight")


def test_fewer_seeds_after_an_interruption(tiny, tmp_path):
    data, plan = tiny(), specs("gan", 3)
    train(plan, data, tmp_path, stop_after=4)
    train(plan[:1], data, tmp_path)
    train(pending(plan, tmp_path), data, tmp_path)
    assert pending(plan, tmp_path) == []
    train(plan[1:], data, tmp_path / "straight")
    for spec in plan[1:]:
        assert contents(spec, tmp_path) == contents(spec, tmp_path / "straight")


def test_interruptions_of_overlapping_seeds(tiny, tmp_path):
    data, plan = tiny(), specs("gan", 4)
    for part in (plan[:2], plan[:3], plan[2:]):
        train(part, data, tmp_path, stop_after=3)
    train(plan, data, tmp_path)
    assert pending(plan, tmp_path) == []
    assert [status(spec, tmp_path).round for spec in plan] == [9] * 4


def test_seeds_in_another_company_differ_by_rounding_only(tiny, tmp_path):
    data, plan = tiny(), specs("gan", 3)
    train(plan, data, tmp_path / "together")
    for spec in plan:
        train([spec], data, tmp_path / "alone")
        one, other = weights(spec, tmp_path / "together"), weights(spec, tmp_path / "alone")
        assert all(torch.allclose(one[key], other[key], rtol=1e-4, atol=1e-5) for key in one)


# ---------------------------------------------------------------- what a finished run holds


def test_a_run_folder(tiny, tmp_path):
    data, plan = tiny(), specs("lsgan", rounds=450)
    told: list[tuple[int, float]] = []
    assert pending(plan, tmp_path) == plan
    train(plan, data, tmp_path, lambda rounds, speed: told.append((rounds, speed)))
    assert pending(plan, tmp_path) == []
    for spec in plan:
        folder = spec.folder(tmp_path)
        assert folder == tmp_path / "test" / "lsgan" / spec.hash
        assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "status.json"])
        assert read_spec(folder) == spec
        rows = log(spec, tmp_path)
        assert list(rows[0]) == ["round", "discriminator_loss", "generator_loss"]
        assert [int(row["round"]) for row in rows] == list(range(2, 451, 2))
        assert all(float(row["discriminator_loss"]) == float(row["discriminator_loss"]) for row in rows)
        values = json.loads((folder / "status.json").read_text())
        assert values["state"] == "finished" and values["round"] == 450 and values["reason"] == ""
        assert values["seconds"] > 0 and values["images_per_second"] > 0
        assert values["device"] == "cpu" and values["torch"] == torch.__version__
        game = build(spec, data)
        game.load_state_dict(weights(spec, tmp_path))
    assert sum(rounds for rounds, _ in told) == 450 * 2 and all(speed >= 0 for _, speed in told)
    assert len(list((tmp_path / "test" / "lsgan").iterdir())) == 2  # nothing but the run folders


def test_logged_losses_are_those_of_the_stack(tiny, tmp_path):
    data, plan = tiny(), specs("gan")
    train(plan, data, tmp_path)
    stack = Stack([build(spec, data) for spec in plan], [0, 1], data, "gan", 16, 9)
    for row in range(9):
        losses = stack.train_round()
        for index, spec in enumerate(plan):
            for player, loss in losses.items():
                assert float(log(spec, tmp_path)[row][f"{player}_loss"]) == loss[index].item()
    for index, spec in enumerate(plan):
        assert all(
            torch.equal(value, weights(spec, tmp_path)[key]) for key, value in stack.weights()[index].items()
        )


def test_averaged_weights_are_the_ones_that_are_kept(tiny, tmp_path):
    data, plan = tiny(), specs("gan", ema=0.8)
    train(plan, data, tmp_path)
    stack = Stack([build(spec, data) for spec in plan], [0, 1], data, "gan", 16, 9)
    average = {name: value.detach().double() for name, value in stack.state.parameters.items()}
    for _ in range(9):
        stack.train_round()
        average = {n: 0.8 * a + 0.2 * stack.state.parameters[n].detach().double() for n, a in average.items()}
    for index, spec in enumerate(plan):
        kept = weights(spec, tmp_path)
        for name, value in average.items():
            assert torch.allclose(kept[name].double(), value[index], rtol=1e-5, atol=1e-6)
            assert not torch.equal(kept[name], stack.state.parameters[name][index])


def test_references_are_fitted_and_kept(tiny, tmp_path):
    data = tiny()
    for name, options in (("real-train", {}), ("kmeans-centroids", {"centroids": 5})):
        plan = specs(name, **options)
        train(plan, data, tmp_path)
        assert pending(plan, tmp_path) == []
        game = build(plan[1], data)
        game.fit(scale(data.images["train"], torch.float32), None, seed_stream("tiny-1x8", name, 1, "fit"))
        for key, value in game.state_dict().items():
            assert torch.equal(weights(plan[1], tmp_path)[key], value)
        assert status(plan[1], tmp_path).state == "finished"


def test_small_dense_networks_are_stacked_and_others_not(tiny):
    cpu, data = torch.device("cpu"), tiny()
    assert stacks(build(specs("gan")[0], data), cpu)
    assert not stacks(build(specs("gan", backbone=CONV)[0], data), cpu)
    assert not stacks(build(specs("gan", backbone={"kind": "mlp"})[0], data), cpu)
    assert stacks(build(specs("gan", backbone=CONV)[0], data), torch.device("cuda"))


# ---------------------------------------------------------------- divergence


def poison(monkeypatch: pytest.MonkeyPatch, seed: int, at: int, after: bool, value: float, net: str = "G") -> None:
    """Spoil one number of a seed's weights just before, or just after, it plays round `at`."""
    play = Stack.train_round

    def spoil(stack: Stack) -> None:
        name = next(name for name in stack.state.parameters if name.startswith(net))
        with torch.no_grad():
            stack.state.parameters[name][stack.seeds.index(seed)].view(-1)[0] = value

    def train_round(stack: Stack) -> dict[str, Tensor]:
        here = seed in stack.seeds and stack.round == at - 1
        if here and not after:
            spoil(stack)
        losses = play(stack)
        if here and after:
            spoil(stack)
        return losses

    monkeypatch.setattr(Stack, "train_round", train_round)


@pytest.mark.parametrize("backbone", [DENSE, CONV], ids=["stacked", "one by one"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_diverged_seed_is_dated_and_touches_no_other(tiny, tmp_path, monkeypatch, backbone, value):
    data, plan = tiny(), specs("gan", 3, backbone)
    train(plan, data, tmp_path / "clean")
    poison(monkeypatch, seed=1, at=4, after=False, value=value)
    train(plan, data, tmp_path / "poisoned")
    assert pending(plan, tmp_path / "poisoned") == []  # kept, not tried again
    spoilt = status(plan[1], tmp_path / "poisoned")
    assert (spoilt.state, spoilt.round) == ("diverged", 4)
    assert spoilt.reason == "NaN or infinite loss or weights at round 4"
    for spec in (plan[0], plan[2]):
        assert contents(spec, tmp_path / "poisoned") == contents(spec, tmp_path / "clean")
        assert status(spec, tmp_path / "poisoned").state == "finished"
    found = [row["generator_loss"] for row in log(plan[1], tmp_path / "poisoned")]
    assert found[:3] == [row["generator_loss"] for row in log(plan[1], tmp_path / "clean")][:3]
    assert found[3] in ("nan", "inf", "-inf")


def test_weights_that_spoil_after_the_last_loss_are_seen(tiny, tmp_path, monkeypatch):
    data, plan = tiny(), specs("gan", 3)
    poison(monkeypatch, seed=2, at=9, after=True, value=float("nan"))
    train(plan, data, tmp_path)
    assert [(s.state, s.round) for s in (status(spec, tmp_path) for spec in plan)] == [
        ("finished", 9),
        ("finished", 9),
        ("diverged", 9),
    ]


def test_the_date_survives_an_interruption(tiny, tmp_path, monkeypatch):
    data, plan = tiny(), specs("gan", 2)
    poison(monkeypatch, seed=0, at=2, after=False, value=float("nan"))
    train(plan, data, tmp_path, stop_after=5)
    train(plan, data, tmp_path)
    assert (status(plan[0], tmp_path).state, status(plan[0], tmp_path).round) == ("diverged", 2)
    assert (status(plan[1], tmp_path).state, status(plan[1], tmp_path).round) == ("finished", 9)


def test_runs_that_have_all_diverged_stop(tiny, tmp_path):
    rate = {"discriminator__optimiser__lr": 1e30, "generator__optimiser__lr": 1e30}
    data, plan = tiny(), specs("gan", 2, rounds=1000, **rate)
    stack = Stack([build(spec, data) for spec in plan], [0, 1], data, "gan", 16, 1000)
    first: dict[int, int] = {}
    while len(first) < 2:
        losses = torch.stack(list(stack.train_round().values()))
        for index in range(2):
            if not losses[:, index].isfinite().all():
                first.setdefault(index, stack.round)
        assert stack.round < 20
    train(plan, data, tmp_path)
    assert {i: status(spec, tmp_path).round for i, spec in enumerate(plan)} == first
    assert all(status(spec, tmp_path).state == "diverged" for spec in plan)
    for spec in plan:
        assert 0 < int(log(spec, tmp_path)[-1]["round"]) < 100  # and not 1000


def test_runs_that_have_all_diverged_before_an_interruption(tiny, tmp_path, monkeypatch):
    data, plan = tiny(), specs("gan", 1)
    poison(monkeypatch, seed=0, at=3, after=False, value=float("nan"))
    train(plan, data, tmp_path / "a", stop_after=3)
    train(plan, data, tmp_path / "b")
    if pending(plan, tmp_path / "a"):
        train(plan, data, tmp_path / "a")
    assert contents(plan[0], tmp_path / "a")["log.csv"] == contents(plan[0], tmp_path / "b")["log.csv"]
    assert status(plan[0], tmp_path / "a").round == status(plan[0], tmp_path / "b").round == 3


# ---------------------------------------------------------------- damage and misuse


@pytest.mark.parametrize(
    "damage",
    [
        lambda good: b"garbage",
        lambda good: b"",
        lambda good: good[: len(good) // 2],
        lambda good: good[:-200],
    ],
    ids=["garbage", "empty", "half", "tail gone"],
)
def test_a_damaged_checkpoint_is_named(tiny, tmp_path, damage):
    data, plan = tiny(), specs("gan")
    train(plan, data, tmp_path, stop_after=3)
    path = next(p for p in checkpoints(tmp_path) if p.suffix == ".pt")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"is damaged .*; delete it to train this model anew") as caught:
        train(plan, data, tmp_path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert pending(plan, tmp_path) == plan
    path.unlink()
    train(plan, data, tmp_path)
    assert pending(plan, tmp_path) == []


@pytest.mark.parametrize("content", [{}, {"stack": {}, "log": []}, [1], {"stack": 3}], ids=str)
def test_a_checkpoint_of_something_else_is_named(tiny, tmp_path, content):
    data, plan = tiny(), specs("gan")
    train(plan, data, tmp_path, stop_after=3)
    path = next(p for p in checkpoints(tmp_path) if p.suffix == ".pt")
    torch.save(content, path)
    with pytest.raises(UserError, match="is damaged") as caught:
        train(plan, data, tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "3", "[1, 2]", '{"a": 1}', "\udc89"])
def test_a_damaged_list_of_seeds_is_passed_over(tiny, tmp_path, content):
    data, plan = tiny(), specs("gan")
    train(plan, data, tmp_path, stop_after=3)
    path = next(p for p in checkpoints(tmp_path) if p.suffix == ".json")
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    train(plan, data, tmp_path)
    assert pending(plan, tmp_path) == [] and not checkpoints(tmp_path)


def test_a_batch_larger_than_the_training_set(tiny, tmp_path):
    plan = [replace(spec, batch=65) for spec in specs("gan")]
    with pytest.raises(UserError, match="batch 65 is larger than the 64 training images"):
        train(plan, tiny(), tmp_path)
    assert list(tmp_path.iterdir()) == []
    train([replace(specs("gan")[0], batch=64)], tiny(), tmp_path)


def test_a_game_whose_parameters_nobody_owns(tiny, monkeypatch):
    plan, data = specs("gan"), tiny()
    game = registry.models.get("gan").game
    monkeypatch.setattr(game, "players", (game.players[0], replace(game.players[1], nets=("H",))))
    with pytest.raises(UserError, match="model gan: player 'generator' has no parameters"):
        build(plan[0], data)


@pytest.mark.parametrize("broken", FILES)
def test_nothing_is_half_written(tiny, tmp_path, monkeypatch, broken):
    data, plan = tiny(), specs("gan")
    write: Callable[..., None] = records.write_whole
    written: list[str] = []

    def fail(path: Path, content: bytes | str) -> None:
        if path.name == broken and len(written) > 3:  # the second run folder
            raise OSError("disk full")
        if "checkpoint" not in path.name:
            written.append(path.name)
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(folder, "write_whole", fail)
        with pytest.raises(OSError, match="disk full"):
            train(plan, data, tmp_path)
    assert written[3] == "status.json"  # last of the first folder
    assert pending(plan, tmp_path) == plan[1:]
    assert not list(tmp_path.rglob("*.part"))
    train(pending(plan, tmp_path), data, tmp_path)
    assert pending(plan, tmp_path) == []


def test_a_folder_with_a_damaged_status_is_trained_again(tiny, tmp_path):
    data, plan = tiny(), specs("gan", 1)
    train(plan, data, tmp_path)
    (plan[0].folder(tmp_path) / "status.json").write_text('{"state": ')
    assert pending(plan, tmp_path) == plan


def test_saved_state_holds_everything(tiny):
    data, plan = tiny(), specs("sngan")
    stack = Stack([build(spec, data) for spec in plan], [0, 1], data, "sngan", 16, 9, ema=0.5)
    for _ in range(2):
        stack.train_round()
    assert any(name.endswith(".u") for name in stack.state.buffers)
    other = Stack([build(spec, data) for spec in plan], [0, 1], data, "sngan", 16, 9, ema=0.5)
    other.restore(deepcopy(stack.saved()))
    assert other.round == 2 and other.position == stack.position
    for _ in range(3):
        one, two = stack.train_round(), other.train_round()
        assert all(torch.equal(one[player], two[player]) for player in one)
    assert all(
        torch.equal(a, b) for a, b in zip(stack.weights()[1].values(), other.weights()[1].values(), strict=True)
    )
