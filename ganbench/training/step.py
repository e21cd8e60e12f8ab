"""The train step: some players take one optimiser step each on one batch; tensors in, changed in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils._pytree import tree_map

from ganbench.distributions.noise import Noise, Normal
from ganbench.errors import UserError
from ganbench.game import optimisers
from ganbench.game.contract import Game
from ganbench.game.players import Player

Tensors = dict[str, Tensor]
INSTANCE = ("instance_real", "instance_fake")  # names of the noise on x and on shared fakes
FORCE = "force "  # and a player: name of the noise of its optimiser


class Clock(NamedTuple):
    """What changes from round to round by a schedule, on the device, so that a captured step sees it change."""

    round: Tensor  # (), counted from 1
    left: Tensor  # (), fraction of the rounds that is left
    lr: Tensor  # (players,) learning rate of each player of the game
    momentum: Tensor  # (players,)


class State(NamedTuple):
    """What training changes, of S seeds; the first axis is the seed's."""

    parameters: Tensors  # leaves that require gradients, (S, ...)
    buffers: Tensors  # (S, ...)
    moments: dict[str, optimisers.State]  # player -> state of its optimiser, and "history" if it is averaged
    first_nonfinite: Tensor  # (S,) round at which a seed first held NaN or infinity, -1 if none


def steps_of_round(players: Sequence[Player], round_: int, simultaneous: bool) -> list[tuple[Player, ...]]:
    """Return who moves on each draw of a round.

    Every step of a player sees a draw of its own, but its first is on the draw at which the player before it
    ended, so that what both need of it, such as the generated images, is made once.
    """
    if simultaneous:
        return [tuple(players)]
    out: list[tuple[Player, ...]] = []
    for player in players:
        if out:
            out[-1] += (player,)
        out += [(player,)] * (player.steps_at(round_) - bool(out))
    return out


def start(player: Player, parameters: Sequence[Tensor]) -> optimisers.State:
    """Return the state of a player's optimiser, and the average of its parameters if they are held to it."""
    state = player.optimiser.start(parameters)
    if player.historical_averaging:
        state["history"] = [parameter.detach().clone() for parameter in parameters]
        state["seen"] = [torch.ones((), dtype=torch.float32, device=parameters[0].device)]
    return state


def noise_of(game: Game) -> dict[str, Noise]:
    """Return the laws of all random numbers of a train step: the game's, and those of the trainer's options."""
    laws = game.noise()
    if game.config.instance_noise:
        laws |= {name: Normal(*game.data.shape, training_only=True) for name in INSTANCE}
    sizes = {name: parameter.numel() for name, parameter in game.named_parameters()}
    for player in game.players:
        if player.optimiser.stochastic:
            laws[FORCE + player.name] = Normal(sum(sizes[n] for n in player.owned(sizes)), per_step=True)
    return laws


def note_nonfinite(first_nonfinite: Tensor, tensors: Iterable[Tensor], round_: Tensor | int) -> None:
    """Write the round to each seed that now first holds NaN or infinity, without asking the device."""
    finite = [tensor.detach().reshape(len(first_nonfinite), -1).isfinite().all(1) for tensor in tensors]
    bad = (first_nonfinite < 0) & ~torch.stack(finite).all(0)
    first_nonfinite.copy_(torch.where(bad, round_, first_nonfinite))


def fakes(batch: Tensors, option: str) -> Tensor:
    """Return the generated images that a game shares; UserError if it shares none, which the option needs."""
    if "fake" not in batch:
        raise UserError(f"{option} needs a game whose players share their generated images as 'fake'")
    return batch["fake"]


