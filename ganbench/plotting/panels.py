"""What pictures of runs on images and on sequences show: clusters, codes, noise, motion, as blocks of tiles."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor

from ganbench.distributions.noise import Noise, Normal, Uniform, draw
from ganbench.evaluation.grid import FRAME
from ganbench.evaluation.inputs import RunInputs
from ganbench.metrics.clustering import assigned, log_odds
from ganbench.metrics.codes import codes_of
from ganbench.metrics.motion import extrapolated
from ganbench.plotting.canvas import Panel
from ganbench.records import seed_stream

ROWS, COLUMNS, SIDE = 8, 10, 20  # of most blocks; of the manifold
CODES, HELD = 3, 5  # numbers of the noise that are varied, draws of all others
FRAMES = 20  # of a sequence that are shown
LENGTH, SPANS = 200, ((1, 4), (47, 50), (97, 100), (147, 150), (197, 200))  # extrapolated frames, those of strips


def sampling_laws(run: RunInputs) -> dict[str, Noise]:
    """Return the laws of the noise that sampling needs."""
    return {name: law for name, law in run.game.noise().items() if not law.training_only}


def noise(run: RunInputs, n: int) -> dict[str, Tensor]:
    """Return n draws of the noise that sampling needs, always the same for a run."""
    spec, like = run.spec, torch.empty(0, device=run.real_data.data.images["train"].device)
    stream = seed_stream(spec.dataset, spec.model, spec.seed, "picture")
    generator = torch.Generator(like.device).manual_seed(stream)
    return {name: drawn[0] for name, drawn in draw(sampling_laws(run), n, [generator], like).items()}


def made(run: RunInputs, method: str, *inputs: object, n: int = 0) -> Tensor:
    """Return what a method of the game makes, as pixels in [0, 1]; if n, it may ask for classes of test items."""
    call = getattr(run.game, method)
    asks = n and run.game.supervision == "conditional" and "y" in inspect.signature(call).parameters
    with torch.no_grad():
        images = call(*inputs, *([run.labels("test")[:n]] if asks else []))
    return run.to_pixels(images)


def _filled(images: Tensor, n: int) -> Tensor:
    """Return the first n images, with empty places after the last."""
    images = images[:n]
    return torch.cat([images, images.new_full((n - len(images), *images.shape[1:]), FRAME)])


def clusters(run: RunInputs) -> list[Panel]:
    """Return of each cluster the surest test image and generated images, by the model's own `cluster`."""
    real, known, fake = run.real("test"), run.call("cluster", "test").double(), run.fake(1000)
    found = assigned(run.call("cluster", run.from_pixels(fake)))
    nearest, odds = assigned(known), log_odds(known)
    rows = []
    for k in range(known.shape[1]):
        mine = (nearest == k).nonzero()[:, 0]
        surest = mine[odds[mine, k].argsort(descending=True, stable=True)]
        rows.append(torch.cat([_filled(real[surest], 1), _filled(fake[found == k], COLUMNS)]))
    names = [str(k) for k in range(len(rows))]
    return [Panel(torch.stack(rows), "clusters", names, ("test", "generated"))]


def _rows(kind: str, sequences: Sequence[Tensor], names: Sequence[str]) -> list[Panel]:
    """Return the first sequence of each kind, one below another, then the second of each, and so on."""
    tiles = torch.stack([part[:, :FRAMES] for part in sequences], 1).flatten(0, 1)
    return [Panel(tiles, kind, [*names] * len(sequences[0]), [str(t + 1) for t in range(tiles.shape[1])])]


def reconstructions(run: RunInputs) -> list[Panel]:
    """Return test items beside their reconstructions; of sequences one below the other."""
    sequences = len(run.game.data.shape) == 4
    n = ROWS // 2 if sequences else ROWS * COLUMNS // 2
    real = run.real("test", n)
    again = made(run, "reconstruct", run.from_pixels(real), n=len(real))
    if sequences:
        return _rows("reconstructions", (real, again), ("test", "made"))
    pairs = torch.stack([_filled(real, n), _filled(again, n)], 1).reshape(ROWS, COLUMNS, *real.shape[1:])
    return [Panel(pairs, "pairs of a test image and its reconstruction")]


def slerp(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """Return points on the arc from a to b, (n, shares, d); straight where they point the same or opposite ways.

    White 2016, arXiv:1609.04468, section 2.1. The ends are exact; equal norms are kept.

    Args:
        a, b: (n, d).
        share: of the way, (shares,) in [0, 1].
    """
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=1)[:, None, None].clamp(-1, 1)
    angle, share = cosine.acos(), share[:, None]
    start, end = (((part * angle).sin() / angle.sin()) for part in (1 - share, share))
    arc = start * a[:, None] + end * b[:, None]
    return torch.where(angle.sin() > 1e-3, arc, torch.lerp(a[:, None], b[:, None], share))


