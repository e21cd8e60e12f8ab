"""Directed graphs of variables: what can be read off a graph before anyone knows the networks.

From the parents alone follow the order of ancestral sampling, the recognition model, and the factors that a local
algorithm judges one by one. Li et al. 2018 (Graphical-GAN).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ganbench.errors import UserError, suggest
from ganbench.graphical.schedule import Step

Recognition = Literal["mean-field", "inverse", "forward", "both"]
Algorithm = Literal["local", "global"]


@dataclass(frozen=True)
class Node:
    """A variable of a graph.

    Args:
        name: unique in its graph.
        parents: names of the variables that it depends on.
        observed: whether the data give it.
        net: nodes of the same `net` share their networks, e.g. the frames of a video; "" is the node's name.
        draw: nodes of the same `draw` share the random numbers of generation; "" is the node's name.
        recogniser: nodes of the same `recogniser` share the network that recognises them; "" is `net`.
    """

    name: str
    parents: tuple[str, ...] = ()
    observed: bool = False
    net: str = ""
    draw: str = ""
    recogniser: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.parents, str):
            raise UserError(f"node '{self.name}': parents are a tuple of names, got '{self.parents}'; add a comma")
        if len(set(self.parents)) < len(self.parents):
            raise UserError(f"node '{self.name}' names a parent twice; name each once")
        for name in (self.name, self.net or self.name):
            if not re.fullmatch(r"[A-Za-z][\w-]*", name) or name == "y":
                raise UserError(
                    f"node '{self.name}': '{name}' cannot be a name; use letters, digits, - and _, and not y,"
                    " which is the labels' name in a batch"
                )

    @property
    def key(self) -> str:
        """Name of the network that generates it."""
        return self.net or self.name


class Graph:
    """A directed acyclic graph of variables.

    Args:
        nodes: in the order in which they are listed to users; parents may come after their children.

    Raises:
        UserError: a name twice, an unknown parent, a cycle, nothing observed, a latent leaf, or nodes that share
            networks but not the number of parents.
    """

    def __init__(self, *nodes: Node) -> None:
        names = [node.name for node in nodes]
        for node in nodes:
            if names.count(node.name) > 1:
                raise UserError(f"graph: two nodes are called '{node.name}'; give each its own name")
            for parent in node.parents:
                if parent not in names:
                    raise suggest(f"parent of {node.name}:", parent, names)
        self.nodes = {node.name: node for node in _sorted(nodes)}
        self.observed = tuple(name for name, node in self.nodes.items() if node.observed)
        self.latent = tuple(name for name in self.nodes if name not in self.observed)
        if not self.observed:
            raise UserError("graph: no node is observed; mark what the data give by observed=True")
        for name in self.latent:
            if not self.children(name):
                raise UserError(
                    f"graph: node '{name}' is a leaf that nobody observes, so nothing can be learned of it;"
                    " observe it, give it a child, or leave it out"
                )
        counts: dict[str, int] = {}
        for node in self.nodes.values():
            if counts.setdefault(node.key, len(node.parents)) != len(node.parents):
                raise UserError(f"graph: the nodes of net '{node.key}' have different numbers of parents")

    def children(self, name: str) -> tuple[str, ...]:
        """Return the variables that depend on one directly."""
        return tuple(child for child, node in self.nodes.items() if name in node.parents)

    def blanket(self, name: str) -> frozenset[str]:
        """Return the Markov blanket: parents, children, and the children's other parents."""
        children = self.children(name)
        around = {*self.nodes[name].parents, *children}
        for child in children:
            around |= set(self.nodes[child].parents)
        return frozenset(around - {name})

    @property
    def generation(self) -> tuple[Step, ...]:
        """The steps of ancestral sampling, parents first."""
        return tuple(Step(name, node.parents, node.key) for name, node in self.nodes.items())

    def recognition(self, kind: Recognition) -> tuple[Step, ...]:
        """Return the steps that draw the latent variables given the observed ones.

        Args:
            kind: "mean-field": each given what is observed of its Markov blanket, or all observed if nothing is
                (eq. 4 of the paper); "inverse": children first, each given what is known of its blanket by then
                (eq. 5); "forward": the same, parents first; "both": as "inverse" up to the last, after which all
                are drawn, parents first, given their whole blankets.

        Steps of one network are given the same roles, e.g. class, previous and next state, frame: first other
        parents of children, then parents, then children. The last state lacks the next one.
        """
        if kind == "mean-field":
            return self._aligned([self._step(name, set(self.observed), self.observed) for name in self.latent])
        order = self.latent if kind == "forward" else self.latent[::-1]
        known, steps = set(self.observed), []
        for name in order:
            steps.append(self._step(name, known, self.observed))
            known.add(name)
        if kind == "both":
            again = [self._step(name, known, ()) for name in self.latent]
            steps = [*steps[:-1], *again[:1], *(step._replace(net=f"{step.net} again") for step in again[1:])]
        return self._aligned(steps)

    def _step(self, name: str, known: Iterable[str], default: Sequence[str]) -> Step:
        around = self.blanket(name) & set(known)
        givens = tuple(other for other in self.nodes if other in around)
        node = self.nodes[name]
        return Step(name, givens or tuple(default), node.recogniser or node.key)

    def _roles(self, name: str) -> dict[str, tuple[int, ...]]:
        """Return what each variable of the Markov blanket is to one, as numbers in the order of calls."""
        nets = [node.key for node in self.nodes.values()]
        roles: dict[str, tuple[int, ...]] = {}
        children = self.children(name)
        for child in children:
            family = [other for other in children if self.nodes[other].key == self.nodes[child].key]
            which = nets.index(self.nodes[child].key), family.index(child)
            for place, parent in enumerate(self.nodes[child].parents):
                roles.setdefault(parent, (0, *which, place))
            roles[child] = (2, *which)
        return roles | {parent: (1, place) for place, parent in enumerate(self.nodes[name].parents)}

    def _aligned(self, steps: Sequence[Step]) -> tuple[Step, ...]:
        """Return the steps with the same roles in the same order for all that share a network."""
        nets = [step.net for step in steps]
        names = list(self.nodes)
        seen = []  # of each step, what it is given by role; far from the blanket there are no roles but names
        for step in steps:
            roles = self._roles(step.name)
            seen.append({roles.get(given, (3, names.index(given))): given for given in step.givens})
        slots: dict[str, set[tuple[int, ...]]] = {}
        for step, mine in zip(steps, seen, strict=True):
            slots.setdefault(step.net, set()).update(mine)
        return tuple(
            step._replace(givens=tuple(mine.get(role, "") for role in sorted(slots[step.net])))
            if nets.count(step.net) > 1
            else step
            for step, mine in zip(steps, seen, strict=True)
        )

    @property
    def factors(self) -> tuple[tuple[str, ...], ...]:
        """The factors of the local algorithm, each a variable before its parents.

        Every variable with parents makes one with them. A latent root is judged alone only if it has several
        children and all are observed, as what does not change along a video; else its children's factors do.
        """
        families = [(name, *node.parents) for name, node in self.nodes.items() if node.parents]
        alone = [(n,) for n in self.latent if not self.nodes[n].parents and len(self.children(n)) > 1]
        alone = [root for root in alone if set(self.children(*root)) <= set(self.observed)]
        return (*alone, *sorted(families, key=lambda family: family[0] in self.observed))

    @property
    def whole(self) -> tuple[str, ...]:
        """The one factor of the global algorithm: a local one that holds all variables, or all, children first."""
        return next((f for f in self.factors if len(f) == len(self.nodes)), tuple(reversed(self.nodes)))

    def critics(self, algorithm: Algorithm) -> dict[str, list[tuple[str, ...]]]:
        """Return critic -> the factors that it judges: one critic for nodes of one `net`, globally "all"."""
        if algorithm == "global":
            return {"all": [self.whole]}
        judged: dict[str, list[tuple[str, ...]]] = {}
        for factor in self.factors:
            judged.setdefault(self.nodes[factor[0]].key, []).append(factor)
        return judged

    def describe(
        self,
        recognition: Recognition = "inverse",
        algorithm: Algorithm = "local",
        sizes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> str:
        """Return as text which networks an author must give, what each is called with, and what critics judge.

        Args:
            recognition: see `recognition`.
            algorithm: one critic for each factor, or one for all variables together.
            sizes: shapes of variables, to be printed beside their names.
        """
        sizes = sizes or {}

        def named(names: Iterable[str]) -> str:
            texts = [f"{n} {sizes[n]}" if n in sizes else n or "None" for n in names]
            return ", ".join(texts) or "nothing"

        lines = ["p generates, in this order:"]
        for name, givens, net in self.generation:
            mark = ", observed" if name in self.observed else ""
            lines.append(f'  {named([name])}{mark}, from {named(givens)}, by p["{net}"]')
        lines.append(f"q recognises, in this order ({recognition}):")
        for name, givens, net in self.recognition(recognition):
            lines.append(f'  {named([name])}, from {named(givens)}, by q["{net}"]')
        lines.append(f"critics judge ({algorithm}):")
        for critic, factors in self.critics(algorithm).items():
            lines += [f'  ({", ".join(factor)}), by critics["{critic}"]' for factor in factors]
        return "\n".join(lines)


def check_networks(side: str, networks: Iterable[str], steps: Sequence[Step]) -> None:
    """Raise UserError if a step has no network, or if a network belongs to no step.

    Args:
        side: name of the mapping that holds the networks, for the message.
        networks: their names.
        steps: that they draw.
    """
    names = list(networks)
    for name, givens, net in steps:
        if net not in names:
            given = ", ".join(filter(None, givens)) or "nothing"
            raise UserError(f"graph: {side} has no network '{net}' that draws {name} given {given}; add it")
    for name in names:
        if all(name != step.net for step in steps):
            raise UserError(f"graph: {side} has a network '{name}' that draws nothing; leave it out")


def _sorted(nodes: Sequence[Node]) -> list[Node]:
    """Return the nodes with parents first, else in their order; UserError names a cycle."""
    pending = list(nodes)
    out: list[Node] = []
    while pending:
        placed = {node.name for node in out}
        ready = next((node for node in pending if set(node.parents) <= placed), None)
        if ready is None:
            raise UserError(f"graph: the parents form a cycle: {_cycle(pending)}; remove one of these arrows")
        out.append(ready)
        pending.remove(ready)
    return out


def _cycle(pending: Sequence[Node]) -> str:
    """Return one cycle among nodes each of which waits for another of them."""
    waiting = {node.name: node for node in pending}
    path = [pending[0].name]
    while True:
        parent = next(p for p in waiting[path[-1]].parents if p in waiting)
        if parent in path:
            return " -> ".join([parent, *reversed(path[path.index(parent) :])])
        path.append(parent)
