"""Games on a graph of variables: the graph, the networks of its nodes, and the game that both make."""

from ganbench.graphical.game import GraphicalConfig, GraphicalGAN
from ganbench.graphical.graph import Graph, Node, Recognition, check_networks
from ganbench.graphical.model import GraphicalModel, Values
from ganbench.graphical.nodes import (
    TINY,
    Bayes,
    Categorical,
    CategoricalHead,
    Concat,
    Estimator,
    Joint,
    Mixture,
    Root,
    dense,
    draw_class,
)
from ganbench.graphical.schedule import Step, batched_steps, run_steps, split_steps
from ganbench.graphical.video import (
    Channels,
    EachFrame,
    FrameEncoder,
    SequenceCritic,
    Transition,
    each_frame,
    stacked_frames,
    time_strides,
    trunk_3d,
)

__all__ = [
    "TINY",
    "Bayes",
    "Categorical",
    "CategoricalHead",
    "Channels",
    "Concat",
    "EachFrame",
    "Estimator",
    "FrameEncoder",
    "Graph",
    "GraphicalConfig",
    "GraphicalGAN",
    "GraphicalModel",
    "Joint",
    "Mixture",
    "Node",
    "Recognition",
    "Root",
    "SequenceCritic",
    "Step",
    "Transition",
    "Values",
    "batched_steps",
    "check_networks",
    "dense",
    "draw_class",
    "each_frame",
    "run_steps",
    "split_steps",
    "stacked_frames",
    "time_strides",
    "trunk_3d",
]