class TrainStep:
    """The step that some players of a game take on one draw.

    Args:
        game: whose losses they minimise.
        players: in the order of play; all move at one point if the game is simultaneous.
        bf16: whether networks and losses run in bfloat16 where torch's autocast deems it safe.
    """

    def __init__(self, game: Game, players: Sequence[Player], bf16: bool = False) -> None:
        self.game, self.players, self.bf16 = game, players, bf16

    def __call__(self, state: State, x: Tensor, batch: Tensors, clock: Clock) -> Tensors:
        """Move the players and return player -> (S,) losses before its move.

        Args:
            state: changed in place.
            x: real images, (S, n, *shape) in [-1, 1].
            noise: name -> (S, n, *shape).
            clock: where in its schedules the training stands.
        """
        level = self.game.config.instance_noise * clock.left.to(x.dtype)
        if self.game.config.instance_noise:
            x = x + level * batch[INSTANCE[0]]
        mine = {player.name: player.owned(state.parameters) for player in self.players}
        shared: Tensors | None = None
        losses: Tensors = {}
        # Those of a group move at one point.
        groups = [self.players] if self.game.config.simultaneous else [[player] for player in self.players]
        for group in groups:
            for player in group:
                self._clip(player, state, mine[player.name])
            if shared is None:
                shared = self._precompute(state, batch, [name for names in mine.values() for name in names])
                if self.game.config.instance_noise:
                    shared["fake"] = fakes(shared, "instance_noise") + level * batch[INSTANCE[1]]
            gradients = []
            for player in group:
                last = player is self.players[-1]
                seen = batch | (shared if last else {name: tensor.detach() for name, tensor in shared.items()})
                loss = self._loss(player, state, x, seen, mine[player.name], clock)
                wanted = [state.parameters[name] for name in mine[player.name]]
                # The graph of what is shared is walked once more by the next player.
                gradient = torch.autograd.grad(loss.sum(), wanted, retain_graph=True)
                gradients.append(self._pulled(player, state, gradient, wanted))
                losses[player.name] = loss.detach().to(x.dtype)
            for player, gradient in zip(group, gradients, strict=True):
                force = batch.get(FORCE + player.name)
                self._update(player, state, gradient, mine[player.name], clock, force)
        note_nonfinite(state.first_nonfinite, losses.values(), clock.round.to(torch.int64))
        return losses

    def look(self, state: State, x: Tensor, batch: Tensors) -> None:
        """Let the players see a draw without a step: batch norms take its moments into the buffers."""
        shared = self._precompute(state, batch, [])
        for player in self.players:
            self._call(partial(self._ask, f"{player.name}_loss"), state, (x, batch | shared), [])

    @staticmethod
    def _clip(player: Player, state: State, names: list[str]) -> None:
        if player.clip:  # the released WGAN code clips before each critic step
            for name in player.owned(names, player.clip_nets):
                state.parameters[name].detach().clamp_(-player.clip, player.clip)

    def _precompute(self, state: State, batch: Tensors, moving: list[str]) -> Tensors:
        if type(self.game).precompute is Game.precompute:
            return {}
        return self._call(partial(self._ask, "precompute"), state, (batch,), moving)

    def _ask(self, method: str, parameters: Tensors, buffers: Tensors, *arguments: Any) -> Any:
        """Return what a method of the game gives for one seed."""
        return functional_call(self.game, (parameters, buffers), (method, *arguments))

    def _loss(
        self, player: Player, state: State, x: Tensor, batch: Tensors, moving: Sequence[str], clock: Clock
    ) -> Tensor:
        """Return the (S,) losses of a player, after the others' steps that it foresees."""
        plain = partial(self._ask, f"{player.name}_loss")
        share = player.feature_matching

        def loss(parameters: Tensors, buffers: Tensors, x: Tensor, batch: Tensors) -> Tensor:
            if not share:
                return plain(parameters, buffers, x, batch)
            fake = fakes(batch, "feature_matching")
            gap = self._ask("match_features", parameters, buffers, player, x, fake)
            return share * gap if share == 1 else (1 - share) * plain(parameters, buffers, x, batch) + share * gap

        if not player.unroll:
            return self._call(loss, state, (x, batch), moving)
        others = [other for other in self.game.players if other.name != player.name]
        known = {other.name: state.moments[other.name] for other in others}
        moments = {
            other.name: {key: known[other.name][key] for key in other.optimiser.stacked} for other in others
        }
        # What is left, such as the step count, has no axis of seeds.
        common = {n: {key: own[key] for key in own.keys() - moments[n].keys()} for n, own in known.items()}

        def unrolled(parameters: Tensors, buffers: Tensors, moments: Any, x: Tensor, batch: Tensors) -> Tensor:
            buffers = {name: buffer.clone() for name, buffer in buffers.items()}
            ahead = {name: {**own, **common[name]} for name, own in moments.items()}
            for _ in range(player.unroll):
                for other in others:
                    step = self._lookahead(other, parameters, buffers, ahead, x, batch, clock)
                    parameters, ahead[other.name] = step
            return loss(parameters, buffers, x, batch)

        return self._call(unrolled, state, (moments, x, batch), moving)

    def _lookahead(
        self,
        player: Player,
        parameters: Tensors,
        buffers: Tensors,
        moments: dict[str, Any],
        x: Tensor,
        batch: Tensors,
        clock: Clock,
    ) -> tuple[Tensors, optimisers.State]:
        """Return the parameters of one seed and the moments of a player after a step of it, differentiable."""
        names = player.owned(parameters)

        def loss(mine: Tensors) -> Tensor:
            # A norm writes its statistics, which the differentiated function may only do to tensors of its own.
            held = {name: buffer.clone() for name, buffer in buffers.items()}
            return self._ask(f"{player.name}_loss", parameters | mine, held, x, batch)

        gradients = torch.func.grad(loss)({name: parameters[name] for name in names})
        lr, momentum = self._rates(player, clock)
        moved, state = player.optimiser.lookahead(
            [parameters[name] for name in names],
            [gradients[name] for name in names],
            moments[player.name],
            lr,
            momentum,
        )
        return parameters | dict(zip(names, moved, strict=True)), state

    def _call(
        self, function: Callable[..., Any], state: State, arguments: tuple[Any, ...], moving: Sequence[str]
    ) -> Any:
        """Return function(parameters, buffers, *arguments) of every seed, differentiable where they move only."""
        parameters = {n: p if n in moving else p.detach() for n, p in state.parameters.items()}

        def call(*stacked: Any) -> Any:
            with torch.autocast(state.first_nonfinite.device.type, torch.bfloat16, enabled=self.bf16):
                return function(*stacked)

        return _each(call, len(state.first_nonfinite))(parameters, state.buffers, *arguments)

    def _rates(self, player: Player, clock: Clock) -> tuple[Tensor, Tensor]:
        """Return learning rate and momentum of a player in this round."""
        index = [other.name for other in self.game.players].index(player.name)
        return clock.lr[index], clock.momentum[index]

    @staticmethod
    def _pulled(
        player: Player, state: State, gradients: tuple[Tensor, ...], parameters: list[Tensor]
    ) -> tuple[Tensor, ...]:
        """Return the gradients with the pull to the average of the parameters so far, if the player has one."""
        if not (weight := player.historical_averaging):
            return gradients
        history = state.moments[player.name]["history"]
        pulls = [2 * weight * (p.detach() - mean) for p, mean in zip(parameters, history, strict=True)]
        return tuple(g + pull for g, pull in zip(gradients, pulls, strict=True))

    def _update(
        self,
        player: Player,
        state: State,
        gradients: tuple[Tensor, ...],
        names: list[str],
        clock: Clock,
        force: Tensor | None,
    ) -> None:
        parameters, moments = [state.parameters[name] for name in names], state.moments[player.name]
        lr, momentum = self._rates(player, clock)
        normal: list[Tensor] = []
        if force is not None:
            parts = force.split([parameter[0].numel() for parameter in parameters], 1)
            normal = [part.reshape(p.shape) for part, p in zip(parts, parameters, strict=True)]
        player.optimiser.step(parameters, gradients, moments, lr, momentum, normal)
        if player.historical_averaging:
            moments["seen"][0].add_(1)
            for parameter, mean in zip(parameters, moments["history"], strict=True):
                mean.add_((parameter.detach() - mean) / moments["seen"][0])


def _each(function: Callable[..., Any], seeds: int) -> Callable[..., Any]:
    """Return the function mapped over the first axis of all tensors; plain operations for one seed are faster."""
    if seeds > 1:
        return torch.vmap(function)

    def alone(*stacked: Any) -> Any:
        out = function(*tree_map(lambda tensor: tensor.squeeze(0), stacked))
        return tree_map(lambda tensor: tensor.unsqueeze(0), out)

    return alone
