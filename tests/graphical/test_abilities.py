"""What a graph makes plain: who has which ability, and that it does what the graph says."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganbench import datasets, registry
from ganbench.distributions.noise import Normal, draw
from ganbench.evaluation.measure import measure
from ganbench.evaluation.real import RealData
from ganbench.game.contract import DataSpec
from ganbench.graphical import (
    Categorical,
    CategoricalHead,
    Concat,
    Graph,
    GraphicalConfig,
    GraphicalGAN,
    Joint,
    Mixture,
    Node,
    Root,
)
from ganbench.layers.networks import MLP
from ganbench.suites.expand import expand
from ganbench.suites.suite import read_suite
from ganbench.training.loop import train

IMAGES = DataSpec("images", (1, 8, 8), 3, torch.zeros(1, 8, 8))
SMALL = GraphicalConfig(backbone=MLP(generator=(12,), critic=(10,), generator_norm="none"), joint=7)
FIVE = Path(__file__).parents[1] / "plugins" / "five_nodes.py"
DERIVED = ("cluster", "condition", "encode", "decode")
X = torch.rand(6, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 2 - 1


def play(nodes: list[Node], p: dict, q: dict, base: type[GraphicalGAN] = GraphicalGAN, **options: Any) -> Any:
    game = base(IMAGES, SMALL)
    game.build_networks(Graph(*nodes), p, q, **options)
    return game.double().eval()


def noise_of(game: GraphicalGAN, n: int) -> dict[str, Tensor]:
    like = torch.empty(0, dtype=torch.float64)
    drawn = draw(game.noise(), n, [torch.Generator().manual_seed(0)], like)
    return {name: value[0] for name, value in drawn.items()}


def abilities(game: object) -> set[str]:
    return {name for name in DERIVED if callable(getattr(game, name, None))}


def generator(size: int) -> nn.Module:
    return SMALL.backbone.make_generator(size, IMAGES.shape)


def encoder(size: int) -> nn.Module:
    return SMALL.backbone.make_encoder(IMAGES.shape, size)


def joint(size: int, outputs: int) -> Joint:
    return Joint(SMALL.backbone, [(size,), IMAGES.shape], (6,), (6,), outputs)


def head(net: nn.Module) -> CategoricalHead:
    return CategoricalHead(net, 3, "concrete", 0.1)


X_OF = lambda *parents: Node("x", parents, observed=True)  # noqa: E731


def mixture(**options: Any) -> Any:
    q = {"h": encoder(4), "k": head(nn.Linear(4, 3))}
    if options.get("recognition") == "both":
        q["h again"] = joint(3, 4)
    p = {"k": Categorical(3), "h": Mixture(3, 4, 2.0), "x": generator(4)}
    return play([Node("k"), Node("h", ("k",)), X_OF("h")], p, q, **options)


# ---------------------------------------------------------------- who has what


def test_a_code_alone_is_encoded_and_decoded_and_has_no_clusters() -> None:
    game = play([Node("z"), X_OF("z")], {"z": Root(Normal(4)), "x": generator(4)}, {"z": encoder(4)})
    assert abilities(game) == {"encode", "decode"}
    assert torch.equal(game.encode(X), game.q["z"](X))
    assert torch.equal(game.decode(game.encode(X)), game.reconstruct(X))
    with pytest.raises(AttributeError, match="cluster"):
        _ = game.cluster


def test_a_class_of_codes_gives_everything() -> None:
    assert abilities(mixture()) == set(DERIVED)


def test_a_class_that_is_all_there_is_is_no_code() -> None:
    game = play([Node("k"), X_OF("k")], {"k": Categorical(3), "x": generator(3)}, {"k": head(encoder(3))})
    assert abilities(game) == {"cluster", "condition"}


def test_x_of_two_parents_has_no_one_code() -> None:
    p = {"k": Categorical(3), "h": Root(Normal(4)), "x": Concat(generator(7))}
    game = play([Node("k"), Node("h"), X_OF("k", "h")], p, {"h": encoder(4), "k": head(joint(4, 3))})
    assert abilities(game) == {"cluster", "condition"}
    assert torch.equal(game.cluster(X), game.q["k"].log_probabilities(game.q["h"](X), X))


def test_two_classes_are_ambiguous() -> None:
    p = {"a": Categorical(3), "b": Categorical(3), "x": Concat(generator(6))}
    game = play([Node("a"), Node("b"), X_OF("a", "b")], p, {"b": head(encoder(3)), "a": head(joint(3, 3))})
    assert abilities(game) == set()


def test_a_class_without_log_probabilities_has_no_clusters() -> None:
    p = {"k": Categorical(3), "h": Mixture(3, 4, 2.0), "x": generator(4)}
    softmax = nn.Sequential(nn.Linear(4, 3), nn.Softmax(1))
    game = play([Node("k"), Node("h", ("k",)), X_OF("h")], p, {"h": encoder(4), "k": softmax})
    assert abilities(game) == {"condition", "encode", "decode"}


def test_a_class_with_parents_is_recognised_but_not_set() -> None:
    p = {"h": Root(Normal(4)), "k": nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), "x": Concat(generator(7))}
    game = play([Node("h"), Node("k", ("h",)), X_OF("h", "k")], p, {"k": head(encoder(3)), "h": joint(3, 4)})
    assert abilities(game) == {"cluster"}


class Told(GraphicalGAN):
    supervision = "conditional"

    def observe(self, x, batch):
        return {"x": x, "k": nn.functional.one_hot(batch["y"], 3).to(x)}


def test_a_class_that_the_data_give_is_set_and_not_recognised() -> None:
    p = {"k": Categorical(3), "h": Root(Normal(4)), "x": Concat(generator(7))}
    game = play([Node("k", observed=True), Node("h"), X_OF("k", "h")], p, {"h": joint(3, 4)}, Told)
    assert abilities(game) == {"condition"}


class WithLevel(GraphicalGAN):
    def observe(self, x, batch):
        return {"x": x, "level": x.mean((1, 2, 3))[:, None]}


def test_a_code_of_more_than_x_is_no_code_of_x() -> None:
    p = {"h": Root(Normal(4)), "x": generator(4), "level": nn.Linear(4, 1)}
    nodes = [Node("h"), X_OF("h"), Node("level", ("h",), observed=True)]
    assert abilities(play(nodes, p, {"h": Concat(nn.Linear(65, 4))}, WithLevel)) == set()


def test_the_class_of_games_claims_nothing_and_an_authors_method_stays() -> None:
    assert abilities(GraphicalGAN) == set()
    assert {"cluster", "condition"} <= set(registry.models.get("graphical-gan-style").abilities)
    assert "cluster" not in registry.models.get("graphical-gan-statespace").abilities
    game = registry.models.get("graphical-gan-style").build(
        IMAGES, registry.models.get("graphical-gan-style").settings({"kind": "mlp"}, {"clusters": 3}), 0
    )
    assert game.encode(X.float()).shape == (6, 3 + 16)  # its own, of class and style


# ---------------------------------------------------------------- what they do


def test_abilities_of_a_copy_are_the_copys_own() -> None:
    game = mixture()
    other = deepcopy(game)
    with torch.no_grad():
        other.q["k"].net.bias += torch.tensor([0.0, 5.0, 0.0], dtype=torch.float64)
    assert not torch.allclose(other.cluster(X), game.cluster(X))


@pytest.mark.parametrize("recognition", ["inverse", "both"])
def test_cluster_follows_the_recognition_up_to_the_class(recognition: str) -> None:
    game = mixture(recognition=recognition)
    assert torch.equal(game.cluster(X), game.q["k"].log_probabilities(game.q["h"](X)))
    again = game.q["h again"](game.recognised(X)["k"], X) if recognition == "both" else game.q["h"](X)
    assert torch.equal(game.encode(X), again)


def test_condition_sets_the_class_and_nothing_else() -> None:
    game = mixture()
    noise = noise_of(game, 9)
    drawn = (noise["k"][:, 0] * 3).long()
    assert len(drawn.unique()) > 1
    assert torch.equal(game.condition(noise, drawn), game.sample(noise))
    y = torch.full((9,), 2)
    assert torch.equal(game.condition(noise, y), game.p["x"](game.p["h"].means[2] + noise["h"]))


# ---------------------------------------------------------------- a graph of one's own


@pytest.fixture
def five(clean_registry: None) -> Iterator[None]:
    registry.load_plugin(FIVE)
    yield


def test_five_nodes_train_and_their_clusters_are_measured(five: None, tmp_path: Path) -> None:
    data = datasets.load("digits")
    model = registry.models.get("five-nodes")
    specs = expand(read_suite("clustering"), "quick", ["five-nodes"], seeds=1, dataset="digits")
    spec = replace(specs["five-nodes"][0], rounds=3, samples=20)
    game = model.build(data.data_spec, spec.settings, 0)
    assert game.factors == (("h", "k"), ("m", "h", "s"), ("x", "m"))
    steps = [(step.name, step.givens) for step in game.graph.recognition("inverse")]
    assert steps == [("m", ("x",)), ("h", ("m",)), ("s", ("h", "m")), ("k", ("h",))]
    train([spec], data, tmp_path)
    metrics = ["cluster-accuracy", "nmi", "knn-accuracy", "latent-cycle-error", "critic-accuracy"]
    rows = measure(spec, spec.folder(tmp_path), RealData(data), metrics)
    assert [row.status for row in rows] == ["measured"] * 5, rows
    assert 0 < rows[0].value < 1 and "K=10" in rows[0].protocol
    [refused] = measure(spec, spec.folder(tmp_path), RealData(data), ["condition-accuracy@mlp-digits-v1"])[5:]
    assert refused.status == "failed" and "clusters, which no label names" in refused.reason


GRAPH_TEXT = """\
p generates, in this order:
  k, from nothing, by p["k"]
  s, from nothing, by p["s"]
  h, from k, by p["h"]
  m, from h, s, by p["m"]
  x, observed, from m, by p["x"]
