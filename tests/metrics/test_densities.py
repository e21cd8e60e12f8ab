"""Exact divergences in one dimension: masses in bins against closed forms, atoms, and known distances."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from ganbench import registry
from ganbench.datasets import Dataset
from ganbench.datasets import densities as sets
from ganbench.distributions.known import KnownDistribution
from ganbench.distributions.noise import Normal
from ganbench.distributions.scalar import Mixture1d
from ganbench.errors import UserError
from ganbench.evaluation.inputs import RunInputs
from ganbench.evaluation.real import RealData
from ganbench.metrics.densities import bin_masses, divergences, quantile_edges, wasserstein1

FORMS = {"exp": torch.exp, "square": torch.square, "sigmoid": torch.sigmoid, "tanh": torch.tanh}
H, MASSES = Normal(1).cells(400_000)


@dataclass(eq=False)
class Generator:
    """MetricInputs whose game gives these values over the cells of a standard normal number, in order."""

    values: Tensor
    distribution: KnownDistribution
    passes: list[int] = field(default_factory=list)
    data = SimpleNamespace(shape=(1,))

    @property
    def game(self) -> Generator:
        return self

    def noise(self) -> dict[str, Normal]:
        return {"z": Normal(1), "mask": Normal(3, training_only=True)}

    def double(self) -> None:
        self.passes.append(0)

    def float(self) -> None:
        assert self.passes[-1] == len(self.values)

    def sample(self, noise: dict[str, Tensor]) -> Tensor:
        """Return the next values, as many as there is noise."""
        start = self.passes[-1]
        assert torch.equal(noise["z"][:, 0], H[start : start + len(noise["z"])])
        self.passes[-1] += len(noise["z"])
        return self.values[start : self.passes[-1], None]


def score(name: str, values: Tensor, truth: KnownDistribution):
    return registry.metrics.get(name).compute(Generator(values, truth), "")


@pytest.mark.parametrize("form", FORMS)
def test_masses_of_300_bins_are_within_1_percent_of_the_closed_form(form: str) -> None:
    law = sets.LAWS[f"implicit-{form}"][1]
    values = FORMS[form](H)
    ends = law.quantile(torch.tensor([0.001, 0.999], dtype=torch.float64))
    inner = torch.linspace(float(ends[0]), float(ends[1]), 299, dtype=torch.float64)
    edges = torch.cat([inner.new_tensor([-math.inf]), inner, inner.new_tensor([math.inf])])
    found, atoms = bin_masses(values, MASSES, edges)
    below = torch.cat([inner.new_zeros(1), law.cdf(inner), inner.new_ones(1)])
    assert len(found) == 300 and float(found.sum()) == pytest.approx(1, abs=1e-6)
    assert ((found - below.diff()) / below.diff()).abs().max() < 0.01
    assert atoms < 1e-6


def test_masses_equal_a_loop_over_cells_and_bins() -> None:
    random = torch.Generator().manual_seed(0)
    values = torch.randn(41, generator=random).double()
    values[10:13] = values[10]  # an atom
    masses = torch.rand(40, generator=random).double()
    edges = torch.cat([torch.linspace(-1, 1, 12).double(), values[10:11]]).sort().values  # an edge on the atom
    expected = torch.zeros(12, dtype=torch.float64)
    for k in range(40):
        low, high = sorted((float(values[k]), float(values[k + 1])))
        for b in range(12):
            left, right = float(edges[b]), float(edges[b + 1])
            if low == high:
                expected[b] += masses[k] * (left <= low < right)
            else:
                expected[b] += masses[k] * max(0.0, min(high, right) - max(low, left)) / (high - low)
    found, atoms = bin_masses(values, masses, edges)
    assert torch.allclose(found, expected, atol=1e-14)
    assert atoms == pytest.approx(float(masses[10:12].sum()))


def test_a_dead_relu_is_an_atom_of_its_mass() -> None:
    edges = torch.tensor([-math.inf, -1.0, 0.0, 1.0, math.inf], dtype=torch.float64)
    found, atoms = bin_masses(H.relu(), MASSES, edges)
    assert atoms == pytest.approx(0.5, abs=1e-5)
    assert found.tolist() == pytest.approx([0, 0, 0.8413447, 0.1586553], abs=1e-6)
    constant, atoms = bin_masses(torch.full_like(H, 0.5), MASSES, edges)
    assert constant.tolist() == pytest.approx([0, 0, 1, 0]) and atoms == pytest.approx(1)
    detail = score("js", H.relu(), sets.LAWS["two-gaussians-1d"][1]).detail
    assert detail == "50 % of the generator's mass sits on single points"


@pytest.mark.parametrize("form", FORMS)
def test_the_true_generator_is_at_distance_0(form: str) -> None:
    law, values = sets.LAWS[f"implicit-{form}"][1], FORMS[form](H)
    for name in ("kl", "reverse-kl", "js"):
        assert abs(score(name, values, law).value) < 1e-6
    assert score("w1-exact", values, law).value < 1e-5


def test_divergences_of_two_gaussians_are_the_closed_forms() -> None:
    law = Mixture1d([1.0], [0.0], [1.0])
    # Bins lose a little; the more bins the less. W1 of a shift is the shift, of a stretch sqrt(2 / pi) times it.
    shifted = H + 0.5
    assert score("kl", shifted, law).value == pytest.approx(0.125, rel=0.01)
    assert score("reverse-kl", shifted, law).value == pytest.approx(0.125, rel=0.01)
    assert score("kl", shifted, law).value < 0.125
    assert score("w1-exact", shifted, law).value == pytest.approx(0.5, abs=1e-6)
    stretched = score("w1-exact", 2 * H, law).value
    assert stretched == pytest.approx(math.sqrt(2 / math.pi), abs=1e-5)
    assert score("kl", 2 * H, law).value == pytest.approx(math.log(2) - 0.375, rel=0.02)
    # Tails that the true law has not fall into the outermost bins, which costs what exact bins say.
    wide = score("reverse-kl", 2 * H, law)
    q = torch.special.ndtr(quantile_edges(law) / 2).diff()
    assert wide.value == pytest.approx(float((q * (200 * q).log()).sum()), abs=1e-6) and wide.std_error == 0
    assert 0.5 < wide.value < 1.5 - math.log(2)


def test_w1_of_single_points_and_far_ones() -> None:
    law = Mixture1d([1.0], [0.0], [1.0])
    assert wasserstein1(torch.zeros_like(H), MASSES, law) == pytest.approx(math.sqrt(2 / math.pi), abs=1e-6)
    assert wasserstein1(torch.full_like(H, 100.0), MASSES, law) == pytest.approx(100, abs=1e-6)
    relu = wasserstein1(H.relu(), MASSES, law)
    assert relu == pytest.approx(1 / math.sqrt(2 * math.pi), abs=1e-5)


def test_a_generator_that_misses_half_the_truth_has_infinite_kl_and_js_of_its_own() -> None:
    law = sets.LAWS["two-gaussians-1d"][1]
    values = (2 + 0.5 * H).clamp(min=0.001)
    kl = score("kl", values, law)
    assert (
        math.isnan(kl.value)
        and math.isnan(kl.std_error)
        and kl.detail == "infinite: the generator never reaches 50 % of the true mass"
    )
    assert score("reverse-kl", values, law).value == pytest.approx(math.log(2), abs=0.01)
    p, q = torch.tensor([0.5, 0.5]).double(), torch.tensor([0.0, 1.0]).double()
    expected = 0.25 * math.log(2) + 0.25 * math.log(2 / 3) + 0.5 * math.log(4 / 3)
    assert score("js", values, law).value == pytest.approx(expected, abs=0.01)
    assert divergences(p, q) == pytest.approx({"kl": math.inf, "reverse-kl": math.log(2), "js": expected})


def test_one_pass_over_the_generator_serves_all_four_and_the_protocol_says_what_fixes_the_number() -> None:
    metric_inputs = Generator(H.exp(), sets.LAWS["implicit-exp"][1])
    for name in ("kl", "reverse-kl", "js", "w1-exact"):
        made = registry.metrics.get(name).compute(metric_inputs, "")
        assert "400000 cells" in made.protocol and "float64" in made.protocol
    assert metric_inputs.passes == [400_001]


class Exp(torch.nn.Module):
    """A game of one number that is the exponential of its noise."""

    data = SimpleNamespace(shape=(1,), bounded=False)

    def noise(self) -> dict[str, Normal]:
        return {"z": Normal(1)}

    def sample(self, noise: dict[str, Tensor]) -> Tensor:
        return noise["z"].exp()


def test_the_law_of_a_game_is_read_off_its_generator() -> None:
    splits = {split: torch.ones(2, 1) for split in ("train", "validation", "test")}
    law = sets.LAWS["implicit-exp"][1]
    metric_inputs = RunInputs(Exp(), SimpleNamespace(samples=10), RealData(Dataset("d", splits, distribution=law)))
    assert abs(registry.metrics.get("kl").compute(metric_inputs, "").value) < 1e-6
    assert registry.metrics.get("w1-exact").compute(metric_inputs, "").value < 1e-6


def test_a_generator_that_jumps_everywhere_is_refused() -> None:
    random = torch.rand(400_001, generator=torch.Generator().manual_seed(0)).double()
    with pytest.raises(UserError, match="jumps at nearly every input"):
        score("kl", random, Mixture1d([1.0], [0.5], [0.05]))


def test_vectors_are_a_user_error() -> None:
    from ganbench.datasets.mixtures import ring

    with pytest.raises(UserError, match="1 dimension, not 2"):
        score("kl", H, ring(1, 0.01))
