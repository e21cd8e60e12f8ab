"""Networks of graphs: what draws a variable given others, and what judges several variables together.

Each is called with the values that it is given and, if it has a `law`, with `draw`, the numbers drawn by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ganbench.distributions.noise import Noise, Normal, Uniform
from ganbench.layers.blocks import LeakyReLU, one_hot
from ganbench.layers.networks import MLP, Backbone


class Root(nn.Module):
    """A variable without parents that is what its law draws."""

    def __init__(self, law: Noise) -> None:
        super().__init__()
        self.law = law

    def forward(self, draw: Tensor) -> Tensor:
        return draw


class Categorical(nn.Module):
    """A one-hot root, (n, clusters), each class with the same probability."""

    def __init__(self, clusters: int) -> None:
        super().__init__()
        self.clusters, self.law = clusters, Uniform(1)

    def forward(self, draw: Tensor) -> Tensor:
        # Rounding may carry the product to the number of classes.
        places = (draw[:, 0] * self.clusters).long().clamp(max=self.clusters - 1)
        return one_hot(places, self.clusters, draw)


class Mixture(nn.Module):
    """N(mean_k, I) given a one-hot k, with learned means. Li et al. 2018, section 4.1.

    Args:
        clusters: number K of components.
        size: dimensions d.
        spread: standard deviation of the means at the start.
    """

    def __init__(self, clusters: int, size: int, spread: float) -> None:
        super().__init__()
        self.means, self.law = nn.Parameter(spread * torch.randn(clusters, size)), Normal(size)

    def forward(self, k: Tensor, draw: Tensor) -> Tensor:
        return k @ self.means + draw


class Bayes(nn.Module):
    """Logits of the component k of a mixture given h, by Bayes' rule with uniform k. Ibid., eq. 6.

    It has no parameters of its own: the means stay the mixture's, and its player's.
    """

    def __init__(self, mixture: Mixture) -> None:
        super().__init__()
        self._mixture = (mixture,)  # in a tuple, for a module would be registered as a part of this one

    def forward(self, h: Tensor) -> Tensor:
        """Return log q(k | h) up to a constant of each row, (n, clusters)."""
        means = self._mixture[0].means
        return h @ means.T - 0.5 * means.square().sum(1)  # |h|^2 is the same for all k


Estimator = Literal["concrete", "straight-through", "reinforce"]
TINY = 1e-7  # a uniform number may be 0


def draw_class(
    log_probabilities: Tensor, draw: Tensor | None, estimator: Estimator, temperature: float
) -> Tensor | tuple[Tensor, Tensor]:
    """Return one class of each law as a vector (n, classes) through which gradients pass.

    Args:
        log_probabilities: (n, classes), normalised.
        draw: uniform numbers (n, classes); without them the answer is the vector of all probabilities.
        estimator: "concrete": relaxed by Gumbel noise, Maddison et al. 2017; "straight-through": one-hot with the
            gradient of that; "reinforce": one-hot without one, with its log-probability (n,).
        temperature: of the relaxation.
    """
    if draw is None:
        return log_probabilities.exp()
    scores = log_probabilities - (-draw.clamp(TINY, 1 - TINY).log()).log()
    hard = one_hot(scores.argmax(1), scores.shape[1], scores)
    if estimator == "reinforce":
        return hard, (hard * log_probabilities).sum(1)
    soft = (scores / temperature).softmax(1)
    return soft if estimator == "concrete" else hard + soft - soft.detach()


class CategoricalHead(nn.Module):
    """A class given other variables, by a network's logits.

    Args:
        net: from the givens to logits (n, clusters).
        clusters: number of classes.
        estimator, temperature: see `draw_class`.
    """

    def __init__(self, net: nn.Module, clusters: int, estimator: Estimator, temperature: float) -> None:
        super().__init__()
        self.net, self.law = net, Uniform(clusters, training_only=True)
        self.estimator, self.temperature = estimator, temperature

    def forward(self, *values: Tensor, draw: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        return draw_class(self.log_probabilities(*values), draw, self.estimator, self.temperature)

    def log_probabilities(self, *values: Tensor) -> Tensor:
        """Return log q(class | givens), (n, clusters)."""
        return self.net(*values).log_softmax(1)


class Concat(nn.Module):
    """A network of one input, given several values: flattened, side by side."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, *values: Tensor) -> Tensor:
        return self.net(torch.cat([value.flatten(1) for value in values], 1))


def dense(inputs: int, *widths: int) -> nn.Sequential:
    """Return linear layers of these widths, each but the last followed by a leaky ReLU."""
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(inputs, width), LeakyReLU()]
        inputs = width
    return nn.Sequential(*layers[:-1])


class Joint(nn.Module):
    """Network of several variables to some numbers, such as the critic of a pair.

    Features of an image by the backbone's critic, less its head, and layers on the rest meet in further layers:
    Li et al. 2018, released code. Vectors without an image go side by side through a dense backbone's critic, or
    through three hidden layers.

    Args:
        backbone: without dropout.
        shapes: of the variables, in the order of the call; at most one is an image.
        branch: hidden widths on what is not an image.
        joint: hidden widths on both; the first is that of all three layers if there is no image.
        outputs: how many numbers; a critic gives one, its logit.

    Raises:
        ValueError: more than one image, or a backbone with dropout.
    """

    def __init__(
        self,
        backbone: Backbone,
        shapes: Sequence[tuple[int, ...]],
        branch: tuple[int, ...],
        joint: tuple[int, ...],
        outputs: int = 1,
    ) -> None:
        super().__init__()
        images = [place for place, shape in enumerate(shapes) if len(shape) > 1]
        if len(images) > 1:
            raise ValueError(f"this network takes one image beside vectors, got shapes {list(shapes)}")
        if isinstance(backbone, MLP) and backbone.keep:
            raise ValueError("networks of several variables need a backbone without dropout")
        self.image = images[0] if images else None
        rest = sum(math.prod(shape) for shape in shapes if len(shape) == 1)
        self.joint: nn.Module
        if self.image is None:
            deep = dense(rest, *joint[:1] * 3, outputs)
            self.joint = backbone.make_critic((rest,), outputs) if isinstance(backbone, MLP) else deep
            return
        self.trunk = backbone.make_critic(shapes[self.image])
        *_, head = (layer for layer in self.trunk.modules() if isinstance(layer, nn.Linear))
        self.trunk.blocks[-1] = nn.Flatten()
        self.branch = nn.Sequential(dense(rest, *branch), LeakyReLU())
        self.joint = dense(head.in_features + branch[-1], *joint, outputs)

    def forward(self, *values: Tensor) -> Tensor:
        """Return the numbers, (n, outputs), of values (n, *shape)."""
        vectors = torch.cat([value for place, value in enumerate(values) if place != self.image], 1)
        if self.image is None:
            return self.joint(vectors)
        return self.joint(torch.cat([self.trunk(values[self.image]), self.branch(vectors)], 1))
