"""The two algorithms on a graph: losses, gradients, estimators, and a structure that is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from ganbench import registry
from ganbench.distributions.noise import Normal, draw
from ganbench.errors import UserError
from ganbench.game.contract import DataSpec
from ganbench.graphical.game import GraphicalConfig, GraphicalGAN
from ganbench.graphical.graph import Graph, Node
from ganbench.graphical.nodes import Categorical, CategoricalHead, Concat, Joint, Mixture, Root, draw_class
from ganbench.layers.networks import MLP, Conv

IMAGES = DataSpec("images", (1, 8, 8), 0, torch.zeros(1, 8, 8))
POINTS = DataSpec("points", (3,), 0, torch.zeros(3))
SMALL = GraphicalConfig(backbone=MLP(generator=(12,), critic=(10,), generator_norm="none"), joint=7)


class Pair(GraphicalGAN):
    """z -> x; not registered, for it has no name of its own."""

    def __init__(self, data: DataSpec, config: GraphicalConfig = SMALL, q: dict | None = None) -> None:
        super().__init__(data, config)
        p = {"z": Root(Normal(4)), "x": config.backbone.make_generator(4, data.shape)}
        graph = Graph(Node("z"), Node("x", ("z",), observed=True))
        self.build_networks(graph, p, q if q is not None else {"z": config.backbone.make_encoder(data.shape, 4)})


class Triple(GraphicalGAN):
    """Three variables that depend on all before them: its last factor holds everything."""

    def __init__(self, data: DataSpec, config: GraphicalConfig = SMALL) -> None:
        super().__init__(data, config)
        net = config.backbone
        self.build_networks(
            Graph(Node("a"), Node("b", ("a",)), Node("x", ("a", "b"), observed=True)),
            {"a": Root(Normal(2)), "b": nn.Linear(2, 3), "x": Concat(net.make_generator(5, data.shape))},
            {"b": net.make_encoder(data.shape, 3), "a": Joint(net, [(3,), data.shape], (6,), (6,), outputs=2)},
        )


def mixture(name: str = "graphical-gan-mixture", data: DataSpec = IMAGES, **settings):
    backbone = {"kind": "mlp", "generator": [12], "critic": [10]}
    model = registry.models.get(name)
    tree = model.settings(backbone, {"latent": 4, "clusters": 3, "joint": 7, **settings})
    return model.build(data, tree, 0).double()


def noise_of(game, n: int, seed: int = 0) -> dict[str, Tensor]:
    like = torch.empty(0, dtype=torch.float64)
    laws = draw(game.noise(), n, [torch.Generator().manual_seed(seed)], like)
    noise = {name: value[0] for name, value in laws.items()}
    return noise | game.precompute(noise)


def silence(game) -> None:
    """Make all critics say 0."""
    for critic in game.critics.values():
        *_, last = (layer for layer in critic.modules() if isinstance(layer, nn.Linear))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)


X = torch.rand(6, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 2 - 1


@pytest.mark.parametrize("name", ["graphical-gan-mixture", "graphical-gan-mixture-global", "graphical-gan-style"])
def test_losses_of_silent_critics_average_over_factors(name):
    game = mixture(name)
    silence(game)
    noise = noise_of(game, 6)
    for loss in (game.critics_loss(X, noise), game.model_loss(X, noise)):
        assert loss.item() == pytest.approx(2 * math.log(2), abs=1e-12)


def test_one_factor_of_all_variables_is_the_global_loss():
    local, whole = Pair(IMAGES).double(), Pair(IMAGES, replace(SMALL, algorithm="global")).double()
    assert local.factors == whole.factors == (("x", "z"),)
    whole.load_state_dict({k.replace("critics.x.", "critics.all."): v for k, v in local.state_dict().items()})
    noise = noise_of(local, 6)
    for loss in ("critics_loss", "model_loss"):
        assert getattr(local, loss)(X, noise).item() == getattr(whole, loss)(X, noise).item()


def test_local_loss_is_the_mean_of_each_factors_own():
    game = mixture()
    noise = noise_of(game, 6)
    h = game.encode(X)
    log = (game.q["k"].log_probabilities(h) - (-noise["k of k"].log()).log()) / 0.1
    q = {"h": (h, log.softmax(1)), "x": (X, h)}
    k = torch.nn.functional.one_hot((noise["k"][:, 0] * 3).long(), 3).double()
    made = k @ game.p["h"].means + noise["h"]
    p = {"h": (made, k), "x": (game.p["x"](made), made)}
    softplus = nn.functional.softplus
    critics, model = [], []
    for key in ("h", "x"):
        a, b = game.critics[key](*q[key]), game.critics[key](*p[key])
        critics.append(softplus(-a).mean() + softplus(b).mean())
        model.append(softplus(a).mean() + softplus(-b).mean())
    assert game.critics_loss(X, noise).item() == pytest.approx(sum(critics).item() / 2, abs=1e-12)
    assert game.model_loss(X, noise).item() == pytest.approx(sum(model).item() / 2, abs=1e-12)


def test_critics_see_the_relaxed_class_of_data_and_the_class_of_samples():
    game = mixture()
    noise = noise_of(game, 6)
    known, score = game.recognise(game.observe(X, noise), noise)
    assert score is None
    assert torch.allclose(known["k"].sum(1), torch.ones(6, dtype=torch.float64))
    assert set(noise["p k"].unique().tolist()) <= {0.0, 1.0}


def gradient(game, loss: Tensor) -> dict[str, float]:
    grads = torch.autograd.grad(loss, list(game.parameters()), allow_unused=True)
    names = [name for name, _ in game.named_parameters()]
    return {n: 0.0 if g is None else g.abs().sum().item() for n, g in zip(names, grads, strict=True)}


def only(game, factor: str):
    """Silence all critics but that of one factor."""
    keep = {k: v.clone() for k, v in game.critics[factor].state_dict().items()}
    silence(game)
    game.critics[factor].load_state_dict(keep)


def test_gradients_reach_what_each_factor_holds():
    noise = noise_of(mixture(), 6)
    game = mixture()
    only(game, "x")
    found = gradient(game, game.model_loss(X, noise_of(game, 6)))
    assert found["q.h.blocks.0.1.weight"] > 0 and found["p.h.means"] > 0
    assert any(value > 0 for name, value in found.items() if name.startswith("p.x"))
    game = mixture()
    only(game, "h")
    found = gradient(game, game.model_loss(X, noise_of(game, 6)))
    assert found["p.h.means"] > 0 and found["q.h.blocks.0.1.weight"] > 0
    assert not any(value > 0 for name, value in found.items() if name.startswith("p.x"))
    assert noise  # the premise: both games were built from the same seed


def test_posterior_is_bayes_rule():
    game = mixture()
    h = torch.randn(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    means = game.p["h"].means
    laws = torch.distributions.MultivariateNormal(means, torch.eye(4, dtype=torch.float64))
    joint = laws.log_prob(h[:, None]).exp() / 3
    bayes = joint / joint.sum(1, keepdim=True)
    assert torch.allclose(game.q["k"](h), bayes, atol=1e-12)
    shift = torch.full((4,), 0.7, dtype=torch.float64)
    with torch.no_grad():
        means += shift
    assert torch.allclose(game.q["k"](h + shift), bayes, atol=1e-12)


def test_cold_relaxed_draws_are_classes_with_the_right_frequencies():
    law = torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64)
    uniform = torch.rand(200_000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    soft = draw_class(law.log().expand(200_000, 3), uniform, "concrete", 1e-4)
    assert soft.amax(1).min() > 0.5 and (soft.amax(1) > 0.999).double().mean() > 0.99
    assert torch.allclose(soft.mean(0), law, atol=4e-3)  # 3.5 standard errors
    hard = draw_class(law.log().expand(200_000, 3), uniform, "straight-through", 0.1)
    assert torch.allclose(hard.mean(0), law, atol=4e-3) and hard.unique().numel() <= 4  # up to rounding


def test_straight_through_has_the_relaxed_gradient():
    log = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    weights, uniform = torch.randn(5, 3, dtype=torch.float64), torch.rand(5, 3, dtype=torch.float64)
    grads = [
        torch.autograd.grad((draw_class(log.log_softmax(1), uniform, kind, 0.5) * weights).sum(), log)[0]
        for kind in ("concrete", "straight-through")
    ]
    assert torch.equal(*grads)


def test_reinforce_is_unbiased():
    game = mixture(estimator="reinforce")
    x = X[:1]
    exact_cost = 0.0
    h = game.encode(x)
    posterior = game.q["k"](h)
    assert posterior.max() < 0.95, "a class that is certain has no gradient"
    for k in range(3):
        hot = torch.eye(3, dtype=torch.float64)[k][None]
        logit = game.critics["h"](h.detach(), hot)
        exact_cost = exact_cost + posterior[0, k] * nn.functional.softplus(logit).detach().mean() / 2
    wanted = torch.autograd.grad(exact_cost, game.p["h"].means, retain_graph=True)[0]
    # The p side and the factor (x, h) pull at the means too: with REINFORCE alone left, only the score does.
    n = 20_000
    uniform = torch.rand(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    hard, score = game.q["k"](h.expand(n, -1), draw=uniform)
    cost = nn.functional.softplus(game.critics["h"](h.detach().expand(n, -1), hard))[:, 0].detach() / 2
    surrogate = ((cost - cost.mean()) * score).mean()
    found = torch.autograd.grad(surrogate, game.p["h"].means)[0]
    assert wanted.abs().max() > 1e-5
    assert (found - wanted).abs().max() < 0.15 * wanted.abs().max()


def test_reinforce_enters_the_loss_without_changing_its_value():
    game, relaxed = mixture(estimator="reinforce"), mixture(estimator="straight-through")
    noise = noise_of(game, 6)
    known, score = game.recognise({"x": X}, noise)
    assert score.shape == (6,) and (score <= 0).all()
    cost = torch.stack([nn.functional.softplus(q).mean(0) for q in game.judge("q", known, noise).values()])
    extra = ((cost.mean(0) - cost.mean()) * score).mean()
    plain = relaxed.model_loss(X, noise)
    assert game.model_loss(X, noise).item() == pytest.approx((plain + extra).item(), abs=1e-12)


def test_reconstruction_term_is_the_error_of_grey_levels():
    game, plain = mixture(reconstruction=2.0), mixture()
    noise = noise_of(game, 6)
    error = ((game.reconstruct(X) - X) / 2).square().mean()
    gap = game.model_loss(X, noise) - plain.model_loss(X, noise)
    assert gap.item() == pytest.approx(2 * error.item(), abs=1e-12)


def test_noise_on_critics_blurs_all_that_they_see():
    game, plain = mixture(critic_noise=0.5), mixture()
    noise = noise_of(game, 6)
    values = {"x": X, "h": game.encode(X), "k": torch.eye(3, dtype=torch.float64).repeat(2, 1)}
    parts = noise["blur q x h"].split([64, 4], 1)
    seen = values["x"] + 0.5 * parts[0].reshape(X.shape), values["h"] + 0.5 * parts[1]
    assert torch.equal(game.judge("q", values, noise)["x"][0], plain.critics["x"](*seen)[:, 0])
    assert torch.equal(game.judge("q", values, {})["x"], plain.judge("q", values, {})["x"])


def test_verdicts_count_real_above_zero_and_generated_below():
    game = mixture()
    silence(game)
    with torch.no_grad():
        for key, bias in (("x", 1.0), ("h", 0.0)):  # one that says real to everything, one that says nothing
            *_, last = (layer for layer in game.critics[key].modules() if isinstance(layer, nn.Linear))
            last.bias.fill_(bias)
    noise = {k: v for k, v in noise_of(game, 6).items() if not k.startswith("p ")}
    verdicts = game.discriminate(X, noise)
    assert {key: right.tolist() for key, right in verdicts.items()} == {"x": [0.5] * 6, "h": [0.5] * 6}
    sharp = mixture()
    noise = noise_of(sharp, 6)
    q = sharp.judge("q", sharp.recognise({"x": X}, noise)[0], noise)
    p = sharp.judge("p", {"x": noise["p x"], "h": noise["p h"], "k": noise["p k"]}, noise)
    right = sharp.discriminate(X, noise)
    for key in ("x", "h"):
        pair = q[key][0], p[key][0]
        assert right[key].mul(2).tolist() == [float(a > 0) + float(b <= 0) for a, b in zip(*pair, strict=True)]


class Chain(GraphicalGAN):
    """Two tied frames after one state, to compare batches with single calls."""

    def __init__(self, data: DataSpec, config: GraphicalConfig = SMALL) -> None:
        super().__init__(data, config)
        nodes = [Node("h"), *(Node(f"x{t}", ("h", f"e{t}"), True, net="x") for t in (1, 2))]
        nodes += [Node(f"e{t}", net="e") for t in (1, 2)]
        self.build_networks(
            Graph(*nodes),
            {"h": Root(Normal(2)), "e": Root(Normal(1)), "x": Concat(nn.Linear(3, 3))},
            {"h": Concat(nn.Linear(6, 2)), "e": nn.Linear(3, 1)},
            recognition="mean-field",
        )

    def observe(self, x, batch):
        return {"x1": x[:, :3], "x2": x[:, 3:]}

    def assemble(self, values):
        return torch.cat([values["x1"], values["x2"]], 1)


def test_tied_networks_in_one_call_equal_single_calls():
    game = Chain(DataSpec("points", (6,), 0, torch.zeros(6))).double()
    noise = noise_of(game, 5)
    values = game.generate(noise, {})
    for t in (1, 2):
        one = game.p["x"](values["h"], noise[f"e{t}"])
        assert torch.allclose(values[f"x{t}"], one, atol=1e-14)
    x = torch.randn(5, 6, dtype=torch.float64)
    logits = game.judge("q", game.recognise(game.observe(x, {}), {})[0], {})
    assert {key: tuple(v.shape) for key, v in logits.items()} == {"h": (1, 5), "x": (2, 5)}
    e2 = game.q["e"](x[:, 3:])
    h = game.q["h"](x[:, :3], x[:, 3:])
    assert torch.allclose(logits["x"][1], game.critics["x"](x[:, 3:], h, e2)[:, 0], atol=1e-14)


def test_networks_that_miss_or_belong_to_nothing_are_named():
    with pytest.raises(UserError, match="q has no network 'z' that draws z given x"):
        Pair(IMAGES, q={})
    with pytest.raises(UserError, match="q has a network 'y' that draws nothing"):
        Pair(IMAGES, q={"z": nn.Linear(1, 1), "y": nn.Linear(1, 1)})


class Leaf(GraphicalGAN):
    """A code with two observed children, one of which the data do not show."""

    def __init__(self, data: DataSpec, config: GraphicalConfig = SMALL) -> None:
        super().__init__(data, config)
        net = config.backbone
        self.build_networks(
            Graph(Node("h"), Node("x", ("h",), observed=True), Node("level", ("h",), observed=True)),
            {"h": Root(Normal(4)), "x": net.make_generator(4, data.shape), "level": nn.Linear(4, 1)},
            {"h": Concat(nn.Linear(65, 4))},
        )

    def observe(self, x, batch):
        return {"x": x, "level": x.mean((1, 2, 3))[:, None]}


def test_every_generated_variable_is_judged_as_it_was_generated():
    game = Leaf(IMAGES).double()
    noise = noise_of(game, 6)
    assert torch.equal(noise["p level"], game.p["level"](noise["h"]))
    found = gradient(game, game.model_loss(X, noise))
    assert found["p.level.weight"] > 0


def test_any_lone_factor_of_all_variables_is_the_global_loss():
    class TwoRoots(GraphicalGAN):
        def __init__(self, data: DataSpec, config: GraphicalConfig = SMALL) -> None:
            super().__init__(data, config)
            net = config.backbone
            self.build_networks(
                Graph(Node("a"), Node("b"), Node("x", ("a", "b"), observed=True)),
                {"a": Root(Normal(2)), "b": Root(Normal(3)), "x": Concat(net.make_generator(5, data.shape))},
                {"b": net.make_encoder(data.shape, 3), "a": Joint(net, [(3,), data.shape], (6,), (6,), outputs=2)},
            )

    local, whole = TwoRoots(IMAGES).double(), TwoRoots(IMAGES, replace(SMALL, algorithm="global")).double()
    assert local.factors == whole.factors == (("x", "a", "b"),)
    whole.load_state_dict({k.replace("critics.x.", "critics.all."): v for k, v in local.state_dict().items()})
    noise = noise_of(local, 6)
    assert local.critics_loss(X, noise).item() == whole.critics_loss(X, noise).item()


class Both(GraphicalGAN):
    """A chain of two latent variables that is recognised twice."""

    def __init__(self, data: DataSpec, config: GraphicalConfig = SMALL) -> None:
        super().__init__(data, config)
        net = config.backbone
        self.build_networks(
            Graph(Node("a"), Node("b", ("a",)), Node("x", ("b",), observed=True)),
            {"a": Root(Normal(2)), "b": nn.Linear(2, 3), "x": net.make_generator(3, data.shape)},
            {
                "b": net.make_encoder(data.shape, 3),
                "a": nn.Linear(3, 2),
                "b again": Joint(net, [(2,), data.shape], (6,), (6,), outputs=3),
            },
            recognition="both",
        )


def test_both_recognitions_use_every_network():
    game = Both(IMAGES).double()
    found = gradient(game, game.model_loss(X, noise_of(game, 6)))
    assert all(value > 0 for name, value in found.items() if name.startswith("q."))


def test_shapes_that_differ_between_the_sides_are_named():
    with pytest.raises(UserError, match=r"z has shape \(4,\) in p and \(5,\) in q"):
        Pair(IMAGES, q={"z": SMALL.backbone.make_encoder(IMAGES.shape, 5)})


def test_two_images_need_a_critic_of_their_own():
    with pytest.raises(ValueError, match="one image beside vectors"):
        Joint(MLP(), [(1, 8, 8), (1, 8, 8)], (5,), (5,))


@pytest.mark.parametrize("backbone", [MLP(critic=(9,)), Conv(width=4)])
def test_every_weight_of_a_joint_network_is_used(backbone):
    net = Joint(backbone, [(3,), (1, 8, 8), (2,)], (5, 4), (6,))
    out = net(torch.randn(4, 3), torch.randn(4, 1, 8, 8), torch.randn(4, 2))
    assert out.shape == (4, 1)
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(out.sum(), list(net.parameters())))


def test_every_variable_of_the_global_critic_matters():
    game = Triple(IMAGES, replace(SMALL, algorithm="global")).double()
    noise = noise_of(game, 6)
    values = {n: v.requires_grad_() for n, v in game.generate(noise, {}).items()}
    logits = game.judge("p", {n: v.detach().requires_grad_() for n, v in values.items()}, {})
    assert list(logits) == ["all"]
    fresh = {n: v.detach().requires_grad_() for n, v in values.items()}
    grads = torch.autograd.grad(game.judge("p", fresh, {})["all"].sum(), list(fresh.values()))
    assert all(g.abs().sum() > 0 for g in grads)


def test_full_size_networks_have_the_published_numbers_of_parameters():
    data = DataSpec("mnist", (1, 28, 28), 10, torch.zeros(1, 28, 28))
    model = registry.models.get("graphical-gan-mixture-2018")
    game = model.build(data, model.settings({"kind": "mlp"}), 0)

    def millions(module) -> float:
        return sum(parameter.numel() for parameter in module.parameters()) / 1e6

    # Counted from the layer tables of the released code, section 1.1 of our recipes.
    # There BN has gains for all 4096 units of G's first layer, and layers before BN have biases: .012 more.
    assert millions(game.p) + 0.012 == pytest.approx(1.567, abs=0.001)
    assert millions(game.q) == pytest.approx(1.551, abs=0.01)
    assert millions(game.critics["x"]) == pytest.approx(3.452, abs=0.005)
    assert millions(game.critics["h"]) == pytest.approx(0.607, abs=0.001)
    game = registry.models.get("graphical-gan-mixture-global-2018").build(
        data, registry.models.get("graphical-gan-mixture-global-2018").settings({"kind": "mlp"}), 0
    )
    assert millions(game.critics) == pytest.approx(3.468, abs=0.005)


def test_class_of_normalises():
    net = CategoricalHead(nn.Linear(4, 3), 3, "concrete", 0.1)
    assert torch.allclose(net(torch.randn(6, 4)).sum(1), torch.ones(6))
    assert Categorical(3)(torch.tensor([[0.0], [0.5], [0.9999999999]])).argmax(1).tolist() == [0, 1, 2]
    assert Mixture(3, 2, 0.0)(torch.eye(3), torch.zeros(3, 2)).abs().sum() == 0
