"""A graph of variables with its networks: what can be generated and recognised by them, without any loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ganbench.distributions.noise import Noise
from ganbench.errors import UserError
from ganbench.game.contract import Game
from ganbench.graphical.abilities import available_if
from ganbench.graphical.graph import Graph, Recognition, check_networks
from ganbench.graphical.nodes import Categorical, CategoricalHead
from ganbench.graphical.schedule import Step, batched_steps, run_steps, split_steps
from ganbench.layers.blocks import one_hot

Values = dict[str, Tensor]


class GraphicalModel(Game):
    """Base of games on a graph: its networks p generate and its networks q recognise.

    A subclass calls `build_networks` at the end of its __init__. `cluster`, `condition`, `encode` and `decode` are
    there where the graph makes plain what they do; a subclass may define its own.
    """

    def build_networks(
        self,
        graph: Graph,
        p: Mapping[str, nn.Module],
        q: Mapping[str, nn.Module],
        recognition: Recognition = "inverse",
    ) -> None:
        """Take a graph and its networks, named by a node or by the `net` of several, and note the shapes.

        Networks are called as `ganbench.graphical.nodes` says, with None for what a step lacks. In "both"
        recognition the second pass over a node is by the network "<net> again".

        Args:
            graph: its observed nodes are what `observe` returns.
            p: what generates each node from its parents, observed roots, e.g. classes, too.
            q: what recognises each latent node. Without a draw a network returns the centre of its law. What is
                discrete and not relaxed comes with its log-probability (n,), for REINFORCE.
            recognition: what each latent variable is recognised from, see `Graph.recognition`.

        Raises:
            UserError: a network is missing or belongs to nothing, or what is recognised has another shape.
        """
        generation, backwards = graph.generation, graph.recognition(recognition)
        check_networks("p", p, generation)
        check_networks("q", q, backwards)
        if "x" not in graph.observed and type(self).observe is GraphicalModel.observe:
            raise UserError(f"{type(self).__name__}: no observed node is called x; rename it or define observe")
        self.graph, self.recognition = graph, recognition
        self._generation = batched_steps(generation, ())
        self._recognition = batched_steps(backwards, graph.observed)
        self.p, self.q = nn.ModuleDict(p), nn.ModuleDict(q)
        drawn = {name for name, _, net in generation if isinstance(p[net], Categorical)}
        self.categorical = drawn | {name for name, _, net in backwards if isinstance(q[net], CategoricalHead)}
        self.sizes = self._sizes()

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
            law = getattr(self.q[step.net], "law", None)
            if law is not None:
                laws[f"{step.net} of {step.name}"] = law
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
        return self._recognise(self._recognition, observed, noise)

    def _recognise(
        self, groups: Sequence[Sequence[Step]], observed: Mapping[str, Tensor], noise: Mapping[str, Tensor]
    ) -> tuple[Values, Tensor | None]:
        values, score = dict(observed), None
        for steps in groups:
            net = steps[0].net
            draws = [noise.get(f"{net} of {step.name}") for step in steps]
            out = run_steps(self.q[net], steps, values, draws)
            if isinstance(out, tuple):
                out, own = out
                own = own.unflatten(0, (len(steps), -1)).sum(0)
                score = own if score is None else score + own
            values |= split_steps(steps, out)
        return values, score

    def sample(self, noise: Mapping[str, Tensor]) -> Tensor:
        return self.assemble(self.generate(noise, {}))

    def recognised(self, x: Tensor, y: Tensor | None = None) -> Values:
        """Return all variables of data (n, *shape) with labels y, if it takes them, latent ones at the centre."""
        return self.recognise(self.observe(x, {} if y is None else {"y": y}), {})[0]

    def reconstruct(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the data generated from what is recognised of x, (n, *shape), with labels y if it takes them."""
        return self.render(self.recognised(x, y))

    def render(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return the data (n, *shape) generated from latent variables; what is observed of data is not used."""
        nodes = self.graph.nodes
        kept = {n: value for n, value in values.items() if not (nodes[n].observed and nodes[n].parents)}
        return self.assemble(self.generate({}, kept))

    def _clusters(self) -> bool:
        one = len(self.categorical) == 1 and self.categorical <= set(self.graph.latent)
        steps = [step for group in self._recognition for step in group if step.name in self.categorical]
        heads = all(isinstance(self.q[step.net], CategoricalHead) for step in steps)
        return one and heads and self.supervision != "conditional"

    @available_if(_clusters)
    def cluster(self, x: Tensor) -> Tensor:
        """Return log q(class | x), (n, classes); what is recognised before the class stands at its centre.

        There is one categorical variable, drawn by a `Categorical` or recognised by a `CategoricalHead`; it is
        latent and recognised by a `CategoricalHead`; and x is recognised without labels.
        """
        places = [i for i, group in enumerate(self._recognition) if group[0].name in self.categorical]
        *before, (step,) = self._recognition[: places[-1] + 1]
        values, _ = self._recognise(before, self.observe(x, {}), {})
        return cast(CategoricalHead, self.q[step.net]).log_probabilities(*(values[name] for name in step.givens))

    def _conditions(self) -> bool:
        roots = [name for name in self.categorical if isinstance(self.p[self.graph.nodes[name].key], Categorical)]
        return len(self.categorical) == 1 == len(roots)

    @available_if(_conditions)
    def condition(self, noise: Mapping[str, Tensor], y: Tensor) -> Tensor:
        """Return data (n, *shape) of classes y, int64 (n,): an ancestral sample whose class is not drawn.

        There is one categorical variable, and a `Categorical` draws it. If it is latent, y numbers clusters.
        """
        (name,) = self.categorical
        node = self.graph.nodes[name]
        classes, draw = cast(Categorical, self.p[node.key]).clusters, noise[node.draw or name]
        return self.assemble(self.generate(noise, {name: one_hot(y, classes, draw)}))

    def _codes(self) -> bool:
        given = self.graph.nodes["x"].parents if self.graph.observed == ("x",) else ()
        return len(given) == 1 and given[0] not in self.categorical and self.supervision != "conditional"

    @available_if(_codes)
    def encode(self, x: Tensor) -> Tensor:
        """Return the code of x, (n, *size): its recognised parent.

        Nothing but x is observed, and it has one parent, which is not categorical: given that, x depends on
        nothing else, whatever stands above.
        """
        return self.recognised(x)[self.graph.nodes["x"].parents[0]]

    @available_if(_codes)
    def decode(self, codes: Tensor) -> Tensor:
        """Return the data (n, *shape) generated from codes as `encode` gives them."""
        return self.assemble({"x": self.p[self.graph.nodes["x"].key](codes)})
