"""Losses of the literature as functions of logits, samples or densities."""

from ganbench.losses.adversarial import (
    LOGIT_CEILING,
    gan_discriminator,
    gan_generator_maximum_likelihood,
    gan_generator_minimax,
    gan_generator_nonsaturating,
    gaussian_prior,
    gradient_penalty,
    hinge_discriminator,
    langevin_force,
    least_squares_discriminator,
    least_squares_generator,
    pair_critic,
    pair_generator,
    r1_penalty,
    wasserstein_critic,
    wasserstein_generator,
)
from ganbench.losses.divergences import NAMES, Divergence, divergence
from ganbench.losses.gaussian import normal_divergence, normal_log_density
from ganbench.losses.mmd import Kernel, gaussian, mmd, mmd2, rational_quadratic, squared_distances
from ganbench.losses.ratios import RATIO_LOSSES, RatioLoss, log_softplus, reverse_kl, ulsif

__all__ = [
    "LOGIT_CEILING",
    "NAMES",
    "RATIO_LOSSES",
    "Divergence",
    "Kernel",
    "RatioLoss",
    "divergence",
    "gan_discriminator",
    "gan_generator_maximum_likelihood",
    "gan_generator_minimax",
    "gan_generator_nonsaturating",
    "gaussian",
    "gaussian_prior",
    "gradient_penalty",
    "hinge_discriminator",
    "langevin_force",
    "least_squares_discriminator",
    "least_squares_generator",
    "log_softplus",
    "mmd",
    "mmd2",
    "normal_divergence",
    "normal_log_density",
    "pair_critic",
    "pair_generator",
    "r1_penalty",
    "rational_quadratic",
    "reverse_kl",
    "squared_distances",
    "ulsif",
    "wasserstein_critic",
    "wasserstein_generator",
]
