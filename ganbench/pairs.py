"""The critic of pairs (x, z), from a backbone: ALI, BiGAN and their relatives."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganbench.backbones import MLP, Backbone


class PairCritic(nn.Module):
    """Features of an image meet those of z in dense layers, as in Li et al. 2018; a vector meets z at the input.

    Args:
        backbone: whose critic, less its head, gives the features of an image, or judges vector and z joined.
        shape: of x.
        latent: size of z.
        branch: hidden widths on z, for images.
        joint: hidden widths on both, for images.
    """

    def __init__(
        self,
        backbone: Backbone,
        shape: tuple[int, ...],
        latent: int,
        branch: tuple[int, ...] = (512, 512),
        joint: tuple[int, ...] = (512, 512),
    ) -> None:
        super().__init__()
        self.trunk = self.branch = None
        if len(shape) == 1:
            self.joint = backbone.make_critic((shape[0] + latent,))
            return
        self.trunk = backbone.make_encoder(shape, 1)
        *_, head = (layer for layer in self.trunk.modules() if isinstance(layer, nn.Linear))
        self.trunk.blocks[-1] = nn.Flatten()
        self.branch = MLP(critic=branch).make_critic((latent,))
        self.branch.blocks[-1] = nn.Flatten()
        self.joint = MLP(critic=joint).make_critic((head.in_features + (latent, *branch)[-1],))

    @property
    def mask_size(self) -> int:
        """Number of uniform draws per pair that the backbone's dropout needs."""
        return (self.trunk or self.joint).mask_size

    def forward(self, x: Tensor, z: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Return the logits (n, 1) of x (n, *shape) and z (n, latent); `uniform` (n, mask_size) drops out."""
        if self.trunk is None or self.branch is None:
            return self.joint(torch.cat([x, z], 1), uniform)
        return self.joint(torch.cat([self.trunk(x, uniform), self.branch(z)], 1))
