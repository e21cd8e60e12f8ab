"""The contract of a game, each clause a small named check."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ganbench.checks.abilities import abilities_give_their_shapes
from ganbench.checks.case import BATCH, DENSE, Case
from ganbench.checks.outside import marks
from ganbench.checks.result import Fault, Result, change_random_state, random_state, run_check, run_stages
from ganbench.checks.training import (
    each_player_moves_its_own_parameters,
    resumed_is_straight,
    seeds_together_are_seeds_alone,
    weights_survive_a_file,
)
from ganbench.distributions.noise import Noise
from ganbench.game.contract import ROLES, Game
from ganbench.game.model import Model

FEW = 7


def check_game(model: Model, backbone: Mapping[str, Any] = DENSE) -> Iterator[Result]:
    """Yield the result of each check of a model; after a fault only those that do not build on it.

    The model plays on tiny random data of its own kind, with small networks, in float64.

    Args:
        model: as registered.
        backbone: networks as plain values, as a suite gives them.
    """
    found: list[Case] = []
    yield (built := run_check(can_be_built, partial(_find, found, model, backbone)))
    if not built.fault:
        yield from run_stages(STAGES, found[0])


def _find(found: list[Case], model: Model, backbone: Mapping[str, Any]) -> None:
    found.append(Case.of(model, backbone))


def can_be_built(find: Any) -> None:
    """Some tiny data and settings must do."""
    find()


def describes_itself(case: Case) -> None:
    """Docstring, role, supervision and published numbers must be those of the contract."""
    game, model = case.model.game, case.model
    if model.summary in ("", Model("", Game, {}).summary):
        raise Fault(f"class {game.__name__} has no docstring; say in one sentence what it is, with its source")
    for field, known in (
        ("role", ROLES),
        ("supervision", ("unlabelled", "labelled", "conditional")),
    ):
        if getattr(game, field) not in known:
            raise Fault(f"{field} must be one of {', '.join(known)}, got {getattr(game, field)!r}")
    if (game.role == "model") != bool(game.players):
        raise Fault(f"a game with{'' if game.players else 'out'} players cannot have the role {game.role}")
    for entry in model.published:
        if not (entry.source and entry.dataset and entry.metric and math.isfinite(entry.value)):
            raise Fault(f"a published number of {model.name} lacks its source, dataset, metric or value")
        if not (entry.comparable or entry.note):
            raise Fault(
                f"the published {entry.metric} of {model.name} needs a note that says why it is not comparable"
            )
    if unknown := set(game.published) - set(game.variants or {game.name}):
        raise Fault(f"published names {', '.join(sorted(unknown))}, which is no variant")


def noise_is_declared(case: Case) -> None:
    """What losses and samples ask for must be in noise(), and what is there must be asked for."""
    game = case.build()
    laws = game.noise()
    for name, law in laws.items():
        if not isinstance(law, Noise):
            raise Fault(f"noise() gives {type(law).__name__} for '{name}', expected a Noise such as Normal(64)")
        drawn = case.noise(game, BATCH, training=True)[name]
        if not drawn.isfinite().all() or (drawn.numel() > 1 and not drawn.std() > 0):
            raise Fault(f"noise '{name}' draws numbers that are constant, NaN or infinite")
    for name in case.calls():
        try:
            case.call(name, deepcopy(game))
        except KeyError as error:
            raise Fault(_missing(name, error.args[0], laws)) from error
        except Exception:  # another check says why
            continue


def _missing(call: str, key: object, laws: Mapping[str, Noise]) -> str:
    if key in laws:
        return f"{call} asks for '{key}', which noise() declares for training only"
    known = ", ".join(laws) or "nothing"
    hint = "; labels need supervision = 'labelled' or 'conditional'" if key == "y" else ""
    return f"{call} asks for '{key}', which noise() does not declare; it declares {known}{hint}"


def declared_noise_is_used(case: Case) -> None:
    """With NaN for each noise, some call must answer otherwise: what nobody asks for is a slip of the pen."""
    game = case.build()
    full = {call: case.call(call, deepcopy(game)) for call in case.calls()}

    def asks(call: str, name: str) -> bool:
        batch = case.batch(game)
        batch[name] = torch.full_like(batch[name], torch.nan)
        try:
            return not _same(full[call], case.call(call, deepcopy(game), batch=batch))
        except Exception:  # e.g. an index made of NaN
            return True

    for name in game.noise():
        if not any(asks(call, name) for call in case.calls()):
            raise Fault(f"noise() declares '{name}', which no loss and no sample asks for")


def calls_have_no_side_effects(case: Case) -> None:
    """The answer must hang on weights, buffers and arguments alone, and nothing but buffers may change."""
    for name in case.calls():
        game = case.build()
        again, x, batch = deepcopy(game), case.x(), case.batch(game)
        before = {"x": x.clone(), **{f"batch['{key}']": value.clone() for key, value in batch.items()}}
        weights = {key: value.detach().clone() for key, value in game.named_parameters()}
        random, outside = random_state(), marks(game)
        first = case.call(name, game, x, batch)
        if random_state() != random:
            raise Fault(f"{name} draws random numbers of its own; declare them in noise() instead")
        after = marks(game)
        for place in [*outside, *(after.keys() - outside.keys())]:
            if outside.get(place) != after.get(place):
                raise Fault(f"{name} changes {place}; state that lasts belongs in a buffer of the game")
        for key, value in {"x": x, **{f"batch['{key}']": value for key, value in batch.items()}}.items():
            if not torch.equal(value, before[key]):
                raise Fault(f"{name} changes {key} in place, which other players see too; work on a copy")
        for key, value in game.named_parameters():
            if not torch.equal(value, weights[key]):
                raise Fault(f"{name} changes the parameter {key}; only the optimiser may")
        change_random_state()
        if not _same(first, case.call(name, again)):
            raise Fault(f"{name} gives another answer for equal weights, buffers and arguments")
        if name.endswith("_loss"):
            _leaves_what_is_precomputed(case, name)


def _leaves_what_is_precomputed(case: Case, name: str) -> None:
    game = case.build().train()
    batch = case.batch(game)
    shared = game.precompute(batch)
    before = {key: value.detach().clone() for key, value in shared.items()}
    game(name, case.x(), batch | shared)
    for key, value in shared.items():
        if not torch.equal(value, before[key]):
            raise Fault(f"{name} changes batch['{key}'] in place, which other players see too; work on a copy")


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return one.shape == other.shape and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


def losses_are_finite_scalars_that_reach_every_parameter(case: Case) -> None:
    """Each player's loss must be one number with a gradient for all that the player moves."""
    for player in case.model.game.players:
        game, name = case.build(), f"{player.name}_loss"
        untouched, everything = deepcopy(game), dict(game.named_parameters())
        loss = case.call(name, game)
        if not isinstance(loss, Tensor) or loss.shape != ():
            what = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"type {type(loss).__name__}"
            raise Fault(f"{name} has {what}, expected a scalar tensor; take e.g. its mean over the batch")
        if not loss.isfinite():
            raise Fault(f"{name} is {loss.item()} on the first batch")
        if loss.dtype != torch.float64:
            raise Fault(f"{name} is {loss.dtype} where weights and data are torch.float64; do not cast")
        mine = player.owned(everything)
        if not loss.requires_grad:
            raise Fault(f"{name} reaches no parameter: it has no gradient")
        gradients = torch.autograd.grad(loss, [everything[key] for key in mine], allow_unused=True)
        for key, gradient in zip(mine, gradients, strict=True):
            if gradient is None:
                raise Fault(f"{name} does not reach {key}, which {player.name} moves")
            if not gradient.isfinite().all():
                raise Fault(f"the gradient of {name} by {key} is NaN or infinite on the first batch")
            if not gradient.any():  # e.g. the last bias of a Wasserstein critic, which the loss cannot see
                moved = deepcopy(untouched)
                with torch.no_grad():
                    moved.get_parameter(key).add_(0.01)
                if abs(case.call(name, moved).item() - loss.item()) > 1e-12:
                    raise Fault(f"the gradient of {name} by {key} is 0, but the loss depends on it")


