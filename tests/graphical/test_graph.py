"""What is read off a graph: orders, blankets, recognition, factors, and errors, against lists written by hand."""

from __future__ import annotations

import random

import pytest

from ganbench.errors import UserError
from ganbench.graphical.graph import Graph, Node
from ganbench.graphical.schedule import Step, batched_steps

MIXTURE = Graph(Node("k"), Node("h", ("k",)), Node("x", ("h",), observed=True))


def state_space(frames: int) -> Graph:
    times = range(1, frames + 1)
    return Graph(
        Node("h"),
        *(Node(f"v{t}", (f"v{t - 1}",) if t > 1 else (), net="v" if t > 1 else "") for t in times),
        *(Node(f"x{t}", ("h", f"v{t}"), observed=True, net="x") for t in times),
    )


def givens(steps) -> dict[str, tuple[str, ...]]:
    return {step.name: step.givens for step in steps}


def test_mixture_as_published():
    assert [step.name for step in MIXTURE.generation] == ["k", "h", "x"]
    assert MIXTURE.recognition("inverse") == (Step("h", ("x",), "h"), Step("k", ("h",), "k"))  # eq. 6 of the paper
    assert {frozenset(f) for f in MIXTURE.factors} == {frozenset("xh"), frozenset("hk")}


@pytest.mark.parametrize("frames", [2, 4, 16])
def test_state_space_as_published(frames):
    graph = state_space(frames)
    times = range(1, frames + 1)
    images = tuple(f"x{t}" for t in times)
    wanted = {"h": images} | {f"v{t}": (f"x{t}",) for t in times}
    assert givens(graph.recognition("mean-field")) == wanted
    factors = [("h",), *((f"v{t + 1}", f"v{t}") for t in times[:-1]), *((f"x{t}", "h", f"v{t}") for t in times)]
    assert list(graph.factors) == factors and len(factors) == 2 * frames


def test_state_space_recursions():
    graph = state_space(3)
    assert givens(graph.recognition("inverse")) == {
        "v3": ("", "x3"),  # its network, shared with v2, has a place for the next state
        "v2": ("v3", "x2"),
        "v1": ("v2", "x1"),
        "h": ("v1", "v2", "v3", "x1", "x2", "x3"),
    }
    assert givens(graph.recognition("forward"))["v2"] == ("h", "v1", "x2")
    both = graph.recognition("both")
    assert both[: len(graph.latent) - 1] == graph.recognition("inverse")[:-1]
    assert both[-2] == Step("v2", ("h", "v1", "v3", "x2"), "v again")


def test_pair_has_the_one_factor_of_ali():
    graph = Graph(Node("z"), Node("x", ("z",), observed=True))
    assert graph.factors == (("x", "z"),)
    for kind in ("mean-field", "inverse", "forward"):
        assert graph.recognition(kind) == (Step("z", ("x",), "z"),)


def test_style_graph_gives_the_class_all_it_depends_on():
    graph = Graph(Node("class"), Node("style", ("class",)), Node("x", ("class", "style"), observed=True))
    assert givens(graph.recognition("inverse")) == {"style": ("x",), "class": ("style", "x")}
    assert graph.factors == (("style", "class"), ("x", "class", "style"))


def test_given_labels_are_known_to_recognition_and_make_no_factor_alone():
    graph = Graph(Node("c", observed=True), Node("z"), Node("x", ("z", "c"), observed=True))
    assert givens(graph.recognition("inverse")) == {"z": ("c", "x")}
    assert graph.factors == (("x", "z", "c"),)


def test_mean_field_falls_back_on_all_that_is_observed():
    assert givens(MIXTURE.recognition("mean-field")) == {"k": ("x",), "h": ("x",)}


def random_graph(seed: int) -> Graph:
    """A graph whose nodes depend on earlier ones by chance; what has no children is observed."""
    rng = random.Random(seed)
    names = [f"n{i}" for i in range(rng.randint(2, 8))]
    parents = {n: tuple(p for p in names[:i] if rng.random() < 0.4) for i, n in enumerate(names)}
    leaves = set(names) - {p for ps in parents.values() for p in ps}
    nodes = [Node(n, parents[n], observed=n in leaves) for n in names]
    rng.shuffle(nodes)
    return Graph(*nodes)


@pytest.mark.parametrize("seed", range(40))
def test_any_graph_can_be_drawn_in_its_order_and_inverted(seed):
    graph = random_graph(seed)
    for steps, known in [
        (graph.generation, ()),
        *((graph.recognition(kind), graph.observed) for kind in ("mean-field", "inverse", "forward", "both")),
    ]:
        done = set(known)
        for step in steps:
            assert set(step.givens) <= done
            done.add(step.name)
        assert done == set(graph.nodes)
        flat = [step for wave in batched_steps(steps, known) for step in wave]
        assert sorted(flat) == sorted(steps)
    for name in graph.nodes:  # the blanket is symmetric, as conditional independence is
        assert all(name in graph.blanket(other) for other in graph.blanket(name))
    assert {n for f in graph.factors for n in f} | set(graph.observed) == set(graph.nodes)


def test_waves_take_frames_together_and_transitions_in_turn():
    graph = state_space(4)
    groups = [[step.name for step in wave] for wave in batched_steps(graph.generation, ())]
    assert groups == [["h"], ["v1"], ["v2"], ["v3"], ["v4"], ["x1", "x2", "x3", "x4"]]
    inferred = [
        {step.name for step in wave} for wave in batched_steps(graph.recognition("mean-field"), graph.observed)
    ]
    assert inferred == [{"h"}, {"v1"}, {"v2", "v3", "v4"}]


def test_waves_do_not_overwrite_what_is_still_to_be_read():
    steps = (Step("a", (), "n"), Step("b", ("a",), "m"), Step("a", ("b",), "n again"), Step("c", ("a",), "o"))
    assert [wave[0].name for wave in batched_steps(steps, ())] == ["a", "b", "a", "c"]
    steps = (Step("a", (), "n"), Step("b", ("a",), "m"), Step("a", (), "n again"))
    assert [wave[0].net for wave in batched_steps(steps, ())] == ["n", "m", "n again"]


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([Node("a", ("b",)), Node("b", ("a",), observed=True)], "cycle: a -> b -> a"),
        ([Node("a", ("a",), observed=True)], "cycle: a -> a"),
        ([Node("a"), Node("a", observed=True)], "two nodes are called 'a'"),
        ([Node("state"), Node("x", ("stat",), observed=True)], "did you mean state"),
        ([Node("a"), Node("x", ("a",))], "no node is observed"),
        (
            [Node("a"), Node("b", ("a",)), Node("x", ("a",), observed=True)],
            "node 'b' is a leaf that nobody observes",
        ),
        (
            [Node("z"), Node("x", ("z",), True, net="n"), Node("w", observed=True, net="n")],
            "net 'n' have different numbers of parents",
        ),
    ],
)
def test_bad_graphs_are_refused_in_one_line(nodes, message):
    with pytest.raises(UserError) as error:
        Graph(*nodes)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x", "z"), "add a comma"),
        (("x", ("z", "z")), "names a parent twice"),
        (("y",), "cannot be a name"),
        (("a.b",), "cannot be a name"),
    ],
)
def test_bad_nodes_are_refused_in_one_line(arguments, message):
    with pytest.raises(UserError, match=message):
        Node(*arguments)


def test_longer_cycles_are_named_whole():
    ring = [Node("x", ("c",), observed=True), *(Node(n, (p,)) for n, p in ("ac", "ba", "cb"))]
    with pytest.raises(UserError, match=r"cycle: (a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c)"):
        Graph(*ring)
