"""What the abilities of a game must give, by shape."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ganbench.checks.case import Case
from ganbench.checks.result import Fault
from ganbench.game.contract import Game

N, FRAMES = 9, 9


def abilities_give_their_shapes(case: Case) -> None:
    """Each ability that a game has must answer for the items or the noise it is given."""
    game = case.build()
    if type(game).finalize is not Game.finalize:
        labels = case.data.labels["train"] if game.supervision != "unlabelled" else None
        game.eval().finalize(case.x(len(case.data.images["train"])), labels, 0)
    game.eval()
    x, y, shape = case.x(N), case.data.labels["train"][:N], case.data.data_spec.shape
    noise, batch = case.noise(game, N), case.batch(game, N)
    told = (y,) if game.supervision == "conditional" else ()
    calls: Mapping[str, tuple[tuple[Any, ...], Callable[[Any], str]]] = {
        "encode": ((x,), lambda codes: _shape(codes, (N, ...))),
        "decode": ((_codes(game, x),), lambda made: _items(made, (N, *shape), case)),
        "reconstruct": ((x, *told), lambda made: _items(made, (N, *shape), case)),
        "cluster": ((x,), _log_probabilities),
        "classify": ((x,), lambda logits: _shape(logits, (N, case.data.classes))),
        "predict": ((x,), lambda made: _items(made, (N, shape[0] - 1, *shape[1:]), case)),
        "extrapolate": ((noise, FRAMES), lambda made: _items(made, (N, FRAMES, *shape[1:]), case)),
        "transfer": ((x, noise, *told), lambda made: _items(made, (N, *shape), case)),
        "condition": ((noise, y), lambda made: _items(made, (N, *shape), case)),
        "log_likelihood_bound": ((x, batch), lambda bound: _shape(bound, (N,))),
        "discriminate": ((x, batch), _shares),
    }
    for ability in case.model.abilities:
        if ability in calls:
            arguments, wrong = calls[ability]
            method = getattr(game, ability)
            with torch.no_grad():
                answer = method(*arguments[: len(inspect.signature(method).parameters)])
            if fault := wrong(answer):
                raise Fault(f"{ability} of {N} items gives {fault}")


def _codes(game: Game, x: Tensor) -> Tensor | None:
    encode = getattr(game, "encode", None)
    with torch.no_grad():
        return encode(x) if encode else None


def _shape(answer: Any, wanted: tuple[Any, ...]) -> str:
    """Return what is wrong with the shape of an answer or with its numbers, "" if nothing is."""
    if not isinstance(answer, Tensor):
        return f"{type(answer).__name__}, expected a tensor"
    fits = answer.shape[:1] == wanted[:1] if wanted[-1] is ... else answer.shape == wanted
    if not fits:
        return f"shape {tuple(answer.shape)}, expected {str(wanted).replace('Ellipsis', '...')}"
    return "" if answer.isfinite().all() else "NaN or infinity"


def _items(answer: Any, wanted: tuple[int, ...], case: Case) -> str:
    fault = _shape(answer, wanted)
    if not fault and case.data.data_spec.bounded and answer.abs().max() > 1:
        return f"numbers up to {answer.abs().max().item():.3g}, those of the data lie in [-1, 1]"
    return fault


def _log_probabilities(answer: Any) -> str:
    fault = "" if isinstance(answer, Tensor) and answer.ndim == 2 else _shape(answer, (N, "clusters"))
    fault = fault or ("" if len(answer) == N else f"{len(answer)} rows")
    if not fault and not answer.logsumexp(1).abs().max() < 1e-6:
        return "rows that are no log-probabilities: their exponentials do not add up to 1"
    return fault


def _shares(answer: Any) -> str:
    if not isinstance(answer, Mapping) or not answer:
        return f"{type(answer).__name__}, expected critic -> share of right verdicts"
    faults = [
        _shape(share, (N,)) or ("" if 0 <= share.min() and share.max() <= 1 else "no shares in [0, 1]")
        for share in answer.values()
    ]
    return next((fault for fault in faults if fault), "")
