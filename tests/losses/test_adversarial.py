"""Losses and penalties against closed forms, and the signs of their gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from ganbench.losses import adversarial


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(-1, 1).requires_grad_()


def gradient(loss: Tensor, of: Tensor) -> list[float]:
    return torch.autograd.grad(loss, of)[0].flatten().tolist()


ZERO = column(0.0, 0.0, 0.0)
LEAST_SQUARES = {"codes": (-1.0, 1.0, 0.0), "codes-01": (0.0, 1.0, 1.0)}


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("gan_discriminator", (ZERO, ZERO), math.log(2)),
        ("gan_generator_minimax", (ZERO,), -math.log(2)),
        ("gan_generator_nonsaturating", (ZERO,), math.log(2)),
        ("gan_generator_maximum_likelihood", (ZERO,), -1.0),
        ("hinge_discriminator", (ZERO, ZERO), 2.0),
        ("wasserstein_critic", (ZERO, ZERO), 0.0),
        ("wasserstein_critic", (column(1.0, 3.0), column(0.5, 0.5)), -1.5),
        ("wasserstein_generator", (column(1.0, 3.0),), -2.0),
        # a perfect discriminator
        ("gan_discriminator", (column(800.0), column(-800.0)), 0.0),
        ("hinge_discriminator", (column(1.0), column(-1.0)), 0.0),
        ("hinge_discriminator", (column(800.0), column(-800.0)), 0.0),
        # one that is wrong everywhere pays its logits
        ("gan_discriminator", (column(-800.0), column(800.0)), 800.0),
        ("hinge_discriminator", (column(-800.0), column(800.0)), 1602.0),
        ("gan_generator_nonsaturating", (column(-800.0),), 800.0),
        ("gan_generator_minimax", (column(800.0),), -800.0),
        ("gan_generator_maximum_likelihood", (column(800.0),), -math.exp(10)),
        ("gan_generator_maximum_likelihood", (column(3.0),), -math.exp(3)),
        # unequal batches weigh equally
        ("gan_discriminator", (column(0.0), column(0.0, 0.0, 0.0)), math.log(2)),
    ],
)
def test_known_values(name, arguments, expected):
    assert all(logits.dtype == torch.float64 for logits in arguments)
    loss = getattr(adversarial, name)(*arguments)
    assert loss.shape == () and loss.dtype == torch.float64
    assert loss.item() == pytest.approx(expected, rel=1e-12, abs=1e-12)
    flat = getattr(adversarial, name)(*(logits.flatten() for logits in arguments))
    assert flat.item() == loss.item()  # (n,) and (n, 1) are the same


def test_discriminator_at_the_optimum_is_log_2_minus_the_divergence():
    # p = (.7, .3), q = (.2, .8) on two points: repeated draws in these shares, logits log p/q
    logit = {0: math.log(0.7 / 0.2), 1: math.log(0.3 / 0.8)}
    real = column(*[logit[0]] * 7, *[logit[1]] * 3)
    fake = column(*[logit[0]] * 2, *[logit[1]] * 8)
    middle = (0.45, 0.55)
    js = 0.5 * sum(
        p * math.log(p / m) + q * math.log(q / m) for p, q, m in zip((0.7, 0.3), (0.2, 0.8), middle, strict=True)
    )
    loss = adversarial.gan_discriminator(real, fake)
    assert loss.item() == pytest.approx(math.log(2) - js, rel=1e-12)
    # and no common shift of the logits lowers it
    slope = sum(gradient(loss, real)) + sum(gradient(adversarial.gan_discriminator(real, fake), fake))
    assert slope == pytest.approx(0, abs=1e-12)


def test_label_smoothing_moves_the_optimum_to_the_mixture_of_targets():
    # p = (.7, .3), q = (.2, .8) on two points, as above
    for alpha, beta in ((1.0, 0.0), (0.9, 0.0), (0.9, 0.1), (0.75, 0.3)):
        best = [(alpha * p + beta * q) / (p + q) for p, q in ((0.7, 0.2), (0.3, 0.8))]
        logits = torch.tensor(best, dtype=torch.float64).logit().requires_grad_()
        real, fake = logits[[0] * 7 + [1] * 3], logits[[0] * 2 + [1] * 8]
        loss = adversarial.gan_discriminator(real, fake, alpha, beta)
        assert gradient(loss, logits) == pytest.approx([0, 0], abs=1e-12)
        # and the loss is the cross-entropy against the soft targets
        expected = binary_cross_entropy_with_logits(real, torch.full_like(real, alpha))
        expected = expected + binary_cross_entropy_with_logits(fake, torch.full_like(fake, beta))
        assert loss.item() == pytest.approx(expected.item() / 2, rel=1e-12)


def test_hard_labels_are_the_plain_loss_bit_for_bit():
    real, fake = torch.linspace(-30, 30, 61), torch.linspace(50, -40, 61)
    expected = 0.5 * (softplus(-real).mean() + softplus(fake).mean())
    assert torch.equal(adversarial.gan_discriminator(real, fake), expected)
    # a confident discriminator pays for smooth labels in proportion to its logit
    assert adversarial.gan_discriminator(column(800.0), column(-800.0), real_target=0.9).item() == pytest.approx(
        40
    )


def test_only_the_minimax_cost_dies_when_the_discriminator_rejects():
    rejected = column(-40.0)
    assert abs(gradient(adversarial.gan_generator_minimax(rejected), rejected)[0]) < 1e-15
    assert gradient(adversarial.gan_generator_nonsaturating(rejected), rejected) == pytest.approx([-1.0])
    assert gradient(adversarial.wasserstein_generator(rejected), rejected) == [-1.0]
    assert gradient(adversarial.least_squares_generator(rejected, 0.0), rejected) == [-40.0]
    undecided = column(0.0)
    assert gradient(adversarial.gan_generator_minimax(undecided), undecided) == [-0.5]
    assert gradient(adversarial.gan_generator_nonsaturating(undecided), undecided) == [-0.5]


def test_maximum_likelihood_is_carried_by_the_largest_logits_up_to_the_ceiling():
    logits = column(-3.0, 0.0, 9.0, 10.5)
    slopes = gradient(adversarial.gan_generator_maximum_likelihood(logits), logits)
    assert slopes[:3] == pytest.approx([-math.exp(v) / 4 for v in (-3, 0, 9)])
    assert slopes[3] == 0  # above the ceiling


@pytest.mark.parametrize(
    "generator",
    [
        adversarial.gan_generator_minimax,
        adversarial.gan_generator_nonsaturating,
        adversarial.gan_generator_maximum_likelihood,
        adversarial.wasserstein_generator,
    ],
)
def test_every_generator_raises_the_logits_of_its_fakes(generator):
    logits = column(-5.0, -1.0, 0.0, 2.0, 6.0)
    assert max(gradient(generator(logits), logits)) < 0


@pytest.mark.parametrize(
    "critic",
    [
        adversarial.gan_discriminator,
        adversarial.wasserstein_critic,
        adversarial.hinge_discriminator,
        lambda real, fake: adversarial.least_squares_discriminator(real, fake, -1.0, 1.0),
    ],
    ids=["gan", "wasserstein", "hinge", "least-squares"],
)
def test_every_critic_raises_real_and_lowers_fake_logits(critic):
    real, fake = column(-0.9, 0.0, 0.9), column(-0.9, 0.0, 0.9)
    loss = critic(real, fake)
    up, down = torch.autograd.grad(loss, (real, fake))
    assert up.max() < 0 < down.min()


def test_hinge_leaves_logits_beyond_the_margin_alone():
    real, fake = column(0.5, 1.5), column(-1.5, -0.5)
    up, down = torch.autograd.grad(adversarial.hinge_discriminator(real, fake), (real, fake))
    assert up.flatten().tolist() == [-0.5, 0.0] and down.flatten().tolist() == [0.0, 0.5]


@pytest.mark.parametrize(("a", "b", "c"), LEAST_SQUARES.values(), ids=LEAST_SQUARES.keys())
def test_least_squares_codes(a, b, c):
    assert adversarial.least_squares_discriminator(column(b, b), column(a), a, b).item() == 0
    assert adversarial.least_squares_generator(column(c, c), c).item() == 0
    assert adversarial.least_squares_discriminator(ZERO, ZERO, a, b).item() == pytest.approx((a * a + b * b) / 2)
    assert adversarial.least_squares_generator(column(2.0, 4.0), c).item() == pytest.approx(
        ((2 - c) ** 2 + (4 - c) ** 2) / 4
    )


def test_least_squares_with_the_first_codes_measures_a_pearson_divergence():
    # At D* = (b p + a q) / (p + q) the generator's cost over p + q is chi^2(p + q || 2 q) / 2. Mao et al., eq. 7
    p, q = torch.tensor([0.7, 0.3], dtype=torch.float64), torch.tensor([0.2, 0.8], dtype=torch.float64)
    best = (p - q) / (p + q)
    cost = (p * best.square() / 2 + q * best.square() / 2).sum()
    assert cost.item() == pytest.approx((((p + q) - 2 * q).square() / (p + q)).sum().item() / 2, rel=1e-12)
    # the optimum really is one for shares of 10 draws
    real = column(*[best[0]] * 7, *[best[1]] * 3)
    fake = column(*[best[0]] * 2, *[best[1]] * 8)
    loss = adversarial.least_squares_discriminator(real, fake, -1.0, 1.0)
    up, down = torch.autograd.grad(loss, (real, fake))
    assert (up[:7].sum() + down[:2].sum()).item() == pytest.approx(0, abs=1e-12)
    assert (up[7:].sum() + down[2:].sum()).item() == pytest.approx(0, abs=1e-12)


def linear(weight: Tensor):
    return lambda x: (x.flatten(1) @ weight).unsqueeze(1)


def images(n: int, seed: int) -> Tensor:
    return torch.randn(n, 2, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("slope", "penalty"), [(1.0, 0.0), (3.0, 4.0), (0.25, 0.5625)])
def test_gradient_penalty_of_a_linear_critic(slope, penalty):
    weight = torch.ones(18, dtype=torch.float64) * slope / math.sqrt(18)
    mix = torch.rand(5, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = adversarial.gradient_penalty(linear(weight), images(5, 1), images(5, 2), mix)
    assert found.item() == pytest.approx(penalty, abs=1e-11)


def test_gradient_penalty_looks_between_real_and_fake():
    # |x|^2 / 2 has slope |x|: real at distance 3, fake at 0, and mix is the weight of the real image
    real, fake = torch.zeros(4, 1, 1, 2, dtype=torch.float64), torch.zeros(4, 1, 1, 2, dtype=torch.float64)
    real[..., 0] = 3
    mix = torch.tensor([[0.0], [1 / 3], [0.5], [1.0]], dtype=torch.float64)
    found = adversarial.gradient_penalty(lambda x: x.square().flatten(1).sum(1) / 2, real, fake, mix)
    assert found.item() == pytest.approx((1 + 0 + 0.25 + 4) / 4, abs=1e-5)  # the root at 0 is softened


def test_gradient_penalty_trains_the_critic_even_where_its_slope_is_zero():
    weight = torch.zeros(18, dtype=torch.float64, requires_grad=True)
    mix = torch.full((5, 1), 0.5, dtype=torch.float64)
    adversarial.gradient_penalty(linear(weight), images(5, 1), images(5, 2), mix).backward()
    assert weight.grad is not None and weight.grad.isfinite().all()
    steep = torch.full((18,), 2.0, dtype=torch.float64, requires_grad=True)
    adversarial.gradient_penalty(linear(steep), images(5, 1), images(5, 2), mix).backward()
    length = 2 * math.sqrt(18)  # d (|w| - 1)^2 / dw = 2 (|w| - 1) w / |w|
    assert steep.grad.tolist() == pytest.approx([2 * (length - 1) * 2 / length] * 18)


def test_r1_of_a_linear_critic_is_its_squared_norm():
    weight = torch.arange(18, dtype=torch.float64).requires_grad_()
    penalty = adversarial.r1_penalty(linear(weight), images(5, 1))
    assert penalty.item() == pytest.approx(weight.square().sum().item(), rel=1e-12)
    assert gradient(penalty, weight) == pytest.approx((2 * weight).tolist())


def test_penalties_agree_with_second_order_autograd_on_a_nonlinear_critic():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(18, 7), torch.nn.Tanh(), torch.nn.Linear(7, 1))
    net = net.double()
    x, fake, mix = images(6, 3), images(6, 4), torch.rand(6, 1, dtype=torch.float64)

    def by_autograd(point: Tensor) -> Tensor:
        point = point.detach().requires_grad_()
        return torch.autograd.grad(net(point).sum(), point, create_graph=True)[0].flatten(1)

    weights = list(net.parameters())[:3]  # the last bias has no part in any slope
    r1 = by_autograd(x).square().sum(1).mean()
    blend = mix[:, :, None, None] * x + (1 - mix[:, :, None, None]) * fake
    gp = (by_autograd(blend).norm(dim=1) - 1).square().mean()
    for expected, found in (
        (r1, adversarial.r1_penalty(net, x)),
        (gp, adversarial.gradient_penalty(net, x, fake, mix)),
    ):
        assert found.item() == pytest.approx(expected.item(), rel=1e-9)
        pairs = zip(torch.autograd.grad(expected, weights), torch.autograd.grad(found, weights), strict=True)
        assert all(torch.allclose(one, other, rtol=1e-8, atol=1e-12) for one, other in pairs)


@pytest.mark.parametrize("theta", [-1.5, 0.0, 0.3, 2.0])
def test_wasserstein_loss_of_two_parallel_lines_is_their_distance(theta):
    # Arjovsky et al. 2017, Example 1: p = (0, Z), q = (theta, Z); the best 1-Lipschitz critic is -sign(theta) x
    z = torch.rand(50, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    real, fake = torch.cat([0 * z, z], 1), torch.cat([0 * z + theta, z], 1)

    def critic(x: Tensor) -> Tensor:
        return -math.copysign(1.0, theta) * x[:, :1]

    assert adversarial.wasserstein_critic(critic(real), critic(fake)).item() == pytest.approx(
        -abs(theta), abs=1e-12
    )
    mix = torch.rand(50, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert adversarial.gradient_penalty(critic, real, fake, mix).item() == pytest.approx(0, abs=1e-11)
    # no other direction does better
    for angle in torch.linspace(0, 2 * math.pi, 37, dtype=torch.float64):
        turned = torch.stack([angle.cos(), angle.sin()])
        assert adversarial.wasserstein_critic(real @ turned, fake @ turned).item() >= -abs(theta) - 1e-12