def interpolations(run: RunInputs) -> list[Panel]:
    """Return what lies between the codes of two test images: on an arc where codes are normal, else straight."""
    n = min(ROWS, len(run.real("test")) // 2)
    images = run.real("test", 2 * n)
    a, b = run.call("encode", run.from_pixels(images)).split(n)
    laws = sampling_laws(run).values()
    normal = all(isinstance(law, Normal) for law in laws) and a.shape[1:] in [law.shape for law in laws]
    share = torch.linspace(0, 1, COLUMNS - 1, device=a.device)
    path = slerp(a, b, share) if normal else torch.lerp(a[:, None], b[:, None], share[:, None])
    between = made(run, "decode", path.flatten(0, 1)).unflatten(0, path.shape[:2])
    tiles = torch.cat([images[:n, None], between, images[n:, None]], 1)
    title = f"{'spherical' if normal else 'linear'} interpolations of codes"
    return [Panel(tiles, title, columns=("test", *("" for _ in share), "test"))]


def _middles(n: int) -> Tensor:
    """Return the middles of n equal parts of the unit interval: of 10, from 5 % to 95 %."""
    return (torch.arange(n, dtype=torch.float64) + 0.5) / n


def manifold(run: RunInputs) -> list[Panel]:
    """Return what the generator makes of a grid of equally probable cells. Kingma and Welling 2014, figure 4."""
    [(name, law)] = sampling_laws(run).items()
    points = law.quantile(_middles(SIDE)).to(noise(run, 1)[name])
    grid = torch.cartesian_prod(points, points)
    return [Panel(made(run, "sample", {name: grid}).unflatten(0, (SIDE, SIDE)), "manifold of the noise")]


def no_manifold(run: RunInputs) -> str:
    plane = [law.shape for law in sampling_laws(run).values()] == [(2,)]
    return "" if plane else "its noise is not two numbers; train one with --set MODEL.latent=2"


def _numbers(run: RunInputs) -> list[tuple[str, Noise, int]]:
    """Return the noise's single numbers, those of small laws, i.e. codes, first."""
    laws = sorted(sampling_laws(run).items(), key=lambda item: item[1].shape)
    return [(name, law, i) for name, law in laws if len(law.shape) == 1 for i in range(law.shape[0])]


def traversal(run: RunInputs) -> list[Panel]:
    """Return a block for each of the first numbers of the noise, from 5 % to 95 %, all else held in each row.

    A category, drawn by one uniform number, has a column for each of its values. Chen et al. 2016, figure 2.
    """
    game, held, blocks = run.game, noise(run, HELD), []
    categories = getattr(
        game.config, "clusters", game.data.classes if game.supervision == "conditional" else COLUMNS
    )
    for name, law, i in _numbers(run)[:CODES]:
        single = isinstance(law, Uniform) and law.shape == (1,)
        parts = _middles(categories if single else COLUMNS)
        inputs = {other: value.repeat_interleave(len(parts), 0) for other, value in held.items()}
        inputs[name][:, i] = law.quantile(parts).to(held[name]).repeat(HELD)
        tiles = made(run, "sample", inputs).unflatten(0, (HELD, -1))
        title = name + (f" {i + 1}" if law.shape[0] > 1 else "")
        blocks.append(Panel(tiles, f"{title} varied", columns=[f"{100 * float(part):.0f}%" for part in parts]))
    return blocks


def no_traversal(run: RunInputs) -> str:
    return "" if run.game.role == "model" and _numbers(run) else "it has no noise to vary"


def arithmetic(run: RunInputs) -> list[Panel]:
    """Return the images of mean codes of classes of validation images: a - b + c, and of each of the three."""
    codes, labels = codes_of(run, "validation"), run.labels("validation")
    classes = labels.unique()[:COLUMNS]
    means = torch.stack([codes[labels == y].mean(0) for y in classes])
    a, b, c = (means.roll(-shift, 0) for shift in range(3))
    columns = torch.stack([a, b, c, a - b + c], 1)
    tiles = made(run, "decode", columns.flatten(0, 1).float()).unflatten(0, columns.shape[:2])
    names = [[str(int(y)) for y in classes.roll(-shift)] for shift in range(3)]
    sums = [f"{x} - {y} + {z}" for x, y, z in zip(*names, strict=True)]
    return [Panel(tiles, "arithmetic on mean codes of classes", sums, ("a", "b", "c", "sum"))]


def no_arithmetic(run: RunInputs) -> str:
    data = run.real_data.data
    return "" if "validation" in data.labels else f"{data.name} has no labels"


def strips(run: RunInputs) -> list[Panel]:
    """Return generated sequences."""
    return _rows("generated", [made(run, "sample", noise(run, ROWS))], [""])


def analogy(run: RunInputs) -> list[Panel]:
    """Return generated sequences, test sequences, and such with the content of those, the motion of these."""
    real = run.real("test", ROWS // 2)
    given = noise(run, len(real))
    moved = made(run, "transfer", run.from_pixels(real), given, n=len(real))
    return _rows("motion analogy", (made(run, "sample", given), real, moved), ("content", "motion", "both"))


def extrapolation(run: RunInputs) -> list[Panel]:
    """Return stretches of long generated sequences."""
    times = [t for first, last in SPANS for t in range(first, last + 1)]
    tiles = extrapolated(run, ROWS, LENGTH)[:, [t - 1 for t in times]]
    return [Panel(tiles, f"{LENGTH} frames", columns=[str(t) for t in times])]


def extrapolation_film(run: RunInputs) -> list[Panel]:
    """Return the frames of long generated sequences, side by side."""
    frames = extrapolated(run, ROWS, LENGTH).unbind(1)
    words = ((f"frame {t} of {LENGTH}",) for t in range(1, LENGTH + 1))  # which also keep equal frames apart
    return [Panel(frame[None], "sequences", columns=word) for frame, word in zip(frames, words, strict=True)]
