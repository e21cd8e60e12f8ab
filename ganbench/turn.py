"""A turn of play, the pure step of training: some players move on one draw; tensors in, changed in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils._pytree import tree_map

from ganbench import optimisers
from ganbench.game import Game
from ganbench.players import Player

Tensors = dict[str, Tensor]
RATES = 2  # entries of the clock for each player: learning rate, momentum


class State(NamedTuple):
    """What training changes, of S seeds; the first axis is the seed's."""

    parameters: Tensors  # leaves that require gradients, (S, ...)
    buffers: Tensors  # (S, ...)
    moments: dict[str, optimisers.State]  # player -> state of its optimiser
    first_bad: Tensor  # (S,) round at which a seed first held NaN or infinity, -1 if none


def turns(players: Sequence[Player], round_: int, simultaneous: bool) -> list[tuple[Player, ...]]:
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


def owned(player: Player, names: Iterable[str]) -> list[str]:
    """Return the names of a player's parameters."""
    return [n for n in names if any(n == net or n.startswith(f"{net}.") for net in player.nets)]


def note_bad(first_bad: Tensor, tensors: Iterable[Tensor], round_: Tensor | int) -> None:
    """Write the round to each seed that now first holds NaN or infinity, without asking the device."""
    finite = [tensor.detach().reshape(len(first_bad), -1).isfinite().all(1) for tensor in tensors]
    bad = (first_bad < 0) & ~torch.stack(finite).all(0)
    first_bad.copy_(torch.where(bad, round_, first_bad))


class Turn:
    """The step that some players of a game take on one draw.

    Args:
        game: whose losses they minimise.
        players: in the order of play; all move at one point if the game is simultaneous.
        bf16: whether networks and losses run in bfloat16 where torch's autocast deems it safe.
    """

    def __init__(self, game: Game, players: Sequence[Player], bf16: bool = False) -> None:
        self.game, self.players, self.bf16 = game, players, bf16

    def __call__(self, state: State, x: Tensor, noise: Tensors, clock: Tensor) -> Tensors:
        """Move the players and return player -> (S,) losses before its move.

        Args:
            state: changed in place.
            x: real images, (S, n, *shape) in [-1, 1].
            noise: name -> (S, n, *shape).
            clock: number of the round, then learning rate and momentum of each player of the game in turn.
        """
        mine = {player.name: owned(player, state.parameters) for player in self.players}
        shared: Tensors | None = None
        losses: Tensors = {}
        # Those of a group move at one point.
        groups = [self.players] if self.game.config.simultaneous else [[player] for player in self.players]
        for group in groups:
            for player in group:
                self._clip(player, state, mine[player.name])
            if shared is None:
                shared = self._share(state, noise, [name for names in mine.values() for name in names])
            gradients = []
            for player in group:
                loss = self._call(f"{player.name}_loss", state, (x, noise | shared), mine[player.name])
                wanted = [state.parameters[name] for name in mine[player.name]]
                # The graph of what is shared is walked once more by the next player.
                gradients.append(torch.autograd.grad(loss.sum(), wanted, retain_graph=True))
                losses[player.name] = loss.detach().to(x.dtype)
            for player, gradient in zip(group, gradients, strict=True):
                self._descend(player, state, gradient, mine[player.name], clock)
        note_bad(state.first_bad, losses.values(), clock[0].to(torch.int64))
        return losses

    @staticmethod
    def _clip(player: Player, state: State, names: list[str]) -> None:
        if player.clip:  # the released WGAN code clips before each critic step
            for name in names:
                state.parameters[name].detach().clamp_(-player.clip, player.clip)

    def _share(self, state: State, noise: Tensors, moving: list[str]) -> Tensors:
        if type(self.game).share is Game.share:
            return {}
        return self._call("share", state, (noise,), moving)

    def _call(self, method: str, state: State, arguments: tuple[Any, ...], moving: Sequence[str]) -> Any:
        """Return what a method of the game gives for every seed, differentiable in the moving parameters only."""
        parameters = {n: p if n in moving else p.detach() for n, p in state.parameters.items()}

        def call(parameters: Any, buffers: Any, *arguments: Any) -> Any:
            with torch.autocast(state.first_bad.device.type, torch.bfloat16, enabled=self.bf16):
                return functional_call(self.game, (parameters, buffers), (method, *arguments))

        return _each(call, len(state.first_bad))(parameters, state.buffers, *arguments)

    def _descend(
        self, player: Player, state: State, gradients: tuple[Tensor, ...], names: list[str], clock: Tensor
    ) -> None:
        index = 1 + RATES * [other.name for other in self.game.players].index(player.name)
        optimisers.descend(
            player.optimiser,
            [state.parameters[name] for name in names],
            gradients,
            state.moments[player.name],
            lr=clock[index],
            momentum=clock[index + 1],
        )


def _each(function: Callable[..., Any], seeds: int) -> Callable[..., Any]:
    """Return the function mapped over the first axis of all tensors; plain operations for one seed are faster."""
    if seeds > 1:
        return torch.vmap(function)

    def alone(*stacked: Any) -> Any:
        out = function(*tree_map(lambda tensor: tensor.squeeze(0), stacked))
        return tree_map(lambda tensor: tensor.unsqueeze(0), out)

    return alone
