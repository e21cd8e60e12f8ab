"""Graphical-GAN: from a graph of variables and its networks, both learning algorithms. Li et al. 2018."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ganbench.distributions.noise import Noise, Normal
from ganbench.game.contract import Config, DataSpec
from ganbench.game.optimisers import Adam
from ganbench.game.players import Player
from ganbench.graphical.graph import Algorithm, Graph, Recognition
from ganbench.graphical.model import GraphicalModel, Values
from ganbench.graphical.nodes import Joint
from ganbench.losses.adversarial import pair_critic, pair_generator
from ganbench.records import Count, NonNegative


@dataclass(frozen=True)
class GraphicalConfig(Config):
    """Settings of a game on a graph."""

    algorithm: Algorithm = "local"
    "one critic for every factor of the graph, or one for all variables together"
    joint: Count = 512
    "width of the critics' layers that see latent variables"
    critic_noise: NonNegative = 0.0
    "standard deviation of the normal noise on all that the critics see"
    reconstruction: NonNegative = 0.0
    "weight of the mean squared error of reconstructed x, pixels in [0, 1], in the model's loss"


class GraphicalGAN(GraphicalModel):
    """Base of Graphical-GANs: generation and recognition play against a critic per factor, or one for all.

    The q side is x with its recognised latent variables, the p side an ancestral sample; the losses are those of
    pairs, averaged over factors: Algorithm 1 of the paper. Both players of a round see one draw, where the
    released code takes another for each.
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
        q: Mapping[str, nn.Module],
        recognition: Recognition = "inverse",
    ) -> None:
        """Take a graph and its networks, see `GraphicalModel.build_networks`, and make the critics."""
        super().build_networks(graph, p, q, recognition)
        self.factors = graph.factors if self.config.algorithm == "local" else (graph.whole,)
        self._judged = graph.critics(self.config.algorithm)
        self.critics = nn.ModuleDict({key: self.make_critic(mine[0]) for key, mine in self._judged.items()})

    def make_critic(self, factor: Sequence[str]) -> nn.Module:
        """Return a network from the variables of a factor, in its order, to logits (n, 1)."""
        width = (self.config.joint,)
        try:
            return Joint(self.config.backbone, [self.sizes[name] for name in factor], width, width)
        except ValueError as error:
            raise ValueError(f"factor ({', '.join(factor)}): {error}") from None

    def describe(self) -> str:
        """Return as text what `Graph.describe` says, with the shapes of all variables."""
        return self.graph.describe(self.recognition, self.config.algorithm, self.sizes)

    def noise(self) -> dict[str, Noise]:
        laws = super().noise()
        if self.config.critic_noise:
            for factor in self.factors:
                size = sum(math.prod(self.sizes[name]) for name in factor)
                for side in "pq":
                    laws[f"blur {side} {' '.join(factor)}"] = Normal(size, training_only=True)
        return laws

    def precompute(self, batch: Mapping[str, Tensor]) -> Values:
        return {f"p {name}": value for name, value in self.generate(batch, {}).items()}

    def judge(self, side: Literal["p", "q"], values: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Values:
        """Return critic -> logits (factors that it judges, n) of all variables; `noise` may blur them."""
        logits = {}
        for key, factors in self._judged.items():
            rows = [self._blurred(side, factor, values, batch) for factor in factors]
            inputs = [torch.cat(parts) for parts in zip(*rows, strict=True)]
            logits[key] = self.critics[key](*inputs)[:, 0].unflatten(0, (len(factors), -1))
        return logits

    def _blurred(
        self, side: str, factor: Sequence[str], values: Mapping[str, Tensor], batch: Mapping[str, Tensor]
    ) -> list[Tensor]:
        seen = [values[name] for name in factor]
        blur = batch.get(f"blur {side} {' '.join(factor)}")
        if blur is None:
            return seen
        parts = blur.split([math.prod(self.sizes[name]) for name in factor], 1)
        return [v + self.config.critic_noise * part.reshape(v.shape) for v, part in zip(seen, parts, strict=True)]

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
