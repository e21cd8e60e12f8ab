"""The laws of noise have the moments and the range that they declare."""

from __future__ import annotations

import pytest
import torch

from ganbench.distributions.noise import Normal, Uniform


def test_laws_have_their_moments():
    generator = torch.Generator().manual_seed(0)
    normal = Normal(4).fill(torch.empty(50_000, 4, dtype=torch.float64), generator)
    assert normal.mean().item() == pytest.approx(0, abs=0.01) and normal.var().item() == pytest.approx(1, abs=0.02)
    uniform = Uniform(4, low=-2.0, high=3.0).fill(torch.empty(50_000, 4, dtype=torch.float64), generator)
    assert uniform.min() >= -2 and uniform.max() < 3
    assert uniform.mean().item() == pytest.approx(0.5, abs=0.02)
    assert uniform.var().item() == pytest.approx(25 / 12, abs=0.02)
