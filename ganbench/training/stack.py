"""Several seeds of one game as one set of stacked tensors, and the rounds that move them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import stack_module_state
from torch.utils._pytree import tree_leaves

from ganbench.datasets import Dataset
from ganbench.distributions.noise import draw
from ganbench.errors import UserError
from ganbench.game.contract import Game
from ganbench.game.players import Player
from ganbench.records import seed_stream
from ganbench.training import engines
from ganbench.training.batches import Batches
from ganbench.training.step import (
    Clock,
    State,
    Tensors,
    TrainStep,
    noise_of,
    note_nonfinite,
    start,
    steps_of_round,
)

NORM_DRAWS = 100  # a running moment keeps about the last 20


def labels_for(game: Game, data: Dataset) -> Tensor | None:
    """Return the labels of the training set if the game may see them; UserError if it has none."""
    if game.supervision == "unlabelled":
        return None
    if "train" not in data.labels:
        raise UserError(f"{type(game).__name__} learns from labels, which {data.name} does not have")
    return data.labels["train"]


class Stack:
    """The state of S seeds of one game; seeds never touch each other.

    Args:
        games: one freshly built game per seed, all with the same settings.
        seeds: their training seeds.
        data: the dataset, on the device.
        model: name for the seed streams.
        batch: images per step.
        rounds: planned number of rounds, for the schedules.
        ema: decay of the averaged parameters; 0 keeps none.
        dtype: of parameters and data.
        bf16: whether networks and losses run in bfloat16 where that is safe; parameters keep their dtype.
        engine: "eager", "compiled" or "graph" (CUDA only): the same numbers up to rounding.
    """

    def __init__(
        self,
        games: Sequence[Game],
        seeds: Sequence[int],
        data: Dataset,
        model: str,
        batch: int,
        rounds: int,
        ema: float = 0.0,
        dtype: torch.dtype = torch.float32,
        bf16: bool = False,
        engine: str = "eager",
    ) -> None:
        images = data.images["train"]
        self.game, self.seeds, self.rounds, self.ema, self.batch = games[0], list(seeds), rounds, ema, batch
        self.device, self.dtype, self.bf16, self.engine = images.device, dtype, bf16, engine
        self.engines = [engine]  # of this session and those before it
        for game in games:
            game.to(self.device, dtype).train()
        stacked, buffers = stack_module_state(list(games))
        parameters = {name: value.detach().requires_grad_() for name, value in stacked.items()}
        moments = {
            player.name: start(player, [parameters[n] for n in player.owned(parameters)])
            for player in self.game.players
        }
        first_nonfinite = torch.full((len(seeds),), -1, dtype=torch.int64, device=self.device)
        self.state = State(parameters, buffers, moments, first_nonfinite)
        self.averaged = {n: p.detach().clone() for n, p in parameters.items()} if ema else {}
        self.laws = noise_of(self.game)
        streams = [(data.name, model, seed) for seed in seeds]
        self.batches = Batches(images, batch, streams, labels_for(self.game, data), data.view)
        self.generators = [
            torch.Generator(self.device).manual_seed(seed_stream(*stream, "noise")) for stream in streams
        ]
        self.position = 0
        self.round = 0
        # CUDA's fused Adam reads a learning rate of 32 bits; on the CPU the schedule keeps all its digits.
        precise = torch.float64 if self.device.type == "cpu" else torch.float32
        players = len(self.game.players)
        self._clock = Clock(
            *(torch.zeros(shape, dtype=precise, device=self.device) for shape in ((), (), players, players))
        )
        self._written: dict[tuple[str, int], float] = {}  # (field, player) -> what the device holds
        self._moves: dict[tuple[str, ...], Callable[[], Tensors]] = {}

    def train_round(self) -> Tensors:
        """Let every player take its steps once; return player -> (S,) losses at its last step.

        UserError if a loss is no scalar.
        """
        self._set_clock()
        losses: Tensors = {}
        for players in steps_of_round(self.game.players, self.round, self.game.config.simultaneous):
            self.batches.seek(self.position)
            losses |= self._move(players)()
            self.position += 1
        for name, loss in losses.items():
            if loss.ndim != 1:  # the axis of seeds
                shape = tuple(loss.shape[1:])
                raise UserError(f"{name}_loss gives a tensor of shape {shape}; a loss is a scalar, e.g. a mean")
        for name, average in self.averaged.items():
            average.lerp_(self.state.parameters[name].detach(), 1 - self.ema)
        self.round += 1
        return losses

    def _set_clock(self) -> None:
        """Write the number of the round and the players' rates to the device, what is new of them."""
        rules = [player.optimiser for player in self.game.players]
        values = (
            [self.round + 1.0],
            [1 - self.round / self.rounds],
            [rule.lr * rule.schedule.factor(self.round, self.rounds) for rule in rules],
            [rule.momentum_at(self.round) for rule in rules],
        )
        for name, tensor, row in zip(Clock._fields, self._clock, values, strict=True):
            for index, value in enumerate(row):
                if self._written.get((name, index)) != value:
                    tensor.view(-1)[index].fill_(value)
                    self._written[name, index] = value

    def _move(self, players: tuple[Player, ...]) -> Callable[[], Tensors]:
        """Return the draw and the turn of some players, in the form of the engine."""
        key = tuple(player.name for player in players)
        if key not in self._moves:
            turn: Callable[..., Tensors] = TrainStep(self.game, players, self.bf16)
            if self.engine == "compiled":
                turn = engines.compiled(turn)
            # Without `self`, so that a stack is freed at once, and its graphs with it.
            state, batches, dtype, laws = self.state, self.batches, self.dtype, self.laws
            generators, clock = self.generators, self._clock

            def move() -> Tensors:
                x, labels = batches.get(dtype)
                return turn(state, x, draw(laws, batches.batch, generators, x) | labels, clock)

            graph = self.engine == "graph"
            self._moves[key] = engines.captured(move, tree_leaves(state), generators) if graph else move
        return self._moves[key]

    def check_parameters(self) -> None:
        """Count a seed whose parameters are NaN or infinite as bad from this round on."""
        note_nonfinite(self.state.first_nonfinite, self.state.parameters.values(), self.round)

    def weights(self) -> list[Tensors]:
        """Return the weights of each seed that are evaluated, averaged ones if there are any, and the buffers."""
        weights = {**(self.averaged or self.state.parameters), **self._moments()}
        return [
            {name: value[index].detach().cpu().clone().contiguous() for name, value in weights.items()}
            for index in range(len(self.seeds))
        ]

    def _moments(self) -> Tensors:
        """Return the buffers; batch norms of averaged weights take their moments anew, over draws of their own."""
        norms = any(isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d) for part in self.game.modules())
        if not self.averaged or not norms:
            return self.state.buffers
        buffers = {name: buffer.clone() for name, buffer in self.state.buffers.items()}
        state = self.state._replace(parameters=self.averaged, buffers=buffers)
        step = TrainStep(self.game, self.game.players, self.bf16)
        seeds = [seed_stream(*stream, "norms") for stream in self.batches.streams]
        generators = [torch.Generator(self.device).manual_seed(seed) for seed in seeds]
        for position in range(NORM_DRAWS):
            self.batches.seek(position)
            x, labels = self.batches.get(self.dtype)
            step.look(state, x, draw(self.laws, self.batches.batch, generators, x) | labels)
        return buffers

    def saved(self) -> dict[str, Any]:
        """Return everything that a resumed run needs, as tensors and plain values."""
        return {
            "seeds": self.seeds,
            "round": self.round,
            "position": self.position,
            "state": [tensor.detach() for tensor in tree_leaves(self.state)],
            "averaged": self.averaged,
            "engines": self.engines,
            "generators": [generator.get_state() for generator in self.generators],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go back to a saved state; the next round is then the one that a straight run would play."""
        self.round, self.position = saved["round"], saved["position"]
        self.engines = list(dict.fromkeys([*saved["engines"], self.engine]))
        with torch.no_grad():
            for tensor, value in zip(tree_leaves(self.state), saved["state"], strict=True):
                tensor.copy_(value)
            for name, average in self.averaged.items():
                average.copy_(saved["averaged"][name])
        for generator, value in zip(self.generators, saved["generators"], strict=True):
            generator.set_state(value.cpu())
