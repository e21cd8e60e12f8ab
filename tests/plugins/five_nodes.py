"""A graph of five variables, written by someone who knows no more than docs/graphs.md."""

from torch import nn

from ganbench.game import Normal
from ganbench.graphical import (
    Categorical,
    CategoricalHead,
    Concat,
    Graph,
    GraphicalConfig,
    GraphicalGAN,
    Mixture,
    Node,
    Root,
)

GRAPH = Graph(
    Node("k"),
    Node("s"),
    Node("h", ("k",)),
    Node("m", ("h", "s")),  # the collider
    Node("x", ("m",), observed=True),
)


class FiveNodes(GraphicalGAN):
    """Class and style, two roots, meet in the code of an image. Nobody 2026."""

    name = "five-nodes"
    variants = {"five-nodes": {}, "five-nodes-global": {"algorithm": "global"}}

    def __init__(self, data, config=GraphicalConfig(joint=16)):
        super().__init__(data, config)
        nets = config.backbone
        self.build_networks(
            GRAPH,
            p={
                "k": Categorical(10),
                "s": Root(Normal(3)),
                "h": Mixture(10, 4, spread=2.0),
                "m": Concat(nn.Linear(7, 6)),
                "x": nets.make_generator(6, data.shape),
            },
            q={
                "m": nets.make_encoder(data.shape, 6),
                "h": nn.Linear(6, 4),
                "s": Concat(nn.Linear(10, 3)),
                "k": CategoricalHead(nn.Linear(4, 10), 10, "concrete", temperature=0.1),
            },
        )
