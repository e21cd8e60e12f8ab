"""Several seeds of one game as one set of stacked tensors, and the step that moves them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state

from ganbench.datasets import Dataset
from ganbench.game import Game
from ganbench.noise import Law
from ganbench.players import SGD, Adam, Optimiser, Player
from ganbench.record import seed_stream


def scale(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Return uint8 pixels as numbers in [-1, 1]."""
    return images.to(dtype) / 127.5 - 1


def draw(
    laws: Mapping[str, Law], n: int, generators: Sequence[torch.Generator], like: Tensor
) -> dict[str, Tensor]:
    """Return name -> (seeds, n, *shape) with each seed's numbers from its own generator."""
    noise = {}
    for name, law in laws.items():
        out = torch.empty(len(generators), n, *law.shape, dtype=like.dtype, device=like.device)
        for part, generator in zip(out, generators, strict=True):
            law.fill(part, generator)
        noise[name] = out
    return noise


class Batches:
    """Minibatches by index from images in memory: each seed's own reshuffling, a function of the position alone.

    Args:
        images: uint8 (n, *shape).
        batch: images per minibatch, <= n.
        streams: the axes that name each seed's order.
    """

    def __init__(self, images: Tensor, batch: int, streams: Sequence[tuple[str | int, ...]]) -> None:
        self.images, self.batch, self.streams = images, batch, streams
        self.per_epoch = len(images) // batch
        self._epoch, self._order = -1, torch.empty(0)

    def at(self, position: int, dtype: torch.dtype) -> Tensor:
        """Return minibatch number `position` of every seed, (seeds, batch, *shape) in [-1, 1]."""
        epoch, place = divmod(position, self.per_epoch)
        if epoch != self._epoch:
            orders = []
            for stream in self.streams:
                generator = torch.Generator().manual_seed(seed_stream(*stream, "order", epoch))
                orders.append(torch.randperm(len(self.images), generator=generator))
            self._epoch, self._order = epoch, torch.stack(orders).to(self.images.device)
        index = self._order[:, place * self.batch : (place + 1) * self.batch]
        return scale(self.images[index], dtype)


def _optimiser(rule: Optimiser, parameters: list[Tensor]) -> torch.optim.Optimizer:
    if isinstance(rule, Adam):
        return torch.optim.Adam(parameters, rule.lr, rule.betas, fused=True)
    if isinstance(rule, SGD):
        return torch.optim.SGD(parameters, rule.lr, rule.momentum)
    return torch.optim.RMSprop(parameters, rule.lr, rule.alpha)


