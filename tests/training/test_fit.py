"""What a game takes from the training set after its last round: once, per seed, from the weights that are kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ganbench import registry
from ganbench.records import seed_stream
from ganbench.runs.folder import Status, build, restore
from ganbench.suites.spec import RunSpec
from ganbench.training.batches import scale
from ganbench.training.loop import stacks, train
from ganbench.training.stack import Stack

DENSE = {"kind": "mlp", "generator": [12, 12], "critic": [10, 10]}
CONV = {"kind": "conv", "width": 4}
CALLS: list[dict] = []


@pytest.fixture
def finishing(clean_registry: None) -> Iterator[str]:
    """Register a GAN that keeps, when finished, what its critic says of the training set but its last rows."""

    class Finishing(registry.models.get("gan").game):
        """GAN that looks back at its data."""

        name = "finishing"
        variants = {}
        published = {}

        def __init__(self, data, config=registry.models.get("gan").defaults):
            super().__init__(data, config)
            self.register_buffer("opinions", torch.zeros(len(self.data.mean.flatten()), 1))
            self.register_buffer("draw", torch.zeros(3))

        def finalize(self, images: Tensor, labels: Tensor | None, seed: int) -> None:
            weights = {name: value.clone() for name, value in self.state_dict().items()}
            CALLS.append({"training": self.training, "labels": labels, "seed": seed, "weights": weights})
            with torch.no_grad():
                self.opinions = self.D(images[:-4])
            self.draw = torch.rand(3, generator=torch.Generator().manual_seed(seed))

    CALLS.clear()
    yield Finishing.name


def specs(name: str, count: int = 2, backbone: dict = DENSE, ema: float = 0.0, **settings) -> list[RunSpec]:
    first = RunSpec(
        suite="test",
        version=1,
        budget="tiny",
        dataset="tiny",
        model=name,
        settings=registry.models.get(name).settings(
            backbone, {key.replace("__", "."): value for key, value in settings.items()}
        ),
        changed=settings,
        seed=0,
        rounds=9,
        batch=16,
        ema=ema,
        samples=10,
    )
    return [replace(first, seed=seed) for seed in range(count)]


def weights(spec: RunSpec, out: Path) -> dict[str, Tensor]:
    return load_file(spec.folder(out) / "weights.safetensors")


@pytest.mark.parametrize("ema", [0.0, 0.8])
def test_each_seed_is_finished_once_with_the_weights_that_are_kept(tiny, tmp_path, finishing, ema):
    data, plan = tiny(), specs(finishing, 3, ema=ema)
    train(plan, data, tmp_path, stop_after=7)
    assert CALLS == []  # the last round is yet to come
    train(plan, data, tmp_path)
    assert len(CALLS) == 3 and not any(call["training"] for call in CALLS)
    assert [call["seed"] for call in CALLS] == [seed_stream(data.name, finishing, s, "finish") for s in range(3)]
    assert all(call["labels"] is None for call in CALLS)  # an unlabelled league sees none
    stack = Stack([build(spec, data) for spec in plan], [0, 1, 2], data, finishing, 16, 9, ema)
    while stack.round < 9:
        stack.train_round()
    for index, (spec, call) in enumerate(zip(plan, CALLS, strict=True)):
        kept = weights(spec, tmp_path)
        for name, value in stack.weights()[index].items():
            assert torch.equal(call["weights"][name], value)
            if name not in ("opinions", "draw"):
                assert torch.equal(kept[name], value)
        if ema:
            assert not torch.equal(kept["G.layers.0.weight"], stack.state.parameters["G.layers.0.weight"][index])
        # Restored, the game says of the training set what it wrote down.
        game = restore(spec, data, spec.folder(tmp_path))
        assert not any(part.training for part in game.modules())
        assert game.opinions.shape == (60, 1) and game.draw.std() > 0
        images = scale(data.images["train"], torch.float32)
        with torch.no_grad():
            assert torch.equal(game.D(images[:-4]), game.opinions)
    assert not torch.equal(weights(plan[0], tmp_path)["draw"], weights(plan[1], tmp_path)["draw"])


@pytest.mark.parametrize("backbone", [DENSE, CONV], ids=["stacked", "one by one"])
def test_interrupted_is_straight(tiny, tmp_path, finishing, backbone):
    data, plan = tiny(), specs(finishing, backbone=backbone, ema=0.9)
    assert stacks(build(plan[0], data), torch.device("cpu")) == (backbone is DENSE)
    train(plan, data, tmp_path / "straight")
    for stop in (4, 9):  # the second asks for all rounds
        train(plan, data, tmp_path / "broken", stop_after=stop)
    for spec in plan:
        one, other = (spec.folder(tmp_path / part) / "weights.safetensors" for part in ("straight", "broken"))
        assert one.read_bytes() == other.read_bytes()


def test_seeds_together_are_seeds_alone(tiny, tmp_path, finishing):
    data, plan = tiny(), specs(finishing, 3)
    train(plan, data, tmp_path / "together")
    for spec in plan:
        train([spec], data, tmp_path / "alone")
        one, other = weights(spec, tmp_path / "together"), weights(spec, tmp_path / "alone")
        assert torch.equal(one["draw"], other["draw"])
        assert all(torch.allclose(one[key], other[key], rtol=1e-4, atol=1e-5) for key in one)


def test_a_diverged_seed_is_not_finished(tiny, tmp_path, finishing):
    data = tiny()
    rates = {"discriminator__optimiser__lr": 1e30, "generator__optimiser__lr": 1e30}
    plan = specs(finishing, 1, **rates)
    train(plan, data, tmp_path)
    found = Status.read(plan[0].folder(tmp_path))
    assert found is not None and found.state == "diverged" and CALLS == []
    assert weights(plan[0], tmp_path)["opinions"].shape == (64, 1)  # as built


def test_a_game_of_a_labelled_league_is_finished_with_labels(tiny, tmp_path, finishing, monkeypatch):
    monkeypatch.setattr(registry.models.get(finishing).game, "supervision", "labelled")
    data, plan = tiny(), specs(finishing, 1)
    train(plan, data, tmp_path)
    assert torch.equal(CALLS[0]["labels"], data.labels["train"])


def test_games_without_it_keep_the_weights_of_the_stack(tiny, tmp_path):
    data, plan = tiny(), specs("gan", 1)
    train(plan, data, tmp_path)
    stack = Stack([build(plan[0], data)], [0], data, "gan", 16, 9)
    while stack.round < 9:
        stack.train_round()
    assert all(torch.equal(value, weights(plan[0], tmp_path)[key]) for key, value in stack.weights()[0].items())
