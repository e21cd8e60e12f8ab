"""Losses of two-player games: logits in, scalar out; and the gradient penalties. Means over the batch, in nats.

Logits have shape (n, 1) or (n,); real logits come from data, fake ones from generated images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

LOGIT_CEILING = 10.0  # exp(logit) of the maximum-likelihood cost is carried by the largest few logits


def gan_discriminator(real: Tensor, fake: Tensor, real_target: float = 1.0, fake_target: float = 0.0) -> Tensor:
    """Cross-entropy of real against fake, halved. Goodfellow et al. 2014, eq. 1; log 2 at logits 0.

    Args:
        real, fake: logits.
        real_target, fake_target: probabilities of "real" that D aims at; for densities p and q the optimal D is
            (real_target p + fake_target q) / (p + q). Salimans et al. 2016, section 3.4.
    """
    # The cross-entropy of a logit l against a target t is softplus(l) - t l.
    first = softplus(-real) + (1 - real_target) * real
    return 0.5 * (first.mean() + (softplus(fake) - fake_target * fake).mean())


def gan_generator_minimax(fake: Tensor) -> Tensor:
    """E log(1 - D(G)), which saturates when D rejects the fakes. Goodfellow et al. 2014, eq. 1."""
    return -softplus(fake).mean()


def gan_generator_nonsaturating(fake: Tensor) -> Tensor:
    """-E log D(G), the heuristic cost that keeps its gradient. Goodfellow et al. 2014, section 3."""
    return softplus(-fake).mean()


def gan_generator_maximum_likelihood(fake: Tensor) -> Tensor:
    """-E exp(logit), whose expected gradient is that of KL(data || model) at the optimal D. Goodfellow 2014b.

    Logits are cut at LOGIT_CEILING, beyond which one sample would carry the whole gradient.
    """
    return -fake.clamp(max=LOGIT_CEILING).exp().mean()


def least_squares_discriminator(real: Tensor, fake: Tensor, a: float, b: float) -> Tensor:
    """Squared distance to the codes a (fake) and b (real), halved. Mao et al. 2017, eq. 2."""
    return 0.5 * ((real - b).square().mean() + (fake - a).square().mean())


def least_squares_generator(fake: Tensor, c: float) -> Tensor:
    """Squared distance of the fakes to the code c, halved. Mao et al. 2017, eq. 2."""
    return 0.5 * (fake - c).square().mean()


def wasserstein_critic(real: Tensor, fake: Tensor) -> Tensor:
    """Negative estimate of the Wasserstein-1 distance. Arjovsky et al. 2017, Algorithm 1."""
    return fake.mean() - real.mean()


def wasserstein_generator(fake: Tensor) -> Tensor:
    """Negative mean critic value of the fakes. Arjovsky et al. 2017, Algorithm 1."""
    return -fake.mean()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss with margin 1 on both sides. Miyato et al. 2018, eq. 16; 2 at logits 0."""
    return relu(1 - real).mean() + relu(1 + fake).mean()


def relativistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Cross-entropy of "more real than the fake of its pair". Jolicoeur-Martineau 2019; log 2 at 0."""
    return softplus(fake - real).mean()


def relativistic_generator(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's loss with both sides of each pair swapped. Huang et al. 2024, eq. 2."""
    return relativistic_discriminator(fake, real)


def pair_critic(q_logits: Tensor, p_logits: Tensor) -> Tensor:
    """Cross-entropy of (x, E(x)) as class 1 against (G(z), z). Dumoulin et al. 2017, eq. 4; 2 log 2 at logits 0.

    Args:
        q_logits: of pairs of data and their codes.
        p_logits: of pairs of generated data and the codes that they are generated from.
    """
    return softplus(-q_logits).mean() + softplus(p_logits).mean()


def pair_generator(q_logits: Tensor, p_logits: Tensor) -> Tensor:
    """The critic's loss with both classes swapped: E learns through q, G through p. Dumoulin et al. 2017, 2.2.

    Args:
        q_logits, p_logits: as for `pair_critic`; 2 log 2 at logits 0.
    """
    return pair_critic(p_logits, q_logits)


def _slopes(critic: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the gradient of each logit with respect to its own image, (n, pixels)."""
    # torch.func.grad, not autograd.grad: the latter cannot run inside vmap over seeds.
    return torch.func.grad(lambda images: critic(images).sum())(x).flatten(1)


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """Two-sided penalty E(|grad D| - 1)^2 at random points between real and fake. Gulrajani et al. 2017, eq. 3.

    Args:
        critic: maps images to logits, each from its own image only (no batch norm).
        real, fake: (n, *shape).
        mix: (n, 1) in [0, 1], the weight of the real image.
    """
    mix = mix.reshape(-1, *[1] * (real.dim() - 1))
    slopes = _slopes(critic, mix * real + (1 - mix) * fake)
    lengths = (slopes.square().sum(1) + 1e-12).sqrt()  # the root has no derivative at 0
    return (lengths - 1).square().mean()


def r1_penalty(critic: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """E|grad D|^2, without the factor 1/2: R1 at data, R2 at fakes. Mescheder et al. 2018, eq. 9 times 2 / gamma.

    Args:
        critic: maps images to logits, each from its own image only (no batch norm).
        x: (n, *shape).
    """
    return _slopes(critic, x).square().sum(1).mean()


def gaussian_prior(parameters: Iterable[Tensor], precision: float) -> Tensor:
    """-log N(theta; 0, I / precision) up to a constant, summed over all parameters."""
    return 0.5 * precision * torch.stack([parameter.square().sum() for parameter in parameters]).sum()