class Stack:
    """The state of S seeds of one game; seeds never touch each other.

    Every optimiser here is elementwise, so one of them over stacked parameters is S of them side by side.

    Args:
        games: one freshly built game per seed, all with the same settings.
        seeds: their training seeds.
        data: the dataset, on the device.
        model: name for the seed streams.
        batch: images per step.
        rounds: planned number of rounds, for the schedules.
        ema: decay of the averaged parameters; 0 keeps none.
        dtype: of parameters and data.
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
    ) -> None:
        images = data.images["train"]
        self.game, self.seeds, self.rounds, self.ema, self.batch = games[0], list(seeds), rounds, ema, batch
        self.device, self.dtype = images.device, dtype
        for game in games:
            game.to(self.device, dtype).train()
        parameters, self.buffers = stack_module_state(list(games))
        self.parameters = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        self.owned = {player.name: _owned(player, self.parameters) for player in self.game.players}
        self.optimisers = {
            player.name: _optimiser(player.optimiser, [self.parameters[n] for n in self.owned[player.name]])
            for player in self.game.players
        }
        self.averaged = {n: p.detach().clone() for n, p in self.parameters.items()} if ema else {}
        self.laws = self.game.noise()
        streams = [(data.name, model, seed) for seed in seeds]
        self.batches = Batches(images, batch, streams)
        self.generators = [
            torch.Generator(self.device).manual_seed(seed_stream(*stream, "noise")) for stream in streams
        ]
        self.position = 0
        self.round = 0
        self.first_bad = torch.full((len(seeds),), -1, dtype=torch.int64, device=self.device)

    def play_round(self) -> dict[str, Tensor]:
        """Let every player take its steps once; return player -> (S,) losses at its last step."""
        losses: dict[str, Tensor] = {}
        if self.game.config.simultaneous:
            x, noise = self._draw()
            gradients = {}
            for player in self.game.players:
                self._clip(player)
            for player in self.game.players:
                losses[player.name], gradients[player.name] = self._gradients(player, x, noise)
            for player in self.game.players:
                self._descend(player, gradients[player.name])
        else:
            for player in self.game.players:
                for _ in range(player.steps_at(self.round)):
                    x, noise = self._draw()
                    self._clip(player)
                    loss, gradient = self._gradients(player, x, noise)
                    self._descend(player, gradient)
                losses[player.name] = loss
        for name, average in self.averaged.items():
            average.lerp_(self.parameters[name].detach(), 1 - self.ema)
        self.round += 1
        self._note_bad(losses.values())
        return losses

    def _draw(self) -> tuple[Tensor, dict[str, Tensor]]:
        x = self.batches.at(self.position, self.dtype)
        self.position += 1
        return x, draw(self.laws, self.batch, self.generators, x)

    def _clip(self, player: Player) -> None:
        if player.clip:  # the released WGAN code clips before each critic step
            with torch.no_grad():
                for name in self.owned[player.name]:
                    self.parameters[name].clamp_(-player.clip, player.clip)

    def _gradients(self, player: Player, x: Tensor, noise: dict[str, Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return (S,) losses and the gradients of the player's stacked parameters."""
        mine = set(self.owned[player.name])
        parameters = {n: p if n in mine else p.detach() for n, p in self.parameters.items()}

        def loss(parameters: Any, buffers: Any, x: Tensor, noise: Any) -> Tensor:
            return functional_call(self.game, (parameters, buffers), (player.name, x, noise))

        losses = torch.vmap(loss)(parameters, self.buffers, x, noise)
        wanted = [self.parameters[name] for name in self.owned[player.name]]
        return losses.detach(), torch.autograd.grad(losses.sum(), wanted)

    def _descend(self, player: Player, gradients: tuple[Tensor, ...]) -> None:
        optimiser = self.optimisers[player.name]
        rule = player.optimiser
        group = optimiser.param_groups[0]
        group["lr"] = rule.lr * rule.schedule.factor(self.round, self.rounds)
        if isinstance(rule, SGD):
            group["momentum"] = rule.momentum_at(self.round)
        for parameter, gradient in zip(group["params"], gradients, strict=True):
            # vmap returns transposed gradients, whose strides the fused CPU kernel would ignore.
            parameter.grad = gradient.contiguous()
        optimiser.step()
        optimiser.zero_grad()

    def _note_bad(self, tensors: Iterable[Tensor]) -> None:
        """Remember the first round in which a seed held NaN or infinity, without asking the device."""
        finite = [tensor.detach().reshape(len(self.seeds), -1).isfinite().all(1) for tensor in tensors]
        bad = (self.first_bad < 0) & ~torch.stack(finite).all(0)
        self.first_bad = torch.where(bad, self.round, self.first_bad)

    def check_parameters(self) -> None:
        """Count a seed whose parameters are NaN or infinite as bad from this round on."""
        self._note_bad(self.parameters.values())

    def weights(self, index: int) -> dict[str, Tensor]:
        """Return the weights of one seed that are evaluated: averaged ones if there are any, and the buffers."""
        parameters = self.averaged or self.parameters
        state = {**parameters, **self.buffers}
        return {name: value[index].detach().cpu().clone().contiguous() for name, value in state.items()}

    def state(self) -> dict[str, Any]:
        """Return everything that a resumed run needs, as tensors and plain values."""
        return {
            "seeds": self.seeds,
            "round": self.round,
            "position": self.position,
            "parameters": {n: p.detach() for n, p in self.parameters.items()},
            "buffers": self.buffers,
            "averaged": self.averaged,
            "optimisers": {name: o.state_dict() for name, o in self.optimisers.items()},
            "generators": [generator.get_state() for generator in self.generators],
            "first_bad": self.first_bad,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a saved state; the next round is then the one that a straight run would play."""
        self.round, self.position = state["round"], state["position"]
        with torch.no_grad():
            for mine, saved in (
                (self.parameters, state["parameters"]),
                (self.buffers, state["buffers"]),
                (self.averaged, state["averaged"]),
            ):
                for name, value in mine.items():
                    value.copy_(saved[name])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        for generator, saved in zip(self.generators, state["generators"], strict=True):
            generator.set_state(saved.cpu())
        self.first_bad = state["first_bad"].to(self.device)


def _owned(player: Player, parameters: Mapping[str, Tensor]) -> list[str]:
    """Return the names of a player's parameters."""
    return [n for n in parameters if any(n == net or n.startswith(f"{net}.") for net in player.nets)]
