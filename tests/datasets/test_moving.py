"""Moving digits: the physics, the pixels, and that training with a view is as reproducible as without."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ganbench import datasets, registry
from ganbench.datasets import SEQUENCES, Dataset
from ganbench.datasets.moving import DIGITS, MNIST
from ganbench.distributions.moving import Moving
from ganbench.errors import UserError
from ganbench.evaluation.grid import draw_grid
from ganbench.evaluation.inputs import RunInputs
from ganbench.evaluation.measure import measure
from ganbench.evaluation.real import RealData
from ganbench.game.contract import Game
from ganbench.records import from_json, to_json
from ganbench.suites.spec import RunSpec
from ganbench.training.batches import Batches, scale
from ganbench.training.loop import train
from ganbench.training.stack import Stack

DENSE = {"kind": "mlp", "generator": [12, 12], "critic": [10, 10]}
VIEW = Moving(frames=5, canvas=14, side=8, speed=0.3)


def noise(view: Moving, n: int, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    laws = view.noise().items()
    return {k: law.fill(torch.empty(n, *law.shape, dtype=torch.float64), generator) for k, law in laws}


def walk(view: Moving, drawn: dict[str, Tensor]) -> Tensor:
    return view.walk(drawn["start"], 2 * math.pi * drawn["direction"], view.frames)


def images(n: int, side: int) -> Tensor:
    """Images without a black pixel, so that their corner can be seen."""
    return torch.randint(1, 256, (n, 1, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


# ---------------------------------------------------------------- physics


def test_mnist_moves_by_3_6_pixels_and_stays_in_the_box():
    view = replace(MNIST, frames=200)
    places = walk(view, noise(view, 300))
    assert view.room == 36 and view.shape == (200, 1, 64, 64)
    assert places.min() == 0 and places.max() == 1  # touched, never left
    steps = places.diff(dim=1) * view.room
    free = ((places > 0) & (places < 1)).all(2)
    lengths = steps.norm(dim=2)[free[:, 1:]]
    assert len(lengths) > 40_000
    assert torch.allclose(lengths, torch.full_like(lengths, 3.6), atol=1e-9)  # no edge was met
    assert steps.norm(dim=2).max() <= 3.6 + 1e-9


def test_a_step_over_the_edge_stops_there_and_turns_round():
    places = Moving(6, 64, 28, 0.25).walk(torch.tensor([[0.4, 0.5]]), torch.zeros(1, 1), 6)[0]
    assert places[:, 0].tolist() == pytest.approx([0.65, 0.9, 1.0, 0.75, 0.5, 0.25])
    assert places[:, 1].tolist() == [0.5] * 6
    # One coordinate bounces, the other goes on.
    both = Moving(3, 64, 28, 0.5).walk(torch.tensor([[0.5, 0.1]]), torch.full((1, 1), -math.pi / 4), 3)[0]
    step = 0.5 / math.sqrt(2)
    expected = [0.5 + step, 0.0, 1.0, step, 1 - step, 2 * step]
    assert both.flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_start_and_direction_are_uniform():
    drawn = noise(MNIST, 20_000)
    before = drawn["start"]
    assert before.mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.01)
    assert before.var(0).tolist() == pytest.approx([1 / 12, 1 / 12], abs=0.002)
    after = MNIST.walk(torch.full_like(before, 0.5), 2 * math.pi * drawn["direction"], 1)[:, 0] - 0.5
    assert torch.allclose(after.norm(dim=1), torch.full((20_000,), 0.1, dtype=torch.float64))
    assert after.mean(0).abs().max() < 0.002 and (after[:, 0] * after[:, 1]).mean().abs() < 1e-4


def test_most_moving_digits_bounce_within_a_sequence():
    for view, least in ((DIGITS, 0.9), (replace(DIGITS, frames=4), 0.7), (MNIST, 0.9)):
        places = walk(view, noise(view, 2000))
        assert ((places == 0) | (places == 1)).flatten(1).any(1).double().mean() > least


# ---------------------------------------------------------------- pixels


def test_frames_are_the_image_at_its_corner_and_black_elsewhere():
    shown, drawn = images(6, 8), noise(VIEW, 6)
    sequences = VIEW(shown, drawn)
    corners = VIEW.corners(walk(VIEW, drawn))
    assert sequences.shape == (6, *VIEW.shape) == (6, 5, 1, 14, 14) and sequences.dtype == torch.uint8
    assert corners.min() >= 0 and corners.max() <= VIEW.room
    for n in range(6):
        for t in range(5):
            x, y = corners[n, t].tolist()
            expected = torch.zeros(14, 14, dtype=torch.uint8)
            expected[y : y + 8, x : x + 8] = shown[n, 0]
            assert torch.equal(sequences[n, t, 0], expected)


def test_no_pixel_of_a_digit_is_lost_on_the_way():
    data = datasets.load("moving-digits")
    digits = data.images["test"][:50]
    sequences = replace(DIGITS, frames=40)(digits, noise(DIGITS, 50))
    totals = sequences.long().sum((2, 3, 4))
    assert torch.equal(totals, digits.long().sum((1, 2, 3))[:, None].expand(-1, 40))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_vmap_is_a_loop(dtype):
    shown, drawn = images(6, 8).to(dtype), noise(VIEW, 6)
    plain = VIEW(shown, drawn)
    mapped = torch.vmap(VIEW)(shown.unflatten(0, (2, 3)), {k: v.unflatten(0, (2, 3)) for k, v in drawn.items()})
    assert mapped.dtype == dtype and torch.equal(mapped.flatten(0, 1), plain)
    one = [VIEW(shown[i : i + 1], {k: v[i : i + 1] for k, v in drawn.items()}) for i in range(6)]
    assert torch.equal(torch.cat(one), plain)


def test_settings_survive_json_and_are_checked():
    assert from_json(Moving, to_json(MNIST)) == MNIST
    with pytest.raises(ValueError, match="frames"):
        from_json(Moving, {**to_json(MNIST), "frames": 0})


# ---------------------------------------------------------------- datasets


def test_moving_digits():
    data, still = datasets.load("moving-digits"), datasets.load("digits")
    assert data.data_spec.shape == (8, 1, 16, 16) == data.data_spec.mean.shape and data.data_spec.frames == 8
    assert data.data_spec.classes == 10 and torch.equal(data.labels["test"], still.labels["test"])
    assert datasets.load("moving-digits-4").data_spec.shape == (4, 1, 16, 16)
    # Each pixel of the mean frame is lit a quarter of the time, by the mean grey of digits.
    grey = float(still.data_spec.mean.mean())
    assert float(data.data_spec.mean.mean()) == pytest.approx(grey / 4, rel=0.02)
    assert data.data_spec.mean[0, 0, 4:12, 4:12].mean() > data.data_spec.mean[0, 0, :2].mean()


def test_what_is_measured_is_the_same_for_ever_and_at_most_1000_sequences():
    data = datasets.load("moving-digits")
    test = data.shown("test")
    assert len(test) == 400 and len(data.shown("train")) == SEQUENCES == 1000
    assert torch.equal(data.shown("test", 7), test[:7]) and len(data.shown("train", 5000)) == 1000
    assert torch.equal(datasets.load("moving-digits").shown("test"), test)
    assert not torch.equal((data.shown("validation")[:100] > 0).float().mean(0), (test[:100] > 0).float().mean(0))
    assert hashlib.sha256(test.numpy().tobytes()).hexdigest()[:16] == "07f9f067fb670cbc"
    assert torch.equal(datasets.load("digits").shown("train"), datasets.load("digits").images["train"])


def test_the_hash_covers_the_view():
    still, moving = datasets.load("digits"), datasets.load("moving-digits")
    faster = replace(moving, view=replace(DIGITS, speed=0.5))
    assert len({still.sha256, moving.sha256, faster.sha256, datasets.load("moving-digits-4").sha256}) == 4
    assert moving.to("cpu").view == DIGITS and moving.to("cpu").sha256 == moving.sha256


# ---------------------------------------------------------------- training


@pytest.fixture
def moving(tiny: Callable[..., Dataset]) -> Dataset:
    return replace(tiny(n=48), name="tiny-moving", view=VIEW)


def stack(data: Dataset, seeds: list[int], name: str = "gan", **options: object) -> Stack:
    model = registry.models.get(name)
    games: list[Game] = [model.build(data.data_spec, model.settings(DENSE), seed) for seed in seeds]
    for game in games:
        game.fit(scale(data.shown("train"), torch.float64), None, 0)
    return Stack(games, seeds, data, name, 16, 12, dtype=torch.float64, **options)  # type: ignore[arg-type]


def play(made: Stack, rounds: int = 7) -> list[dict[str, Tensor]]:
    for _ in range(rounds):
        made.train_round()
    return made.weights()


def deviation(ones: list[dict[str, Tensor]], others: list[dict[str, Tensor]]) -> float:
    gaps = [(one[k] - other[k]).abs().max() for one, other in zip(ones, others, strict=True) for k in one]
    return float(torch.stack([gap.double() for gap in gaps]).max())


def batches(data: Dataset, seeds: list[int]) -> Batches:
    streams = [(data.name, "model", seed) for seed in seeds]
    return Batches(data.images["train"], 16, streams, data.labels["train"], data.view)


def at(made: Batches, position: int) -> tuple[Tensor, Tensor]:
    made.seek(position)
    x, labels = made.get(torch.float64)
    return x, labels["y"]


def test_minibatches_are_moving_images_with_new_trajectories_in_every_epoch(moving):
    made = batches(moving, [0, 1])
    still = batches(replace(moving, view=None), [0, 1])
    seen = []
    for position in range(6):  # two epochs
        (x, y), (pixels, labels) = at(made, position), at(still, position)
        assert x.shape == (2, 16, *VIEW.shape) and torch.equal(y, labels)
        light = ((x + 1) / 2).sum((3, 4, 5))  # of every frame that of its image
        assert torch.allclose(light, ((pixels + 1) / 2).sum((2, 3, 4))[:, :, None].expand_as(light))
        seen.append((x, pixels))
    first, second = (
        {tuple(image.flatten().tolist()): None for image in pixels[0]} for _, pixels in (seen[0], seen[3])
    )
    assert first.keys() != second.keys()
    # The same image moves otherwise in the next epoch, and for another seed.
    tracks: dict[tuple[float, ...], list[Tensor]] = {}
    for x, pixels in seen:
        for seed in range(2):
            for sequence, image in zip(x[seed], pixels[seed], strict=True):
                tracks.setdefault(tuple(image.flatten().tolist()), []).append(sequence)
    assert all(len(of) == 4 for of in tracks.values())
    assert all(not torch.equal(of[i], of[j]) for of in tracks.values() for i in range(4) for j in range(i))


def test_a_minibatch_is_a_function_of_seed_and_position_alone(moving):
    made = batches(moving, [0, 1])
    straight = [at(made, position)[0] for position in range(6)]
    alone = batches(moving, [1])
    for position in (5, 0, 3):
        assert torch.equal(at(alone, position)[0][0], straight[position][1])


def test_a_view_leaves_the_noise_of_the_game_as_it_was(moving):
    still = replace(moving, view=None)
    ends = []
    for data in (moving, still):
        made = stack(data, [0, 1])
        play(made, 3)
        ends.append([generator.get_state() for generator in made.generators])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


@pytest.mark.parametrize("name", ["gan", "wgan-gp", "frame-prediction-gan"])
def test_seeds_together_are_seeds_alone(name, moving):
    together = play(stack(moving, [0, 4], name))
    alone = [play(stack(moving, [seed], name))[0] for seed in (0, 4)]
    assert deviation(together, alone) < 1e-9
    assert deviation(together[:1], together[1:]) > 1e-3


def test_compiled_is_eager(moving, traced):
    eager, compiled = (play(stack(moving, [0, 4], engine=engine)) for engine in ("eager", "compiled"))
    assert deviation(compiled, eager) < 1e-9


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_graph_is_eager_and_cpu(moving):
    there = moving.to("cuda")
    made = [play(stack(there, [0, 4], engine=engine)) for engine in ("eager", "graph")]
    assert deviation(*made) < 1e-9
    # Trajectories are drawn on the CPU: the same on every device.
    here, gpu = batches(moving, [0, 1]), batches(there, [0, 1])
    assert all(torch.equal(at(here, p)[0], at(gpu, p)[0].cpu()) for p in range(4))
    assert torch.equal(moving.shown("test"), there.shown("test").cpu())


def spec(name: str = "gan", **changes: object) -> RunSpec:
    settings = registry.models.get(name).settings(DENSE)
    plain = RunSpec(
        "test", 1, "tiny", "tiny-moving", name, settings, {}, 0, rounds=8, batch=16, ema=0.0, samples=30
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["gan", "frame-prediction-mse"])
def test_interrupted_training_is_straight_training_bit_for_bit(name, moving, tmp_path):
    specs = [spec(name), spec(name, seed=1)]
    train(specs, moving, tmp_path / "straight")
    for stop in (2, 5):
        train(specs, moving, tmp_path / "broken", stop_after=stop)
    train(specs, moving, tmp_path / "broken")
    for each in specs:
        one, other = (each.folder(tmp_path / out) / "weights.safetensors" for out in ("straight", "broken"))
        assert one.read_bytes() == other.read_bytes()


def test_a_reference_is_fitted_to_the_sequences_that_are_shown(moving, tmp_path):
    train([spec("real-train")], moving, tmp_path)
    folder = spec("real-train").folder(tmp_path)
    rows = measure(
        spec("real-train"),
        folder,
        RealData(moving),
        ["motion-error", "fid@mlp-digits-v1", "fid@pixels", "reconstruction-mse"],
    )
    by = {row.metric: row for row in rows}
    assert by["motion-error"].status == "measured"
    assert "is for images of shape (1, 8, 8), not (5, 1, 14, 14)" in by["fid@mlp-digits-v1"].reason
    assert "takes single images, not sequences" in by["fid@pixels"].reason
    assert by["reconstruction-mse"].reason == "the game has no reconstruct"
    with Image.open(folder / "samples.png") as picture:
        assert picture.size == (2 * 5 * 16, 2 * 10 * 16)  # 5 frames beside each other, 10 sequences, zoomed by 2


class Echo(Game):
    """Reconstructs what it is shown, brighter by the class; without a name, so that it is not registered."""

    def __init__(self, data: Dataset, supervision: str) -> None:
        super().__init__(data.data_spec, registry.models.get("gan").defaults)
        self.supervision = supervision  # type: ignore[misc]

    def reconstruct(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return x if y is None else x + y.to(x)[:, None, None, None, None] / 100


def test_reconstructions_of_a_conditional_game_are_told_the_labels(moving):
    real = moving.shown("test").float() / 255
    for supervision, gap in (("unlabelled", torch.zeros(48)), ("conditional", moving.labels["test"] / 200)):
        inputs = RunInputs(Echo(moving, supervision), spec(), RealData(moving))
        made = inputs.to_pixels(inputs.call("reconstruct", "test"))
        expected = (real + gap[:, None, None, None, None]).clamp(0, 1)
        assert made.shape == real.shape and torch.allclose(made, expected, atol=1e-6)


def test_conv_networks_say_that_they_take_no_sequences(moving):
    model = registry.models.get("gan")
    with pytest.raises(UserError, match=r"gan cannot play on tiny-moving: the conv backbone takes single images"):
        model.build(moving.data_spec, model.settings({"kind": "conv"}), 0)


def test_frame_prediction_says_that_it_takes_no_images(tiny):
    model = registry.models.get("frame-prediction-mse")
    with pytest.raises(UserError, match="needs sequences of at least 3 frames, got shape \\(1, 8, 8\\)"):
        model.build(tiny().data_spec, model.settings(DENSE), 0)


def test_a_grid_of_sequences_has_one_in_each_row(tmp_path):
    sequences = torch.zeros(12, 4, 1, 28, 28)
    sequences[3, 2] = 1
    draw_grid(sequences, tmp_path / "grid.png")
    pixels = np.asarray(Image.open(tmp_path / "grid.png"))
    assert pixels.shape == (10 * 30, 4 * 30)
    assert (pixels[3 * 30 + 1 : 4 * 30 - 1, 2 * 30 + 1 : 3 * 30 - 1] == 255).all() and (
        pixels == 255
    ).sum() == 28 * 28


# ---------------------------------------------------------------- frames:PATH


def write(folder: Path, names: list[str], shade: int, mode: str = "L", size: tuple[int, int] = (5, 4)) -> None:
    """Write frames of shades that rise by one."""
    folder.mkdir(parents=True)
    for offset, name in enumerate(names):
        Image.new(mode, size, shade + offset if mode == "L" else (shade + offset, 0, 9)).save(folder / name)


def chairs(root: Path, n: int = 40) -> None:
    for index in range(n):
        write(root / f"chair-{index}", ["f1.png", "f2.png", "f10.png"], 5 * index)


def test_frames_are_read_in_the_order_of_their_numbers(tmp_path):
    chairs(tmp_path)
    data = datasets.load(f"frames:{tmp_path}")
    assert data.data_spec.shape == (3, 1, 4, 5) and data.data_spec.classes == 0
    assert sum(map(len, data.images.values())) == 40 and min(map(len, data.images.values())) >= 1
    every = torch.cat(list(data.images.values()))
    assert every.dtype == torch.uint8 and (every.float().std((2, 3, 4)) == 0).all()
    assert torch.equal(every[:, :, 0, 0, 0].long().diff(dim=1), torch.ones(40, 2, dtype=torch.int64))
    assert sorted(every[:, 0, 0, 0, 0].tolist()) == list(range(0, 200, 5))
    assert torch.allclose(data.data_spec.mean, data.images["train"].double().mean(0).float() / 255)
    stays = datasets.load(f"frames:{tmp_path}").images["test"]
    write(tmp_path / "more", ["f1.png", "f2.png", "f3.png"], 3)
    assert {tuple(s.flatten().tolist()) for s in stays} <= {
        tuple(s.flatten().tolist()) for s in datasets.load(f"frames:{tmp_path}").images["test"]
    }


def test_frames_in_splits_and_in_colour(tmp_path):
    for index, split in enumerate(("train", "train", "val", "test")):
        write(tmp_path / split / f"s{index}", ["a.png", "b.png"], index * 10, "RGB")
    data = datasets.load(f"frames:{tmp_path}")
    assert [len(images) for images in data.images.values()] == [2, 1, 1]
    assert data.data_spec.shape == (2, 3, 4, 5)
    assert data.images["test"][0, :, :, 0, 0].tolist() == [[30, 0, 9], [31, 0, 9]]


def test_bad_frames_are_named_in_one_line(tmp_path):
    def message(at: Path = tmp_path) -> str:
        with pytest.raises(UserError) as caught:
            datasets.load(f"frames:{at}")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "is not a folder" in message(tmp_path / "none")
    assert "gives no train sequence (0 in all)" in message()
    chairs(tmp_path)
    write(tmp_path / "short", ["f1.png", "f2.png"], 0)
    assert f"{tmp_path / 'short'} has 2 frames, but" in message() and "has 3; cut all" in message()
    write(tmp_path / "short" / "inner", ["f1.png"], 0)
    (tmp_path / "short" / "f3.png").write_bytes(b"no image")
    (tmp_path / "short" / "inner" / "f1.png").unlink()
    assert "f3.png cannot be read as an image" in message()
    Image.new("L", (9, 9)).save(tmp_path / "short" / "f3.png")
    assert "is 9x9, but" in message()
    flat = tmp_path / "flat"
    for index in range(40):
        write(flat / str(index), ["only.png"], index)
    assert f"take folder:{flat}" in message(flat)
    with pytest.raises(UserError, match="names no file"):
        datasets.load("frames:")
