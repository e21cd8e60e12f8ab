"""State-space Graphical-GAN (SSGAN) and its global rivals. Li et al. 2018, arXiv:1804.03429, section 4.2, code."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from ganbench.game import Adam, Conv, Count, DataSpec, Normal, Player
from ganbench.graphical import (
    Categorical,
    Concat,
    FrameEncoder,
    Graph,
    GraphicalConfig,
    GraphicalGAN,
    Node,
    Recognition,
    Root,
    SequenceCritic,
    Transition,
    Values,
    each_frame,
    stacked_frames,
    trunk_3d,
)
from ganbench.layers import one_hot


@dataclass(frozen=True)
class Config(GraphicalConfig):
    recognition: Recognition = "mean-field"
    "what each latent variable is recognised from: see `Graph.recognition`"
    content: Count = 128
    "size of h, which a sequence keeps"
    state: Count = 8
    "size of v, which moves"
    hidden: Count = 256
    "width of the two hidden layers from one state to the next"
    fresh_noise: bool = False
    "draw the noise of the states anew for every step, as the paper writes; the released code keeps one draw"
    rival: Literal["3dcnn", "concat-x", "concat-z"] = "3dcnn"
    "how the critic of the global algorithm sees the frames: by 3-D convolutions, stacked, or one by one"
    features: Count = 128
    "what the critic of concat-z takes from each frame"
    channels: Count = 32
    "channels of the first 3-D convolution; each further one doubles them"


# The networks of all experiments; those of Moving MNIST are told the digit, there by their last layers. Weights
# start from N(0, 0.02^2) or by the library's law; there by Glorot's. For the chairs, v enters its successor there
# through a learned linear map.
RELEASED_2018 = {"backbone": Conv(kernel=5, layers=4, width=32, generator_norm="none")}
RIVALS: dict[str, dict[str, str]] = {
    name: {"algorithm": "global", "rival": name} for name in ("3dcnn", "concat-x", "concat-z")
}


class StateSpace(GraphicalGAN):
    """Base with and without classes: the graph with its networks, and what can be made of sequences."""

    players = (
        Player("critics", nets=("critics",), optimiser=Adam(1e-4, (0.5, 0.999))),
        Player("model", nets=("p", "q"), optimiser=Adam(1e-4, (0.5, 0.999))),
    )

    def __init__(self, data: DataSpec, config: Config = Config()) -> None:
        super().__init__(data, config)
        self.config: Config = config
        if data.frames < 2:
            raise ValueError(f"this game needs sequences of at least 2 frames, got shape {data.shape}")
        label = ("class",) if self.supervision == "conditional" else ()
        if label and not data.classes:
            raise ValueError("a conditional game needs data with classes")
        self.states, self.frames = ([f"{kind}{t + 1}" for t in range(data.frames)] for kind in "vx")
        graph = Graph(
            Node("h"),
            Node("v1", recogniser="v"),
            *(
                Node(after, (before,), net="v", draw="" if config.fresh_noise else "epsilon")
                for before, after in pairwise(self.states)
            ),
            *(Node(name, observed=True) for name in label),
            *(
                Node(frame, (state, "h", *label), observed=True, net="x")
                for state, frame in zip(self.states, self.frames, strict=True)
            ),
        )
        backbone, frame, sizes = config.backbone, data.shape[1:], {"h": config.content, "class": data.classes}
        q: dict[str, nn.Module] = {}
        for step in {step.net: step for step in graph.recognition(config.recognition)}.values():
            others = [given for given in step.givens if given not in self.frames]
            seen = len(step.givens) - len(others)
            size = sizes.get(step.name, config.state)
            encoder = backbone.make_encoder((seen * frame[0], *frame[1:]), size)
            more = [sizes.get(other, config.state) for other in others]
            q[step.net] = FrameEncoder(encoder, size, more, config.hidden)
        inputs = config.state + config.content + (data.classes if label else 0)
        p: dict[str, nn.Module] = {name: Categorical(data.classes) for name in label}
        p |= {
            "h": Root(Normal(config.content)),
            "v1": Root(Normal(config.state)),
            "v": Transition(config.state, config.hidden),
            "x": Concat(backbone.make_generator(inputs, frame)),
        }
        self.build_networks(graph, p, q, config.recognition)

    def make_critic(self, factor: Sequence[str]) -> nn.Module:
        """Return a network from the variables of a factor to logits, of all variables the chosen rival."""
        config, frames = self.config, self.data.shape
        if config.algorithm == "local":
            return super().make_critic(factor)
        rest = sum(math.prod(self.sizes[name]) for name in factor if name not in self.frames)
        trunk: nn.Module
        if config.rival == "3dcnn":
            trunk = trunk_3d(frames, config.channels)
        elif config.rival == "concat-z":
            trunk = each_frame(config.backbone, frames, config.features)
        else:
            trunk = stacked_frames(config.backbone, frames)
        return SequenceCritic(trunk, frames, rest, config.joint)

    def observe(self, x: Tensor, batch: Mapping[str, Tensor]) -> Values:
        values = dict(zip(self.frames, x.unbind(1), strict=True))
        if "class" in self.graph.nodes:
            values["class"] = one_hot(batch["y"], self.data.classes, x)
        return values

    def assemble(self, values: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([values[frame] for frame in self.frames], 1)

    def transfer(self, x: Tensor, batch: Mapping[str, Tensor], y: Tensor | None = None) -> Tensor:
        """Return sequences (n, *shape) with the states of x and all else drawn: the paper's motion analogy."""
        known = self.recognised(x, y)
        return self.assemble(self.generate(batch, {state: known[state] for state in self.states}))

    def extrapolate(self, noise: Mapping[str, Tensor], frames: int) -> Tensor:
        """Return generated sequences of any length, (n, frames, c, h, w); the first frames are those of `sample`.

        Fresh noise comes from the draws of the steps, which are used again in turn after the last of them.
        """
        draws = [noise[state] for state in self.states[1:]] if self.config.fresh_noise else [noise["epsilon"]]
        states = [noise["v1"]]
        while len(states) < frames:
            states.append(self.p["v"](states[-1], draw=draws[(len(states) - 1) % len(draws)]))
        still = [noise["h"], *([self.p["class"](noise["class"])] if "class" in self.p else [])]
        made = self.p["x"](torch.cat(states[:frames]), *(value.repeat(frames, 1) for value in still))
        return made.unflatten(0, (frames, -1)).transpose(0, 1)


