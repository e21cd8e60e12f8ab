"""Graphical-GAN: from a graph of variables and its networks, both learning algorithms. Li et al. 2018."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ganbench.distributions.noise import Noise, Normal
from ganbench.errors import UserError
from ganbench.game.contract import Config, DataSpec, Game
from ganbench.game.players import Adam, Player
from ganbench.graphical.graph import Graph, Recognition, check_networks
from ganbench.graphical.nodes import Joint
from ganbench.graphical.schedule import batched_steps, run_steps, split_steps
from ganbench.losses.adversarial import pair_critic, pair_generator
from ganbench.records import Count, NonNegative

Values = dict[str, Tensor]


@dataclass(frozen=True)
class GraphicalConfig(Config):
    """Settings of a game on a graph."""

    algorithm: Literal["local", "global"] = "local"
    "one critic for every factor of the graph, or one for all variables together"
    joint: Count = 512
    "width of the critics' layers that see latent variables"
    critic_noise: NonNegative = 0.0
    "standard deviation of the normal noise on all that the critics see"
    reconstruction: NonNegative = 0.0
    "weight of the mean squared error of reconstructed x, pixels in [0, 1], in the model's loss"


class GraphicalGAN(Game):
    """Base of games on a graph: its networks generate and recognise, against a critic per factor or one for all.

    A subclass calls `build_networks` at the end of its __init__. The q side is x with its recognised latent
    variables, the p side an ancestral sample; the losses are those of pairs, averaged over factors: Algorithm 1 of
    the paper. Both players of a turn see one draw, where the released code takes another for each.
    """

    players = (
        Player("critics", nets=("critics",), optimiser=Adam(2e-4, (0.5, 0.999))),
        Player("model", nets=("p", "q"), optimiser=Adam(2e-4, (0.5, 0.999))),
    )

    def __init__(self, data: DataSpec, config: GraphicalConfig) -> None:
        super().__init__(data, config)
        self.config: GraphicalConfig = config

    def build_networks(
        self,
        graph: Graph,
        p: Mapping[str, nn.Module],
        q: Mapping[str, nn.Module | str],
        recognition: Recognition = "inverse",
    ) -> None:
        """Take a graph and its networks, named by a node or by the `net` of several, and make the critics.

        Networks are called as `ganbench.graphical.nodes` says, with None for what a step lacks. In "both"
        recognition the second pass over a node is by the network "<net> again".

        Args:
            graph: its observed nodes are what `observe` returns.
            p: what generates each node from its parents, observed roots, e.g. classes, too.
            q: what recognises each latent node: a network, or the name of a method of this game, which declares
                what it needs to be drawn as `<name>_law`. Without a draw it returns the centre of its law. What is
                discrete and not relaxed comes with its log-probability (n,), for REINFORCE.
            recognition: what each latent variable is recognised from, see `Graph.recognition`.

        Raises:
            UserError: a network is missing or belongs to nothing, or what is recognised has another shape.
        """
        generation, backwards = graph.generation, graph.recognition(recognition)
        check_networks("p", p, generation)
        check_networks("q", q, backwards)
        if "x" not in graph.observed and type(self).observe is GraphicalGAN.observe:
            raise UserError(f"{type(self).__name__}: no observed node is called x; rename it or define observe")
        self.graph = graph
        self._generation, self._recognition = (
            batched_steps(generation, ()),
            batched_steps(backwards, graph.observed),
        )
        self.p = nn.ModuleDict(p)
        self.q = nn.ModuleDict({net: module for net, module in q.items() if isinstance(module, nn.Module)})
        self._methods = {net: method for net, method in q.items() if isinstance(method, str)}
        # With all variables in one factor the local algorithm is the global one.
        local = self.config.algorithm == "local"
        whole = next((f for f in graph.factors if len(f) == len(graph.nodes)), tuple(reversed(graph.nodes)))
        self.factors = graph.factors if local else (whole,)
        self._judged: dict[str, list[tuple[str, ...]]] = {}  # critic -> its factors
        for factor in self.factors:
            self._judged.setdefault(graph.nodes[factor[0]].key if local else "all", []).append(factor)
        self.sizes = self._sizes()
        self.critics = nn.ModuleDict({key: self.make_critic(mine[0]) for key, mine in self._judged.items()})

    def _sizes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each variable, from a sample of two."""
        draws = {name: torch.zeros(2, *law.shape) for name, law in self._laws_of_generation().items()}
        with torch.no_grad():
            self.eval()
            values = self.generate(draws, {})
            known, _ = self.recognise({name: values[name] for name in self.graph.observed}, {})
            self.train()
        for name, value in values.items():
            if known[name].shape != value.shape:
                made, found = tuple(value.shape[1:]), tuple(known[name].shape[1:])
                raise UserError(
                    f"{type(self).__name__}: {name} has shape {made} in p and {found} in q; make them one"
                )
        return {name: tuple(value.shape[1:]) for name, value in values.items()}

    def make_critic(self, factor: Sequence[str]) -> nn.Module:
        """Return a network from the variables of a factor, in its order, to logits (n, 1)."""
        width = (self.config.joint,)
        try:
            return Joint(self.config.backbone, [self.sizes[name] for name in factor], width, width)
        except ValueError as error:
            raise ValueError(f"factor ({', '.join(factor)}): {error}") from None

    def observe(self, x: Tensor, batch: Mapping[str, Tensor]) -> Values:
        """Return the observed variables of data (n, *shape); by default "x"."""
        return {"x": x}

    def assemble(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return the data (n, *shape) that the observed variables make up; by default "x"."""
        return values["x"]

    def _laws_of_generation(self) -> dict[str, Noise]:
        steps = [step for steps in self._generation for step in steps]
        laws = {self.graph.nodes[s.name].draw or s.name: getattr(self.p[s.net], "law", None) for s in steps}
        return {name: law for name, law in laws.items() if law is not None}

    def noise(self) -> dict[str, Noise]:
        laws = self._laws_of_generation()
        for step in (step for steps in self._recognition for step in steps):
            method = self._methods.get(step.net)
            law = getattr(self, f"{method}_law", None) if method else getattr(self.q[step.net], "law", None)
            if law is not None:
                laws[f"{step.net} of {step.name}"] = law
        if self.config.critic_noise:
            for factor in self.factors:
                size = sum(math.prod(self.sizes[name]) for name in factor)
                for side in "pq":
                    laws[f"blur {side} {' '.join(factor)}"] = Normal(size, training_only=True)
        return laws

    def generate(self, noise: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> Values:
        """Return the values of all variables: those that are there, and an ancestral sample of the others."""
        values = dict(values)
        for steps in self._generation:
            steps = tuple(step for step in steps if step.name not in values)
            if steps:
                draws = [noise.get(self.graph.nodes[step.name].draw or step.name) for step in steps]
                values |= split_steps(steps, run_steps(self.p[steps[0].net], steps, values, draws))
        return values

    def recognise(
        self, observed: Mapping[str, Tensor], noise: Mapping[str, Tensor]
    ) -> tuple[Values, Tensor | None]:
        """Return all variables given the observed ones, and the log-probability (n,) of what was drawn discretely.

        Args:
            observed: as from `observe`.
            noise: draws of recognition; what is missing is replaced by the centre of its law.
        """
        values, score = dict(observed), None
        for steps in self._recognition:
            net = steps[0].net
            draws = [noise.get(f"{net} of {step.name}") for step in steps]
            out = run_steps(
                getattr(self, self._methods[net]) if net in self._methods else self.q[net], steps, values, draws
            )
            if isinstance(out, tuple):
                out, own = out
                own = own.unflatten(0, (len(steps), -1)).sum(0)
                score = own if score is None else score + own
            values |= split_steps(steps, out)
        return values, score

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.assemble(self.generate(noise, {}))

    def precompute(self, batch: Mapping[str, Tensor]) -> Values:
        return {f"p {name}": value for name, value in self.generate(batch, {}).items()}

    def recognised(self, x: Tensor, y: Tensor | None = None) -> Values:
        """Return all variables of data (n, *shape), of classes y in that league, latent ones at their centres."""
        return self.recognise(self.observe(x, {} if y is None else {"y": y}), {})[0]

    def reconstruct(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the data generated from what is recognised of x, of classes y in that league, (n, *shape)."""
        return self.render(self.recognised(x, y))

    def render(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return the data (n, *shape) generated from latent variables; what is observed of data is not used."""
        nodes = self.graph.nodes
        kept = {n: value for n, value in values.items() if not (nodes[n].observed and nodes[n].parents)}
        return self.assemble(self.generate({}, kept))

    def judge(self, side: Literal["p", "q"], values: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Values:
        """Return critic -> logits (factors that it judges, n) of all variables; `noise` may blur them."""
        logits = {}
        for key, factors in self._judged.items():
            rows = [self._blurred(side, factor, values, batch) for factor in factors]
            inputs = [torch.cat(split_steps) for split_steps in zip(*rows, strict=True)]
            logits[key] = self.critics[key](*inputs)[:, 0].unflatten(0, (len(factors), -1))
        return logits

    def _blurred(
        self, side: str, factor: Sequence[str], values: Mapping[str, Tensor], batch: Mapping[str, Tensor]
    ) -> list[Tensor]:
        seen = [values[name] for name in factor]
        blur = batch.get(f"blur {side} {' '.join(factor)}")
        if blur is None:
            return seen
        split_steps = blur.split([math.prod(self.sizes[name]) for name in factor], 1)
        return [
            v + self.config.critic_noise * part.reshape(v.shape) for v, part in zip(seen, split_steps, strict=True)
        ]

    def _sides(self, x: Tensor, batch: Mapping[str, Tensor]) -> tuple[Values, Values, Values, Tensor | None]:
        """Return the logits of both sides, the recognised variables, and the score of what is discrete in them."""
        made = {name: batch[f"p {name}"] for name in self.graph.nodes}
        known, score = self.recognise(self.observe(x, batch), batch)
        return self.judge("q", known, batch), self.judge("p", made, batch), known, score

    def _mean(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Return the mean over factors of what each critic has averaged over its own."""
        shares = {key: len(factors) / len(self.factors) for key, factors in self._judged.items()}
        return torch.stack([shares[key] * term for key, term in terms.items()]).sum(0)

    def discriminate(self, x: Tensor, batch: Mapping[str, Tensor]) -> Values:
        """Return critic -> (n,) shares of its verdicts on each x and on a generated example that are right."""
        q, p, _, _ = self._sides(x, {**batch, **self.precompute(batch)})
        return {key: ((q[key] > 0).double() + (p[key] <= 0).double()).mean(0) / 2 for key in q}

    def critics_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        q, p, _, _ = self._sides(x, batch)
        return self._mean({key: pair_critic(q[key], p[key]) for key in q})

    def model_loss(self, x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """The critics' losses with their classes swapped, by REINFORCE through what is discrete."""
        q, p, known, score = self._sides(x, batch)
        loss = self._mean({key: pair_generator(q[key], p[key]) for key in q})
        if score is not None:
            cost = self._mean({key: nn.functional.softplus(q[key]).mean(0) for key in q}).detach()
            loss = loss + ((cost - cost.mean()) * score).mean()
        if self.config.reconstruction:
            error = (self.render(known) - x).square().mean()
            loss = loss + self.config.reconstruction * (error / 4 if self.data.bounded else error)
        return loss
