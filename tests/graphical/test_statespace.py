"""The state-space Graphical-GAN: its graph against hand-written lists, what its networks see, and what moves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganbench import registry
from ganbench.distributions.noise import draw
from ganbench.errors import UserError
from ganbench.game.contract import DataSpec
from ganbench.graphical.game import GraphicalGAN
from ganbench.graphical.graph import Graph, Node
from ganbench.graphical.schedule import batched_steps
from ganbench.graphical.video import FrameEncoder, time_strides, trunk_3d

LOCAL, CONDITIONAL = "graphical-gan-statespace", "graphical-gan-statespace-conditional"
RIVALS = ["3dcnn", "concat-x", "concat-z"]
KINDS = ["mean-field", "inverse", "forward", "both"]
DENSE = {"kind": "mlp", "generator": [12], "critic": [10]}
SMALL = {"joint": 8, "hidden": 8, "content": 3, "state": 2, "channels": 4, "features": 5}
CLASSES = 4


def data_spec(*shape: int) -> DataSpec:
    return DataSpec("sequences", shape, CLASSES, torch.full(shape, 0.5))


def play(name: str, frames: int = 4, backbone: Mapping[str, Any] = DENSE, **settings: Any) -> GraphicalGAN:
    """Return a game in float64 on sequences of 8 x 8 frames with two channels."""
    model = registry.models.get(name)
    made = model.build(data_spec(frames, 2, 8, 8), model.settings(backbone, SMALL, settings), 3)
    assert isinstance(made, GraphicalGAN)
    return made.double().eval()


def noise_of(game: GraphicalGAN, n: int = 5, training: bool = False) -> dict[str, Tensor]:
    laws = {name: law for name, law in game.noise().items() if training or not law.training_only}
    drawn = draw(laws, n, [torch.Generator().manual_seed(7)], torch.empty(0, dtype=torch.float64))
    labels = {"y": torch.arange(n) % CLASSES} if game.supervision == "conditional" else {}
    return {name: value[0] for name, value in drawn.items()} | labels


def data(n: int = 5, frames: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(11)
    return torch.rand(n, frames, 2, 8, 8, dtype=torch.float64, generator=generator) * 2 - 1


def recognition(game: GraphicalGAN) -> list[tuple[str, tuple[str, ...], str]]:
    return [tuple(step) for step in game.graph.recognition(game.config.recognition)]


# ---------------------------------------------------------------- what the graph gives


def test_factors_of_four_frames_are_those_of_the_released_code():
    assert play(LOCAL).factors == (
        ("h",),
        ("v2", "v1"),
        ("v3", "v2"),
        ("v4", "v3"),
        ("x1", "v1", "h"),
        ("x2", "v2", "h"),
        ("x3", "v3", "h"),
        ("x4", "v4", "h"),
    )


@pytest.mark.parametrize(("name", "frames"), [(LOCAL, 2), (LOCAL, 4), (LOCAL, 16), (CONDITIONAL, 4)])
def test_weights_of_the_critics(name, frames):
    game = play(name, frames)
    ones = {key: torch.ones(()) for key in game.critics}
    weights = {key: float(game._mean({**{k: 0 * v for k, v in ones.items()}, key: ones[key]})) for key in ones}
    expected = {"h": 1 / (2 * frames), "v": (frames - 1) / (2 * frames), "x": 1 / 2}
    assert weights == pytest.approx(expected, rel=1e-6)
    assert sum(weights.values()) == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_recognition_of_three_frames(kind):
    frames = ("x1", "x2", "x3")
    backwards = [
        ("v3", ("", "x3"), "v"),
        ("v2", ("v3", "x2"), "v"),
        ("v1", ("v2", "x1"), "v"),
        ("h", ("v1", "v2", "v3", *frames), "h"),
    ]
    expected = {
        "mean-field": [("h", frames, "h"), ("v1", ("x1",), "v"), ("v2", ("x2",), "v"), ("v3", ("x3",), "v")],
        "inverse": backwards,
        "forward": [
            ("h", frames, "h"),
            ("v1", ("h", "", "x1"), "v"),
            ("v2", ("h", "v1", "x2"), "v"),
            ("v3", ("h", "v2", "x3"), "v"),
        ],
        "both": [
            *backwards[:-1],
            ("h", ("v1", "v2", "v3", *frames), "h"),
            ("v1", ("h", "", "v2", "x1"), "v again"),
            ("v2", ("h", "v1", "v3", "x2"), "v again"),
            ("v3", ("h", "v2", "", "x3"), "v again"),
        ],
    }
    assert recognition(play(LOCAL, 3, recognition=kind)) == expected[kind]


def test_with_classes_every_frame_and_every_recognition_is_told():
    game = play(CONDITIONAL, 2)
    assert game.factors == (("h",), ("v2", "v1"), ("x1", "v1", "h", "class"), ("x2", "v2", "h", "class"))
    assert recognition(game) == [
        ("h", ("class", "x1", "x2"), "h"),
        ("v1", ("class", "x1"), "v"),
        ("v2", ("class", "x2"), "v"),
    ]


def test_roles_tell_the_ends_of_a_chain_apart():
    """What a step lacks stands as nothing, so that its network is called alike everywhere."""
    chain = Graph(
        *(Node(n, p, recogniser="s") for n, p in (("a", ()), ("b", ("a",)), ("c", ("b",)))),
        *(Node(n, (p,), observed=True, net="o") for n, p in (("x", "a"), ("z", "b"), ("w", "c"))),
    )
    *_, middle, last = chain.recognition("both")
    assert (middle.givens, last.givens) == (("a", "c", "z"), ("b", "", "w"))
    assert [len(wave) for wave in batched_steps((middle, last), tuple("abcxzw"))] == [1, 1]


@pytest.mark.parametrize("recognised", ["mean-field", "forward"])
@pytest.mark.parametrize("name", [LOCAL, CONDITIONAL])
def test_waves_are_steps_one_by_one(name, recognised):
    together, alone = (play(name, recognition=recognised) for _ in range(2))
    assert max(map(len, together._generation)) == 4  # all frames at once
    if recognised == "mean-field":
        assert [len(wave) for wave in together._recognition] == [1, 4]
    for attribute in ("_generation", "_recognition"):
        steps = [(step,) for wave in getattr(alone, attribute) for step in wave]
        setattr(alone, attribute, tuple(steps))
    noise = noise_of(together)
    assert torch.allclose(together.sample(noise), alone.sample(noise), rtol=0, atol=1e-12)
    known, slowly = (game.recognise(game.observe(data(), noise), noise)[0] for game in (together, alone))
    assert known.keys() == slowly.keys() == set(together.graph.nodes)
    for key, value in known.items():
        assert torch.allclose(value, slowly[key], rtol=0, atol=1e-12)


# ---------------------------------------------------------------- states


def test_a_transition_whose_last_layer_is_zero_stands_still():
    game = play(LOCAL)
    for part in (game.p["v"].net[-1].weight, game.p["v"].net[-1].bias):
        nn.init.zeros_(part)
    noise = noise_of(game)
    values = game.generate(noise, {})
    for t in (2, 3, 4):
        assert torch.equal(values[f"v{t}"], noise["v1"])
    sample = game.sample(noise)
    assert torch.allclose(sample, sample[:, :1].expand_as(sample), rtol=0, atol=1e-12)
    assert sample.std() > 0


@pytest.mark.parametrize("fresh", [False, True])
def test_draws_of_the_states(fresh):
    game = play(LOCAL, fresh_noise=fresh)
    noise = noise_of(game)
    assert set(noise) == {"h", "v1", *(("v2", "v3", "v4") if fresh else ("epsilon",))}
    states = [noise["v1"]]
    for name in ("v2", "v3", "v4"):
        epsilon = noise[name if fresh else "epsilon"]
        states.append(states[-1] + game.p["v"].net(torch.cat([states[-1], epsilon], 1)))
    values = game.generate(noise, {})
    for t, state in enumerate(states):
        assert torch.allclose(values[f"v{t + 1}"], state, rtol=0, atol=1e-12)


@pytest.mark.parametrize("settings", [{}, {"fresh_noise": True}, {"recognition": "both"}], ids=str)
@pytest.mark.parametrize("name", [LOCAL, CONDITIONAL, "concat-z"])
def test_extrapolation_goes_on_from_the_sample(name, settings):
    game = play(name, **settings)
    noise = noise_of(game)
    sample, long = game.sample(noise), game.extrapolate(noise, 11)
    assert long.shape == (5, 11, 2, 8, 8)
    assert torch.allclose(long[:, :4], sample, rtol=0, atol=1e-12)
    assert torch.allclose(game.extrapolate(noise, 2), sample[:, :2], rtol=0, atol=1e-12)
    assert (long[:, 4:] - long[:, 3:-1]).abs().amax((1, 2, 3, 4)).min() > 1e-6  # it does go on


@pytest.mark.parametrize("name", [LOCAL, CONDITIONAL])
def test_motion_analogy_takes_states_from_the_data_and_content_from_the_noise(name):
    game = play(name)
    noise, x = noise_of(game), data()
    labels = (noise["y"],) if name == CONDITIONAL else ()
    made = game.transfer(x, noise, *labels)
    values = game.recognise(game.observe(x, noise), {})[0]
    values["h"] = noise["h"]
    if labels:
        values["class"] = game.p["class"](noise["class"])
    expected = torch.stack([game.p["x"](values[f"v{t}"], *_still(values)) for t in (1, 2, 3, 4)], 1)
    assert torch.allclose(made, expected, rtol=0, atol=1e-12)


def _still(values: Mapping[str, Tensor]) -> list[Tensor]:
    return [values[name] for name in ("h", "class") if name in values]


def test_codes_are_content_and_states():
    game = play(LOCAL)
    codes = game.encode(data())
    assert codes.shape == (5, 3 + 4 * 2)
    assert torch.equal(codes[:, :3], game.q["h"](*data().unbind(1)))
    assert torch.equal(codes[:, -2:], game.q["v"](data()[:, 3]))
    assert torch.allclose(game.decode(codes), game.reconstruct(data()), rtol=0, atol=1e-12)


# ---------------------------------------------------------------- recognition and critics


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [LOCAL, CONDITIONAL, "3dcnn"])
def test_recognition_reads_what_the_graph_says(name, kind):
    game = play(name, 3, recognition=kind)
    x = data(frames=3).requires_grad_()
    values = game.recognise(game.observe(x, noise_of(game)), {})[0]
    reads = {"mean-field": {2}, "inverse": {2, 3}, "forward": {1, 2, 3}, "both": {1, 2, 3}}[kind]
    (seen,) = torch.autograd.grad(values["v2"].sum(), x, retain_graph=True)
    assert {t for t in (1, 2, 3) if seen[:, t - 1].any()} == reads
    (seen,) = torch.autograd.grad(values["h"].sum(), x)
    assert all(seen[:, t].any() for t in range(3))


def test_missing_neighbours_count_as_zeros():
    net = FrameEncoder(nn.Sequential(nn.Flatten(), nn.Linear(8, 2)), 2, [3, 2], 4)
    frame, before, after = torch.randn(6, 2, 2, 2), torch.randn(6, 3), torch.zeros(6, 2)
    assert torch.equal(net(before, None, frame), net(before, after, frame))
    assert not torch.equal(net(before, None, frame), net(None, None, frame))


@pytest.mark.parametrize("rival", RIVALS)
@pytest.mark.parametrize("suffix", ["", "-conditional"])
def test_the_rivals_see_all_variables(rival, suffix):
    game = play(rival + suffix)
    assert list(game.critics) == ["all"] and game.factors == (tuple(reversed(game.graph.nodes)),)
    values = {name: value.requires_grad_() for name, value in game.generate(noise_of(game), {}).items()}
    values = {name: value.detach().requires_grad_() for name, value in values.items()}
    logits = game.judge("p", values, {})["all"]
    assert logits.shape == (1, 5)
    for gradient in torch.autograd.grad(logits.sum(), list(values.values())):
        assert (gradient.flatten(1) != 0).any(1).all()


@pytest.mark.parametrize("name", [LOCAL, CONDITIONAL])
def test_frames_share_a_critic_and_so_do_steps(name):
    game = play(name)
    assert list(game.critics) == ["h", "v", "x"]
    values = game.generate(noise_of(game), {})
    logits = game.judge("p", values, {})
    assert {key: tuple(value.shape) for key, value in logits.items()} == {"h": (1, 5), "v": (3, 5), "x": (4, 5)}
    for t in range(3):
        alone = game.critics["v"](values[f"v{t + 2}"], values[f"v{t + 1}"])[:, 0]
        assert torch.allclose(logits["v"][t], alone, rtol=0, atol=1e-12)
    for t in range(4):
        alone = game.critics["x"](values[f"x{t + 1}"], values[f"v{t + 1}"], *_still(values))[:, 0]
        assert torch.allclose(logits["x"][t], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [LOCAL, CONDITIONAL, *RIVALS])
def test_blind_critics_lose_two_log_two(name):
    game = play(name)
    for critic in game.critics.values():
        *_, head = (part for part in critic.modules() if isinstance(part, nn.Linear))
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    noise = noise_of(game, training=True)
    noise |= game.precompute(noise)
    for loss in (game.critics_loss(data(), noise), game.model_loss(data(), noise)):
        assert loss.item() == pytest.approx(2 * math.log(2), rel=1e-9)


@pytest.mark.parametrize(
    ("frames", "layers", "strides"),
    [(4, 4, [2, 1, 2, 1]), (16, 4, [2, 2, 2, 2]), (31, 4, [4, 2, 2, 2]), (8, 3, [2, 2, 2]), (2, 1, [2])],
)
def test_strides_in_time_are_those_of_the_released_code(frames, layers, strides):
    assert time_strides(frames, layers) == strides


@pytest.mark.parametrize("frames", [(4, 1, 64, 64), (16, 1, 64, 64), (31, 3, 64, 64)], ids=str)
def test_3d_convolutions_end_in_4_by_4_maps(frames):
    assert trunk_3d(frames, 2)(torch.randn(1, *frames)).shape == (1, 16 * 4 * 4)


# ---------------------------------------------------------------- classes


def test_the_class_is_drawn_told_and_settable():
    game = play(CONDITIONAL)
    noise = noise_of(game, 8)
    y = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    made = game.condition(noise, y)
    assert not torch.allclose(made, game.condition(noise, y.flip(0)))
    drawn = (noise["class"][:, 0] * CLASSES).long()
    assert len(drawn.unique()) > 1
    assert torch.equal(game.sample(noise), game.condition(noise, drawn))
    assert not torch.allclose(game.reconstruct(data(8), y), game.reconstruct(data(8), y.flip(0)))


def test_real_sequences_are_judged_with_their_classes_and_generated_ones_with_theirs(monkeypatch):
    game = play(CONDITIONAL)
    noise = noise_of(game, 8, training=True)
    noise |= game.precompute(noise)
    seen = {}
    monkeypatch.setattr(game, "judge", lambda side, values, noise: seen.setdefault(side, values))
    game._sides(data(8), noise)
    assert torch.equal(seen["q"]["class"].argmax(1), noise["y"])
    assert torch.equal(seen["p"]["class"].argmax(1), (noise["class"][:, 0] * CLASSES).long())
    assert not torch.equal(noise["y"], seen["p"]["class"].argmax(1))
    assert torch.equal(seen["p"]["x3"], noise["p x3"])


@pytest.mark.parametrize("name", [LOCAL, "3dcnn-conditional", "graphical-gan-statespace-2018"])
def test_images_are_refused(name):
    model = registry.models.get(name)
    with pytest.raises(UserError, match=r"needs sequences of at least 2 frames, got shape \(3, 8, 8\)"):
        model.build(data_spec(3, 8, 8), model.settings(DENSE), 0)


def test_networks_of_2018_have_the_released_sizes():
    """Li et al. 2018, code: G and O, E1, E2 and the critics on 16 frames of 64 x 64, millions, no classes."""
    model = registry.models.get("graphical-gan-statespace-2018")
    game = model.build(data_spec(16, 1, 64, 64), model.settings(DENSE), 0)

    def size(module: nn.Module) -> float:
        return round(sum(p.numel() for p in module.parameters()) / 1e6, 2)

    assert isinstance(game, GraphicalGAN)
    assert size(game.p) == 1.71 and size(game.q["h"]) == 1.61 and size(game.q["v"]) == 1.11
    assert [size(game.critics[key]) for key in ("x", "v", "h")] == [3.51, 0.53, 0.59]