class GraphicalGANStateSpace(StateSpace):
    """GAN of sequences with a content h and a state v that moves: v_t -> v_t+1, (v_t, h) -> x_t. Li et al. 2018.

    Local critics judge (h), all (v_t+1, v_t) and all (x_t, v_t, h), each of these 2 T factors with equal weight;
    the rivals are the global form, with different critics of the whole sequence. Codes are h, v_1, ..., v_T.
    """

    name = "graphical-gan-statespace"
    variants = {"graphical-gan-statespace": {}, **RIVALS, "graphical-gan-statespace-2018": RELEASED_2018}

    def encode(self, x: Tensor) -> Tensor:
        """Return the recognised h, v_1, ..., v_T side by side, (n, content + T state)."""
        known = self.recognised(x)
        return torch.cat([known[name] for name in ("h", *self.states)], 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the sequences of codes, (n, *shape)."""
        sizes = [self.config.content] + [self.config.state] * len(self.states)
        return self.render(dict(zip(("h", *self.states), codes.split(sizes, 1), strict=True)))


class ConditionalStateSpace(StateSpace):
    """State-space Graphical-GAN told the digit: the class is a parent of every frame, as h is. Ibid., its code.

    Generated sequences have uniform classes; recognition, reconstruction and motion analogies are told those of x.
    """

    name = "graphical-gan-statespace-conditional"
    supervision = "conditional"
    variants = {
        f"{variant}-conditional": settings for variant, settings in GraphicalGANStateSpace.variants.items()
    }