def sample_gives_as_many_items_as_asked_for(case: Case) -> None:
    """n rows of noise must make n items of the data's shape, range and dtype."""
    game = case.build().eval()
    made, shape = game.sample(case.noise(game, FEW)), case.data.data_spec.shape
    if not isinstance(made, Tensor) or made.ndim == 0:
        raise Fault(f"sample gives {type(made).__name__}, expected a tensor ({FEW}, *{shape})")
    if len(made) != FEW:
        raise Fault(f"sample gives {len(made)} items for the noise of {FEW}")
    if made.shape[1:] != shape:
        raise Fault(f"sample gives items of shape {tuple(made.shape[1:])}, those of the data have {shape}")
    if made.dtype != torch.float64:
        raise Fault(f"sample gives {made.dtype} where weights and noise are torch.float64; do not cast")
    if not made.isfinite().all():
        raise Fault("sample gives NaN or infinity before any training")
    if case.data.data_spec.bounded and made.abs().max() > 1:
        raise Fault(f"sample gives numbers up to {made.abs().max().item():.3g}, those of the data lie in [-1, 1]")
    if not made.std() > 0:
        raise Fault("sample gives a constant whatever the noise")


def a_sample_does_not_depend_on_its_batch(case: Case) -> None:
    """In eval mode, an item made alone must be the one made beside others."""
    game = case.build().eval()
    noise = case.noise(game, FEW)
    made, alone = game.sample(noise), game.sample({key: value[2:3] for key, value in noise.items()})
    if not torch.allclose(alone[0], made[2], rtol=0, atol=1e-12):
        raise Fault("in eval mode, sample makes another item of the same noise when others stand beside it")


STAGES = (
    (describes_itself, noise_is_declared),
    (sample_gives_as_many_items_as_asked_for,),
    (calls_have_no_side_effects,),
    (losses_are_finite_scalars_that_reach_every_parameter,),
    (declared_noise_is_used, a_sample_does_not_depend_on_its_batch, abilities_give_their_shapes),
    (seeds_together_are_seeds_alone,),
    (resumed_is_straight, each_player_moves_its_own_parameters, weights_survive_a_file),
)
"each presupposes those before it"