q recognises, in this order (inverse):
  m, from x, by q["m"]
  h, from m, by q["h"]
  s, from h, m, by q["s"]
  k, from h, by q["k"]
critics judge (local):
  (h, k), by critics["h"]
  (m, h, s), by critics["m"]
  (x, m), by critics["x"]"""


def test_graph_tells_an_author_what_to_build() -> None:
    nodes = [Node("k"), Node("s"), Node("h", ("k",)), Node("m", ("h", "s")), X_OF("m")]
    assert Graph(*nodes).describe() == GRAPH_TEXT
    assert Graph(*nodes).describe(algorithm="global").endswith('(x, m, h, s, k), by critics["all"]')
    chain = [Node("v1"), Node("v2", ("v1",), net="v"), Node("v3", ("v2",), net="v")]
    frames = [Node(f"x{t}", (f"v{t}",), observed=True, net="x") for t in (1, 2, 3)]
    assert 'v3, from None, x3, by q["v"]' in Graph(*chain, *frames).describe()  # the last state has no next one


def test_a_game_adds_the_shapes() -> None:
    text = mixture().describe()
    assert 'h (4,), from k (3,), by p["h"]' in text and 'k (3,), from h (4,), by q["k"]' in text
    assert text.endswith('(x, h), by critics["x"]')


def test_show_prints_a_plugin_and_its_graph(five: None, ganbench: Any) -> None:
    answer = ganbench("show", "five-nodes-global", "--plugin", FIVE)
    assert answer.code == 0, answer.err
    for text in (
        "five-nodes-global: Class and style, two roots, meet in the code of an image.",
        "abilities: sample, encode, decode, reconstruct, cluster, discriminate, condition",
        "  algorithm = global: one critic for every factor of the graph, or one for all variables together",
        '    s (3,), from h (4,), m (6,), by q["s"]',
        '    (x, m, h, s, k), by critics["all"]',
    ):
        assert text in answer.out
    assert "five-nodes " in ganbench("list", "models", "--plugin", FIVE).out


def test_unlike_graphs_every_model_can_be_shown(ganbench: Any) -> None:
    answer = ganbench("show", "wgan")
    assert answer.code == 0 and "critic minimises critic_loss over D" in answer.out and "graph" not in answer.out
    assert "    critic.steps = 5: steps per round, >= 1\n" in answer.out and "abilities: sample\n" in answer.out
    assert "players: none, it is fitted" in ganbench("show", "gaussian-mixture").out
    assert "did you mean wgan" in ganbench("show", "wgam").err


def test_a_network_that_misses_is_said_after_the_settings(
    clean_registry: None, ganbench: Any, tmp_path: Path
) -> None:
    file = tmp_path / "four_nodes.py"
    lines = FIVE.read_text(encoding="utf-8").splitlines()
    file.write_text("\n".join(line for line in lines if '"s": Concat' not in line), encoding="utf-8")
    answer = ganbench("show", "five-nodes", "--plugin", file)
    assert answer.code == 2 and "joint = 16" in answer.out
    assert "q has no network 's' that draws s given h, m; add it" in answer.err
