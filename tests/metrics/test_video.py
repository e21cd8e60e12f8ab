"""Metrics of sequences: real ones score well, and each way to cheat scores badly where it must."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ganbench import datasets, registry
from ganbench.datasets import Dataset
from ganbench.datasets.moving import DIGITS, MNIST
from ganbench.distributions.moving import Moving
from ganbench.errors import UserError
from ganbench.evaluation.inputs import RunInputs
from ganbench.evaluation.measure import find
from ganbench.evaluation.real import RealData
from ganbench.features import extract
from ganbench.game.contract import Game
from ganbench.metrics import Score
from ganbench.metrics.motion import LONG, LONG_SEQUENCES, extrapolated, motion_errors, visible
from ganbench.metrics.video import crop, identity_consistency, locate, located
from ganbench.suites.expand import expand
from ganbench.suites.spec import RunSpec
from ganbench.suites.suite import read_suite

DENSE = {"kind": "mlp", "generator": [12, 12], "critic": [10, 10]}
EXTRACTOR = "mlp-digits-v1"


@pytest.fixture(scope="module")
def moving() -> Dataset:
    return datasets.load("moving-digits")


@pytest.fixture(scope="module")
def real(moving: Dataset) -> Tensor:
    """300 training sequences in [0, 1]: not those of the test split, which the metrics compare with."""
    return moving.shown("train", 300).float() / 255


def corners(view: Moving, n: int, frames: int) -> Tensor:
    """Corners of digits that move as the view has it."""
    generator = torch.Generator().manual_seed(2)
    start = torch.rand(n, 2, generator=generator, dtype=torch.float64)
    angle = 2 * math.pi * torch.rand(n, 1, generator=generator, dtype=torch.float64)
    return view.corners(view.walk(start, angle, frames))


class Given(Game):
    """Gives what it holds, whatever the noise; without a name, so that it is not registered."""

    def __init__(self, data: Dataset, made: Tensor, guesses: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__(data.data_spec, registry.models.get("gan").defaults)
        self.made, self.guesses = made * 2 - 1, guesses

    def noise(self) -> dict[str, object]:  # type: ignore[override]
        return {}

    def predict(self, x: Tensor) -> Tensor:
        assert self.guesses is not None
        return self.guesses(x)


class Told(RunInputs):
    """MetricInputs whose generated sequences are given."""

    def fake(self, n: int | None = None) -> Tensor:
        return (self.game.made[:n] + 1) / 2  # type: ignore[union-attr, index, operator]

    def make(self, ability: str, n: int, *arguments: object, frames: int = 0) -> Tensor:
        assert (ability, n, *arguments, frames) == ("extrapolate", LONG_SEQUENCES, LONG, LONG)
        return self.fake()


def score(metric: str, data: Dataset, made: Tensor, **options: Callable[[Tensor], Tensor]) -> Score:
    """Measure sequences in [0, 1] as if a game had generated them."""
    settings = registry.models.get("gan").settings(DENSE)
    spec = RunSpec(
        "test", 1, "tiny", data.name, "gan", settings, {}, 0, rounds=1, batch=1, ema=0.0, samples=len(made)
    )
    found, extractor = find(metric)
    return found.compute(Told(Given(data, made, **options), spec, RealData(data)), extractor)


# ---------------------------------------------------------------- where and what


def test_a_symmetric_blob_is_located_exactly_wherever_it_is():
    side = 5
    blob = torch.zeros(side, side)
    blob[1:4, 1:4] = 0.3
    blob[2, 2] = 1
    places = torch.cartesian_prod(torch.arange(9), torch.arange(7))  # x, y in frames of height 11, width 13
    frames = torch.zeros(len(places), 1, 11, 13)
    for frame, (x, y) in zip(frames, places.tolist(), strict=True):
        frame[0, y : y + side, x : x + side] = blob
    assert torch.equal(locate(frames, side), places)
    assert torch.equal(crop(frames, places, side), blob.expand(len(places), 1, side, side))
    # Colour is summed; brightness does not matter, and dim noise far away neither.
    noisy = frames.repeat(1, 3, 1, 1) * 0.5 + 0.001 * torch.rand(
        frames.shape, generator=torch.Generator().manual_seed(0)
    )
    assert torch.equal(locate(noisy, side), places)


def test_a_window_is_the_weighted_sum_by_hand():
    frames = torch.rand(6, 2, 9, 10, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    offsets = torch.arange(4) - 1.5
    weights = 1 - (offsets[:, None] ** 2 + offsets**2) / 8
    for frame, corner in zip(frames, locate(frames, 4).tolist(), strict=True):
        sums = {
            (x, y): float((frame[:, y : y + 4, x : x + 4] * weights).sum()) for x in range(7) for y in range(6)
        }
        assert tuple(corner) == max(sums, key=lambda place: sums[place])


def test_crop_of_a_frame_that_is_not_square_keeps_channels():
    frames = torch.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6)
    cut = crop(frames, torch.tensor([[1, 2], [4, 0]]), 2)
    assert torch.equal(cut[0], frames[0, :, 2:4, 1:3]) and torch.equal(cut[1], frames[1, :, 0:2, 4:6])


@pytest.mark.parametrize(
    ("name", "extractor", "within"),
    [
        ("moving-digits", "mlp-digits-v1", 0.15),
        pytest.param("moving-mnist", "lenet-mnist-v1", 1, marks=pytest.mark.data),
    ],
)
def test_real_digits_are_found_and_read(name, extractor, within):
    try:
        data = datasets.load(name, download=False)
    except UserError as error:
        pytest.skip(str(error))
    view = data.view
    assert view is not None
    where = corners(view, 60, 5)
    sequences = view.render(data.images["test"][:60], where).float() / 255
    found = located(sequences, view)
    assert (found - where).abs().max() <= 1
    assert (found - where).double().norm(dim=2).mean() < within
    windows = crop(sequences.flatten(0, 1), found.flatten(0, 1), view.side)
    logits = extract(registry.extractors.get(extractor).load(), windows)[1]
    assert logits is not None
    right = logits.argmax(1).unflatten(0, (60, 5)) == data.labels["test"][:60, None]
    assert right.double().mean() > 0.95
    assert identity_consistency(logits.unflatten(0, (60, 5))).mean() > 0.98


def test_identity_consistency_counts_the_frames_after_the_first():
    classes = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 2, 1, 0], [0, 1, 1, 1, 1]])
    logits = torch.nn.functional.one_hot(classes, 3).double()
    assert identity_consistency(logits).tolist() == [1.0, 0.5, 0.0]


# ---------------------------------------------------------------- motion


@pytest.mark.parametrize(("view", "frozen"), [(MNIST, 4), (DIGITS, 1.5)], ids=["mnist", "digits"])
def test_motion_errors_of_true_and_of_wrong_motion(view, frozen):
    true = corners(view, 200, 16)
    errors = motion_errors(true, view)
    assert errors.shape == (200, 13)
    assert 0.3 < errors.mean() < 0.5  # what rounding down costs
    generator = torch.Generator().manual_seed(0)
    assert motion_errors(true[:, :1].expand_as(true), view).mean() > frozen
    shuffled = true[:, torch.randperm(16, generator=generator)]
    teleporting = torch.randint(0, view.room + 1, true.shape, generator=generator)
    for wrong in (shuffled, teleporting):
        assert motion_errors(wrong, view).mean() > 4 * errors.mean()
    # In all right, but at half the speed.
    slow = replace(view, speed=view.speed / 2)
    assert motion_errors(corners(slow, 200, 16), view).mean() > 1.5 * errors.mean()


def test_digits_that_do_not_bounce_have_motion_errors():
    view = MNIST
    angle = 2 * math.pi * torch.rand(300, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    step = view.speed * torch.cat([angle.cos(), angle.sin()], 1)
    free = 0.5 + step[:, None] * torch.arange(16)[None, :, None]
    for places in (free.clamp(0, 1), free % 1):  # glued to the wall; through it
        wrong = view.corners(places)
        errors, start = motion_errors(wrong, view), wrong[:, :-3] / view.room
        edges = (torch.minimum(start, 1 - start) < view.speed).any(2)
        inside = (view.corners(free) == wrong).all(2).unfold(1, 4, 1).all(2) & ~edges
        assert errors[inside].mean() < 0.5
        assert errors[edges].mean() > 1


def test_motion_errors_do_not_depend_on_the_batch_and_need_four_frames():
    where = corners(DIGITS, 700, 8)
    errors = motion_errors(where, DIGITS)
    assert torch.allclose(motion_errors(where[650:], DIGITS), errors[650:], rtol=0, atol=1e-12)
    with pytest.raises(UserError, match="at least 4 frames, got 3"):
        motion_errors(where[:, :3], DIGITS)


def test_motion_errors_of_a_walk_between_pixels_by_hand():
    """Steps of 10 pixels to the right; then the last one stops half-way, 5 pixels off in one of 3 frames."""
    view = Moving(frames=4, canvas=108, side=8, speed=0.1)
    straight = torch.tensor([[[20, 50], [30, 50], [40, 50], [50, 50]]])
    assert motion_errors(straight, view).tolist() == [[pytest.approx(0, abs=1e-9)]]
    assert float(
        motion_errors(straight - torch.tensor([[[0, 0], [0, 0], [0, 0], [5, 0]]]), view)
    ) == pytest.approx(5 / 3)
    # Meets the right edge at 100, stops there and comes back.
    assert motion_errors(torch.tensor([[[86, 5], [96, 5], [100, 5], [90, 5]]]), view)[0, 0] < 0.6


def test_visible_frames():
    brightness = torch.tensor([[10.0, 6, 4, 0], [10, 10, 10, 10], [1, 1, 1, 1], [2, 2, 0.9, 3]])
    assert visible(brightness, brightness, 2.0).tolist() == [0.5, 1.0, 1.0, 0.75]
    assert visible(brightness, brightness, 4.0).tolist() == [0.5, 1.0, 0.0, 0.75]
    whole = torch.tensor([[20.0, 20, 20, 20], [20, 21, 20, 21], [1, 2, 3, 4], [4.1, 2, 2, 3]])
    assert visible(brightness, whole, 2.0).tolist() == [0.25, 0.5, 0.5, 0.5]


# ---------------------------------------------------------------- protocols


def test_real_sequences_score_well_and_each_cheat_badly(moving, real):
    generator = torch.Generator().manual_seed(0)
    swapped = real[torch.randperm(300, generator=generator)]
    cheats = {
        "real": real,
        "frozen": real[:, :1].expand_as(real),
        "shuffled": real[:, torch.randperm(8, generator=generator)],
        "two digits": torch.cat([real[:, :4], swapped[:, 4:]], 1),
        "black": torch.zeros_like(real),
        "noise": torch.rand(real.shape, generator=generator),
    }
    names = ("motion-error", f"identity-consistency@{EXTRACTOR}", f"frame-fid@{EXTRACTOR}")
    found = {c: {m.split("@")[0]: score(m, moving, made).value for m in names} for c, made in cheats.items()}
    assert found["real"]["motion-error"] < 0.5
    assert found["real"]["identity-consistency"] > 0.98 and found["real"]["frame-fid"] < 6
    for cheat in ("frozen", "shuffled", "two digits", "black", "noise"):
        assert found[cheat]["motion-error"] > 1.5 * found["real"]["motion-error"], cheat
    for cheat in ("frozen", "shuffled"):
        assert found[cheat]["frame-fid"] < 8  # the digits are real
    for cheat in ("black", "noise"):
        assert found[cheat]["frame-fid"] > 50
    assert 0.4 < found["two digits"]["identity-consistency"] < 0.7  # 3 of 7 frames, and a tenth of the others
    assert found["frozen"]["identity-consistency"] == 1


def test_scores_carry_their_protocol(moving, real):
    motion = score("motion-error", moving, real)
    assert motion.n == 300 and 0 < motion.std_error < 0.02
    assert "300 generated sequences of 8 frames; runs of 4 frames, steps of 2 pixels" in motion.protocol
    assert motion.detail.startswith("mean distance between frames 1.")
    fid = score(f"frame-fid@{EXTRACTOR}", moving, real)
    assert fid.n == 1200 and "1200 generated and 1600 test frames, 4 evenly spaced" in fid.protocol
    assert "8x8 windows" in fid.protocol and f"{EXTRACTOR}@sha256:" in fid.protocol
    with pytest.raises(UserError, match="has no logits"):
        score("identity-consistency@pixels", moving, real)
    with pytest.raises(UserError, match=r"lenet-mnist-v1 is for images of shape \(1, 28, 28\), not \(1, 8, 8\)"):
        score("frame-fid@lenet-mnist-v1", moving, real)


def test_extrapolated_sequences(moving):
    long = DIGITS.render(moving.images["test"][:100], corners(DIGITS, 100, LONG)).float() / 255
    good = score("extrapolation-error", moving, long)
    assert good.value < 0.5 and good.n == 100 and "extrapolated to 200 frames" in good.protocol
    shown = score("extrapolation-visible", moving, long)
    assert shown.value > 0.999 and "and as the whole frame" in shown.protocol
    stuck = torch.cat([long[:, :100], long[:, 99:100].expand(-1, 100, -1, -1, -1)], 1)
    bad = score("extrapolation-error", moving, stuck)
    assert bad.value > good.value + 0.4
    first, last = bad.detail.removesuffix(" pixels").split(", ")
    assert float(last.split()[-1]) > 2 * float(first.split()[-1])
    faded = long * torch.linspace(1, 0, LONG)[:, None, None, None]
    assert score("extrapolation-visible", moving, faded).value == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("plain", [None, 1.0, 0.5, 0.0], ids=["noise", "white", "grey", "black"])
def test_frames_without_a_digit_show_none(moving, plain):
    shape = (LONG_SEQUENCES, LONG, 1, 16, 16)
    made = (
        torch.rand(shape, generator=torch.Generator().manual_seed(0))
        if plain is None
        else torch.full(shape, plain)
    )
    assert score("extrapolation-visible", moving, made).value == 0


def test_prediction_error(moving):
    truth = moving.shown("test").float() / 255
    same = score("prediction-mse", moving, truth, guesses=lambda x: x[:, :-1])
    assert same.value == pytest.approx((truth[:, 1:] - truth[:, :-1]).double().square().mean().item(), rel=1e-6)
    perfect = score("prediction-mse", moving, truth, guesses=lambda x: x[:, 1:])
    assert perfect.value < 1e-12 and perfect.n == 400
    assert perfect.protocol == "all frames but the first of 400 test sequences; pixels in [0, 1]; float64"
    with pytest.raises(UserError, match=r"expected predictions of shape \(400, 7, 1, 16, 16\)"):
        score("prediction-mse", moving, truth, guesses=lambda x: x)


def test_other_data_are_refused_in_one_line(tiny):
    still = tiny()
    made = still.images["test"].float() / 255
    for metric in ("motion-error", "extrapolation-error", "extrapolation-visible"):
        with pytest.raises(UserError, match="nobody knows how these data move"):
            score(metric, still, made)
    for metric in (f"frame-fid@{EXTRACTOR}", f"identity-consistency@{EXTRACTOR}"):
        with pytest.raises(UserError, match=r"expected sequences of frames, got items of shape \(1, 8, 8\)"):
            score(metric, still, made)
    # The user's own sequences have no law of motion, but frames.
    own = tiny(frames=4)
    frames = own.images["train"].float() / 255
    with pytest.raises(UserError, match="nobody knows"):
        score("motion-error", own, frames)
    assert "whole frames" in score(f"frame-fid@{EXTRACTOR}", own, frames).protocol


def test_evidence_of_sequences_is_the_same_in_parts_and_capped(moving):
    """1,000 sequences go through a game in parts of 125, drawn from one stream of noise."""
    model = registry.models.get("frame-prediction-mse")
    images, labels = ({**part, "test": part["train"]} for part in (moving.images, moving.labels))
    data = replace(moving, images=images, labels=labels)
    game = model.build(data.data_spec, model.settings(DENSE), 0).eval()
    game.fit(data.shown("train", 9).float() / 127.5 - 1, None, 0)
    spec = RunSpec(
        "t", 1, "t", data.name, model.name, model.settings(DENSE), {}, 0, rounds=1, batch=1, ema=0.0, samples=60
    )
    metric_inputs = RunInputs(game, spec, RealData(data))
    sizes: list[int] = []
    plain = game.sample
    game.sample = lambda noise: sizes.append(len(noise["place"])) or plain(noise)  # type: ignore[method-assign]
    fake = metric_inputs.fake()
    assert fake.shape == (60, 8, 1, 16, 16) and 0 <= fake.min() and fake.max() <= 1 and set(sizes) == {125}
    assert (
        len(metric_inputs.real("test")) == len(metric_inputs.labels("test")) == 1000
        and len(data.images["test"]) == 1197
    )
    assert metric_inputs.call("predict", "test").shape == (1000, 7, 1, 16, 16)
    long = extrapolated(metric_inputs, 12, 30)
    assert long.shape == (12, 30, 1, 16, 16) and torch.equal(long[:5], extrapolated(metric_inputs, 5, 30))
    # More than 1,000 come from further streams, and the first stay what they were.
    many = metric_inputs.make("sample", 1003)
    assert torch.equal(many[:60], fake) and len(many) == 1003 and not torch.equal(many[1000:], fake[:3])


def test_what_goes_on_from_given_frames_has_a_suite_of_its_own():
    models = list(expand(read_suite("prediction"), "quick"))
    assert models == ["frame-prediction-gan", "frame-prediction-mse", "still-frame"]
    assert read_suite("prediction").metrics[0] == "prediction-mse"
    for name in ("video", "video-digits"):
        assert not any(model.startswith("frame-prediction") for model in expand(read_suite(name), "quick"))
