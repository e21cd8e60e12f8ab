"""What the codes of an encoder are good for: nearest neighbours, a linear classifier, and the way back to them."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ganbench.errors import UserError
from ganbench.metrics import Metric, MetricInputs, Score, Split, register
from ganbench.metrics.numerics.averages import average
from ganbench.metrics.numerics.blocks import BLOCK
from ganbench.metrics.numerics.checks import matrix, pair
from ganbench.metrics.numerics.distances import of_distances

PROBED = 10_000
"training images of the linear probe: ten times the parameters of ten classes on a hundred dimensions"
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
"inverse weights of the linear probe's penalty"
ITERATIONS = 1000
"largest number of steps of the linear probe"


def nearest(queries: Tensor, references: Tensor, block: int = BLOCK) -> Tensor:
    """Return the index of the reference nearest to each query, int64 (m,).

    Distances that differ by less than their rounding are ties, of which the first reference wins.

    Args:
        queries: (m, d), finite.
        references: (n, d), finite.
        block: queries per distance block.

    Raises:
        UserError: other shapes, NaN or infinity.
    """
    queries, references = pair("queries", queries, "references", references)
    origin = references[0].double()
    slack = (
        1e-12 * torch.stack([(rows - origin).square().sum(dim=1).max() for rows in (queries, references)]).max()
    )

    def winners(squared: Tensor, _: slice, columns: slice) -> tuple[Tensor, Tensor]:
        lowest = squared.amin(dim=1)
        return lowest, columns.start + (squared <= lowest[:, None] + slack).byte().argmax(dim=1)

    found = [
        tuple(map(torch.cat, zip(*blocks, strict=True)))
        for blocks in of_distances(winners, queries, references, block)
    ]
    lowest, index = (torch.stack(parts) for parts in zip(*found, strict=True))  # (panels, m)
    panel = (lowest <= lowest.amin(dim=0) + slack).byte().argmax(dim=0, keepdim=True)
    return index.gather(0, panel)[0]


def codes_of(inputs: MetricInputs, split: Split) -> Tensor:
    """Return the codes of every item of a split, (n, d) float64."""
    return inputs.call("encode", split).double()


def _knn_accuracy(inputs: MetricInputs, extractor: str) -> Score:
    references, queries = codes_of(inputs, "train"), codes_of(inputs, "test")
    labels = inputs.labels("train")[nearest(queries, references)]
    protocol = (
        f"share of {len(queries)} test images; nearest of {len(references)} training images, Euclidean; float64"
    )
    return average((labels == inputs.labels("test")).double(), protocol, f"{queries.shape[1]} dimensions")


def probe(splits: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, float]:
    """Return 1 for each test item that a linear classifier gets right and 0 for the others, and its strength.

    The classifier is multinomial logistic regression on dimensions of zero mean and unit variance, with a squared
    penalty whose strength C does best on validation items; of equals the strongest penalty.

    Args:
        splits: codes (n, d) and labels int64 (n,) for training, for validation, and for the test.

    Returns:
        (m,) float64, and C.

    Raises:
        UserError: other shapes, NaN or infinity, or training items of one class only.
    """
    from sklearn.exceptions import ConvergenceWarning  # slow to import, needed here only
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    (x, y), (held_x, held_y), (test_x, test_y) = (
        (matrix("codes", codes).double().cpu().numpy(), labels.cpu().numpy()) for codes, labels in splits
    )
    if len(set(y.tolist())) < 2:
        raise UserError("the linear probe needs training images of two classes or more, got one; use other labels")
    best, strength, hits = -1.0, 0.0, None
    with warnings.catch_warnings():
        # The number of steps is part of the protocol; stopping there is no fault.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for c in STRENGTHS:
            model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=ITERATIONS)).fit(x, y)
            score = float((model.predict(held_x) == held_y).mean())
            if score > best:
                best, strength, hits = score, c, model.predict(test_x) == test_y
    return torch.from_numpy(hits).double(), strength


def _probe_accuracy(inputs: MetricInputs, extractor: str) -> Score:
    parts: tuple[Split, ...] = ("train", "validation")
    splits = [(codes_of(inputs, split)[:PROBED], inputs.labels(split)[:PROBED]) for split in parts]
    hits, strength = probe([*splits, (codes_of(inputs, "test"), inputs.labels("test"))])
    (codes, _), (held, _) = splits
    protocol = (
        f"share of {len(hits)} test images; logistic regression on the first {len(codes)} training images,"
        f" standardised; C of {', '.join(map(str, STRENGTHS))} by the first {len(held)} validation images; float64"
    )
    return average(hits, protocol, f"C={strength}, {codes.shape[1]} dimensions")


def cycle_errors(codes: Tensor, again: Tensor) -> tuple[Tensor, int]:
    """Return each code's squared error after the cycle in units of the variance, and how many dimensions count.

    Each dimension's error is divided by the variance of that dimension over the codes (ddof=0), so that 0 is a
    perfect cycle and 1 is as bad as the mean code; then the mean is taken over the dimensions that vary.

    Args:
        codes: (n, d), finite, n >= 2.
        again: (n, d), finite, in the same order.

    Returns:
        (n,) float64, and the number of dimensions that vary.

    Raises:
        UserError: other shapes, NaN or infinity, or codes that are all the same.
    """
    codes, again = pair("codes", codes, "codes after the cycle", again, least=2)
    if len(codes) != len(again):
        raise UserError(
            f"expected {len(codes)} codes after the cycle, got {len(again)}; send every code round once"
        )
    vary = codes.amin(dim=0) < codes.amax(dim=0)  # exact, unlike a variance of 0
    if not vary.any():
        raise UserError("all generated images have the same code, so its error has no scale; train the encoder")
    codes, again = codes[:, vary].double(), again[:, vary].double()
    return ((codes - again).square() / codes.var(dim=0, correction=0)).mean(dim=1), int(vary.sum())


def _latent_cycle_error(inputs: MetricInputs, extractor: str) -> Score:
    if not callable(getattr(inputs.game, "encode", None)):
        raise UserError("the game has no encode")
    codes = inputs.call("encode", "fake")
    again = inputs.call("encode", inputs.call("decode", codes))
    errors, counted = cycle_errors(codes.double(), again.double())
    protocol = (
        f"codes of {len(codes)} generated images, decoded and encoded; squared error / variance of each dimension,"
        " mean over dimensions; float64"
    )
    return average(errors, protocol, f"{counted} of {codes.shape[1]} dimensions vary")


register(
    Metric(
        name="knn-accuracy",
        version=1,
        summary="share of test images whose nearest training code has their class; Donahue et al. 2017",
        ability="encode",
        better="higher",
        compute=_knn_accuracy,
    )
)
register(
    Metric(
        name="probe-accuracy",
        version=1,
        summary="share of test images that logistic regression on the codes gets right; Donahue et al. 2017",
        ability="encode",
        better="higher",
        compute=_probe_accuracy,
    )
)
register(
    Metric(
        name="latent-cycle-error",
        version=1,
        summary="squared error of generated images' codes after decode and encode / variance; 1 = mean code",
        ability="decode",
        better="lower",
        compute=_latent_cycle_error,
    )
)
