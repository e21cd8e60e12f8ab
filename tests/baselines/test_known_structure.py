"""GMGAN's local algorithm where the structure is known: Gaussians far apart, seen through a fixed network."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from ganbench.datasets import Dataset
from ganbench.game.contract import DataSpec
from ganbench.graphical.game import GraphicalConfig, GraphicalGAN
from ganbench.graphical.graph import Graph, Node
from ganbench.graphical.nodes import Bayes, Categorical, CategoricalHead, Mixture
from ganbench.layers.networks import MLP
from ganbench.training.stack import Stack

CLUSTERS, LATENT, DATA, BATCH, ROUNDS = 10, 2, 6, 100, 500
ANGLES = torch.arange(CLUSTERS) * 2 * math.pi / CLUSTERS
MEANS = 12 * torch.stack([ANGLES.cos(), ANGLES.sin()], 1)  # neighbours are 7.4 standard deviations apart
CONFIG = GraphicalConfig(backbone=MLP(critic=(64, 64)), joint=64)


class Decoder(nn.Module):
    """A fixed one-to-one network: a rotation into six dimensions, a kink, another rotation."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        for name in ("first", "second"):
            square = torch.randn(DATA, DATA, generator=generator)
            self.register_buffer(name, torch.linalg.qr(square)[0])

    def forward(self, h: Tensor) -> Tensor:
        return nn.functional.leaky_relu(h @ self.first[:LATENT], 0.5) @ self.second


class Known(GraphicalGAN):
    """GMGAN-L whose generative side is the truth: only recognition is learned. Not registered."""

    def __init__(self, data: DataSpec, config: GraphicalConfig = CONFIG) -> None:
        super().__init__(data, config)
        mixture = Mixture(CLUSTERS, LATENT, 1.0)
        del mixture.means
        mixture.register_buffer("means", MEANS.clone())
        self.build_networks(
            Graph(Node("k"), Node("h", ("k",)), Node("x", ("h",), observed=True)),
            {"k": Categorical(CLUSTERS), "h": mixture, "x": Decoder()},
            {
                "h": config.backbone.make_encoder(data.shape, LATENT),
                "k": CategoricalHead(Bayes(mixture), CLUSTERS, "concrete", 0.1),
            },
        )
        self.players = tuple(replace(p, optimiser=replace(p.optimiser, lr=1e-3)) for p in self.players)


def sets() -> tuple[Dataset, Tensor]:
    """The data, and the codes h behind the test images."""
    generator = torch.Generator().manual_seed(1)
    images, labels, codes = {}, {}, torch.empty(0)
    for split, n in (("train", 5000), ("validation", 500), ("test", 2000)):
        labels[split] = torch.randint(CLUSTERS, (n,), generator=generator)
        codes = MEANS[labels[split]] + torch.randn(n, LATENT, generator=generator)
        images[split] = Decoder()(codes)
    return Dataset("known", images, labels, CLUSTERS), codes


def accuracy(clusters: Tensor, labels: Tensor) -> float:
    table = torch.zeros(CLUSTERS, CLUSTERS).index_put_(
        (clusters, labels), torch.ones(len(labels)), accumulate=True
    )
    rows, columns = linear_sum_assignment(-table.numpy())
    return float(table[rows, columns].sum() / len(labels))


@pytest.mark.parametrize("seed", [0, 1])
def test_local_algorithm_recovers_known_clusters(seed):
    data, codes = sets()
    x, y = data.images["test"], data.labels["test"]
    torch.manual_seed(seed)
    game = Known(data.data_spec)
    assert game.factors == (("h", "k"), ("x", "h"))
    assert accuracy(game.eval().cluster(x).argmax(1), y) < 0.9, "an untrained encoder must not know"
    stack = Stack([game], [seed], data, "known", BATCH, ROUNDS)
    for _ in range(ROUNDS):
        stack.train_round()
    game.load_state_dict(stack.weights()[0])
    found = game.eval().cluster(x)
    assert accuracy(found.argmax(1), y) >= 0.99
    # Bayes' rule for the codes that the data came from, and for those that the encoder finds.
    h = game.q["h"](x)
    for code in (codes, h):
        joint = -0.5 * (code.double()[:, None] - MEANS.double()).square().sum(2)
        bayes = joint.exp() / joint.exp().sum(1, keepdim=True)
        q = game.double().q["k"](code.double())
        assert (q - bayes).abs().max() < 1e-6
        game.float()
