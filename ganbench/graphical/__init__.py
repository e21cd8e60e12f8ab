"""Games on a graph of variables: the graph, the networks of its nodes, and the game that both make."""

from ganbench.graphical.game import GraphicalConfig, GraphicalGAN, Values
from ganbench.graphical.graph import Graph, Node, Recognition, check_networks
from ganbench.graphical.nodes import (
    TINY,
    Categorical,
    ClassOf,
    Estimator,
    Joined,
    Joint,
    Mixture,
    Root,
    dense,
    draw_class,
)
from ganbench.graphical.schedule import Step, parts, take, waves
from ganbench.graphical.video import (
    Channels,
    EachFrame,
    FramesAndMore,
    Transition,
    WholeCritic,
    cube,
    each_frame,
    stacked_frames,
    time_strides,
)

__all__ = [
    "TINY",
    "Categorical",
    "Channels",
    "ClassOf",
    "EachFrame",
    "Estimator",
    "FramesAndMore",
    "Graph",
    "GraphicalConfig",
    "GraphicalGAN",
    "Joined",
    "Joint",
    "Mixture",
    "Node",
    "Recognition",
    "Root",
    "Step",
    "Transition",
    "Values",
    "WholeCritic",
    "check_networks",
    "cube",
    "dense",
    "draw_class",
    "each_frame",
    "parts",
    "stacked_frames",
    "take",
    "time_strides",
    "waves",
]
