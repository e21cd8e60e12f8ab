"""Metrics of clusters and codes: brute force, closed forms, scikit-learn, and games whose answers are known."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics as sklearn_metrics
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture as SklearnMixture
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from ganbench import datasets, registry
from ganbench.distributions.noise import Normal
from ganbench.errors import UserError
from ganbench.evaluation.inputs import RunInputs
from ganbench.evaluation.real import RealData
from ganbench.game.contract import Config, Game
from ganbench.metrics.clustering import (
    NO_CLASS,
    agreement,
    assigned,
    contingency,
    exemplars,
    log_odds,
    majority,
    one_to_one,
)
from ganbench.metrics.codes import codes_of, cycle_errors, nearest, probe
from ganbench.reporting.leaderboard import aggregate
from ganbench.reporting.tables import tables
from tests.builders import rows as synthetic_rows

ACCURACIES = ("cluster-accuracy", "cluster-purity", "exemplar-accuracy", "exemplar-accuracy-test")


@dataclass(eq=False)
class FakeInputs:
    """MetricInputs made of tensors by split."""

    logits: dict[str, Tensor] | None = None
    y: dict[str, Tensor] | None = None
    code: dict[str, Tensor] | None = None
    round_trip: tuple[Tensor, Tensor] | None = None

    def call(self, ability, source):
        if ability == "cluster":
            return self.logits[source]
        if ability == "decode":
            return source
        if isinstance(source, Tensor):  # codes that were decoded
            return self.round_trip[1]
        return self.round_trip[0] if source == "fake" else self.code[source]

    def labels(self, split):
        return self.y[split]

    @property
    def game(self):
        return Identity


def score(name: str, metric_inputs: object):
    return registry.metrics.get(name).compute(metric_inputs, "")


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_split(seed: int, n: int, count: int, classes: int, lean: float = 2) -> tuple[Tensor, Tensor]:
    """Log-probabilities that lean towards a cluster of each class, and labels."""
    y = torch.randint(classes, (n,), generator=rng(seed))
    logits = 3 * torch.randn(n, count, generator=rng(seed + 1)).double()
    logits[torch.arange(n), y % count] += lean
    return logits.log_softmax(1), y


def clusters_of(split: tuple[Tensor, Tensor]) -> FakeInputs:
    return FakeInputs({"validation": split[0], "test": split[0]}, {"validation": split[1], "test": split[1]})


def one_hot(clusters: Tensor, count: int) -> Tensor:
    """Log-probabilities of clusters that are sure."""
    return torch.where(torch.nn.functional.one_hot(clusters, count) > 0, 0.0, -50.0).double()


# ---------------------------------------------------------------- maps against brute force


SIZES = [(3, 3), (4, 4), (6, 6), (6, 3), (3, 6), (5, 2), (1, 4), (4, 1)]


@pytest.mark.parametrize(("count", "classes"), SIZES)
@pytest.mark.parametrize("seed", range(5))
def test_one_to_one_is_the_best_of_all_injections(count, classes, seed):
    table = torch.randint(0, 9, (count, classes), generator=rng(seed))
    mapped = one_to_one(table)
    used = mapped[mapped != NO_CLASS].tolist()
    assert len(set(used)) == len(used) <= min(count, classes)
    size = min(count, classes)
    best = max(
        sum(int(table[k, j]) for k, j in zip(chosen, order, strict=True))
        for chosen in itertools.combinations(range(count), size)
        for order in itertools.permutations(range(classes), size)
    )
    assert sum(int(table[k, j]) for k, j in enumerate(mapped.tolist()) if j != NO_CLASS) == best


@pytest.mark.parametrize(("count", "classes"), SIZES[:6])
@pytest.mark.parametrize("seed", range(3))
def test_majority_is_the_best_of_all_maps(count, classes, seed):
    table = torch.randint(0, 9, (count, classes), generator=rng(seed))
    mapped = majority(table)
    best = max(
        sum(int(table[k, j]) for k, j in enumerate(order))
        for order in itertools.product(range(classes), repeat=count)
    )
    assert sum(int(table[k, j]) for k, j in enumerate(mapped.tolist())) == best


def test_majority_takes_the_first_of_equals_and_none_for_empty_clusters():
    assert majority(torch.tensor([[0, 2, 2], [0, 0, 0], [1, 0, 0]])).tolist() == [1, NO_CLASS, 0]


def test_one_to_one_gives_no_class_where_nothing_is_in_common():
    # scipy must pair the second cluster with a class it never saw
    assert one_to_one(torch.tensor([[5, 0], [3, 0]])).tolist() == [0, NO_CLASS]
    assert one_to_one(torch.zeros(2, 2, dtype=torch.int64)).tolist() == [NO_CLASS, NO_CLASS]


@pytest.mark.parametrize(("count", "classes"), [(2, 3), (4, 4), (6, 3)])
@pytest.mark.parametrize("seed", range(4))
def test_exemplars_are_those_of_a_search_image_by_image(count, classes, seed):
    logits, y = random_split(seed, 60, count, classes)
    for k, label in enumerate(exemplars(logits, y).tolist()):
        surest = 0
        for i in range(1, len(y)):
            if logits[i, k] > logits[surest, k]:
                surest = i
        assert label == int(y[surest])


def test_probabilities_that_round_to_one_are_ranked_by_their_gap():
    gaps = torch.tensor([20.0, 400.0, 90.0, 400.0])
    logits = torch.stack([torch.zeros(4), -gaps, -gaps - 5], dim=1)
    assert (logits.log_softmax(1)[:, 0] == 0).all()  # float32 cannot tell them apart
    assert log_odds(logits.log_softmax(1))[:, 0].argsort(stable=True).tolist() == [0, 2, 1, 3]
    assert exemplars(logits, torch.arange(4))[0] == 1  # of the two at 400 the first


def test_log_odds_have_their_closed_form_and_forget_constants():
    p = torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3]]).double()
    assert torch.allclose(log_odds(p.log()), torch.logit(p), atol=1e-12)
    assert torch.allclose(log_odds(p.log() + 7), torch.logit(p), atol=1e-12)
    assert log_odds(torch.zeros(3, 1)).tolist() == [[math.inf]] * 3  # one cluster is certain


@pytest.mark.parametrize("name", [*ACCURACIES, "nmi", "ari", "nonempty-clusters"])
@pytest.mark.parametrize(("count", "classes"), [(4, 4), (7, 4), (3, 4)])
def test_names_of_clusters_and_order_of_images_do_not_matter(name, count, classes):
    logits, y = random_split(3, 200, count, classes)
    names, order = torch.randperm(count, generator=rng(5)), torch.randperm(200, generator=rng(6))
    other = (logits[order][:, names], y[order])
    plain, renamed = (score(name, clusters_of(split)) for split in ((logits, y), other))
    assert plain.value == pytest.approx(renamed.value, abs=1e-12) and plain.protocol == renamed.protocol


@pytest.mark.parametrize("name", [*ACCURACIES, "nmi", "ari"])
def test_perfect_clusters_score_one(name):
    y = torch.randint(5, (80,), generator=rng(0))
    assert score(name, clusters_of((one_hot((y + 2) % 5, 5), y))).value == pytest.approx(1, abs=1e-12)


def test_all_in_one_cluster_score_the_share_of_its_class():
    y = torch.tensor([0] * 30 + [1] * 50 + [2] * 20)
    metric_inputs = clusters_of((one_hot(torch.zeros(100, dtype=torch.int64), 3), y))
    assert score("cluster-accuracy", metric_inputs).value == score("cluster-purity", metric_inputs).value == 0.5
    assert (
        score("exemplar-accuracy", metric_inputs).value == 0.3
    )  # all are equally sure: the first image, of class 0
    assert score("nmi", metric_inputs).value == score("ari", metric_inputs).value == 0
    assert score("nonempty-clusters", metric_inputs).value == 1


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("count", [3, 5, 9])
def test_purity_bounds_the_others_on_the_images_it_was_fitted_on(seed, count):
    metric_inputs = clusters_of(random_split(seed, 150, count, 5))
    values = {name: score(name, metric_inputs).value for name in ACCURACIES}
    assert values["cluster-purity"] >= max(values.values())
    assert values["exemplar-accuracy"] == values["exemplar-accuracy-test"]


def test_more_clusters_than_classes_cap_the_one_to_one_map_only():
    y = torch.arange(120) % 2
    metric_inputs = clusters_of((one_hot(torch.arange(120) % 4, 4), y))  # each class in two clusters of equal size
    assert score("cluster-accuracy", metric_inputs).value == 0.5
    assert score("cluster-purity", metric_inputs).value == score("exemplar-accuracy", metric_inputs).value == 1


# ---------------------------------------------------------------- what is fitted on which images


def test_the_map_is_fitted_on_validation_labels_alone():
    (held, held_y), (logits, y) = random_split(1, 300, 4, 4, lean=6), random_split(2, 400, 4, 4, lean=6)
    metric_inputs = FakeInputs({"validation": held, "test": logits}, {"validation": held_y, "test": y})
    table = contingency(assigned(held), held_y, 4, 4)
    maps = {
        "cluster-accuracy": one_to_one(table),
        "cluster-purity": majority(table),
        "exemplar-accuracy": exemplars(held, held_y),
    }
    turned = replace(metric_inputs, y={"validation": held_y, "test": (y + 1) % 4})
    for name, mapped in maps.items():
        for labels, asked in ((y, metric_inputs), ((y + 1) % 4, turned)):
            expected = (mapped[assigned(logits)] == labels).double().mean().item()
            assert score(name, asked).value == expected
        assert score(name, metric_inputs).value > score(name, turned).value + 0.2
    # the published rule names the clusters anew
    assert score("exemplar-accuracy-test", metric_inputs).value == score("exemplar-accuracy-test", turned).value
    # and validation labels move the score of the others
    wrong = replace(metric_inputs, y={"validation": (held_y + 1) % 4, "test": y})
    for name in maps:
        assert score(name, wrong).value < score(name, metric_inputs).value - 0.2


def test_a_cluster_that_is_empty_on_validation_counts_as_errors():
    metric_inputs = FakeInputs(
        {"validation": one_hot(torch.tensor([0, 0, 1]), 3), "test": one_hot(torch.tensor([0, 1, 2, 2]), 3)},
        {"validation": torch.tensor([0, 0, 1]), "test": torch.tensor([0, 1, 2, 0])},
    )
    for name in ("cluster-accuracy", "cluster-purity"):
        assert score(name, metric_inputs).value == 0.5


def test_accuracies_carry_their_rule_size_and_standard_error():
    (held, held_y), (logits, y) = random_split(1, 30, 5, 4), random_split(2, 40, 5, 4)
    metric_inputs = FakeInputs({"validation": held, "test": logits}, {"validation": held_y, "test": y})
    found = [score(name, metric_inputs) for name in ACCURACIES]
    assert len({one.protocol for one in found}) == 4
    for name, one in zip(ACCURACIES, found, strict=True):
        source = "40 test" if name.endswith("-test") else "30 validation"
        assert one.protocol.startswith("K=5; ") and f"of {source} images; share of 40 test" in one.protocol
        assert one.n == 40
        assert one.std_error == pytest.approx(math.sqrt(one.value * (1 - one.value) / 39), rel=1e-12)
        assert registry.metrics.get(name).ability == "cluster"


def test_models_of_other_numbers_of_clusters_share_no_column():
    made = []
    for row, count in zip(synthetic_rows(3, 4, 1), [10] * 4 + [30] * 4 + [10] * 4, strict=True):
        found = score("cluster-accuracy", clusters_of(random_split(row.seed, 90, count, 4)))
        row = replace(row, metric="cluster-accuracy", better="higher", value=found.value + row.seed / 1000)
        made.append(replace(row, protocol=f"cluster-accuracy v1; {found.protocol}"))
    frame = aggregate(pd.DataFrame([row.__dict__ for row in made]))
    assert frame.groupby("protocol")["model"].nunique().tolist() == [2, 1]
    lone = frame[frame["protocol"].str.contains("K=30")]
    assert (lone["rank"].item(), lone["worst_rank"].item()) == (1, 1)
    [(_, wide, _, notes)] = tables(frame)
    assert [name for name in wide.columns if name.startswith("cluster-accuracy")] == [
        "cluster-accuracy ↑",
        "cluster-accuracy ↑ [2]",
    ]
    columns = wide[["cluster-accuracy ↑", "cluster-accuracy ↑ [2]"]]
    assert ((columns != "").sum(axis=1) == 1).all()
    assert any("[2]: v1; K=30" in note for note in notes) and any("↑: v1; K=10" in note for note in notes)


# ---------------------------------------------------------------- known answers


@pytest.mark.parametrize(("count", "classes"), [(4, 4), (9, 3), (2, 5)])
def test_likeness_has_its_closed_form(count, classes):
    logits, y = random_split(8, 300, count, classes)
    metric_inputs = clusters_of((logits, y))
    table = contingency(assigned(logits), y, count, classes).double()
    p = table / table.sum()
    rows, columns = p.sum(1), p.sum(0)

    def entropy(q: Tensor) -> float:
        return float(-torch.xlogy(q, q).sum())

    information = entropy(rows) + entropy(columns) - entropy(p.flatten())
    assert score("nmi", metric_inputs).value == pytest.approx(2 * information / (entropy(rows) + entropy(columns)))

    def pairs(counts: Tensor) -> float:
        return float((counts * (counts - 1) / 2).sum())

    together, total = pairs(table), 300 * 299 / 2
    expected = pairs(table.sum(0)) * pairs(table.sum(1)) / total
    most = (pairs(table.sum(0)) + pairs(table.sum(1))) / 2
    assert score("ari", metric_inputs).value == pytest.approx((together - expected) / (most - expected))


def test_independent_clusters_score_zero_and_halves_score_two_thirds():
    y = torch.arange(400) % 2
    crossed = clusters_of((one_hot(torch.arange(400) // 2 % 2, 2), y))
    assert score("nmi", crossed).value == pytest.approx(0, abs=1e-12)
    assert score("ari", crossed).value == pytest.approx(-1 / 399, rel=0.01)  # just below chance
    halves = clusters_of((one_hot(torch.arange(400) % 4, 4), y))  # 2 ln 2 / (ln 2 + ln 4)
    assert score("nmi", halves).value == pytest.approx(2 / 3)
    assert score("nonempty-clusters", halves).value == 4


def test_one_cluster_per_image_is_no_warning():
    y = torch.arange(20) % 2
    assert score("ari", clusters_of((one_hot(torch.arange(20), 20), y))).value == 0


def test_kmeans_on_all_digits_has_its_published_accuracy():
    pixels, y = load_digits(return_X_y=True)
    found = torch.from_numpy(KMeans(10, n_init=10, random_state=0).fit_predict(pixels)).long()
    labels = torch.from_numpy(y).long()
    table = contingency(found, labels, 10, 10)
    assert agreement(one_to_one(table), found, labels).mean() == pytest.approx(0.792, abs=0.005)
    assert agreement(majority(table), found, labels).mean() == pytest.approx(0.792, abs=0.005)
    assert np.array_equal(table.numpy(), sklearn_metrics.cluster.contingency_matrix(y, found.numpy()).T)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (torch.zeros(3), "expected log-probabilities of shape"),
        (torch.zeros(0, 3), "expected log-probabilities of shape"),
        (torch.tensor([[0.0, math.nan], [0.0, 0.0]]), "NaN or infinity in 1 of 2 rows"),
        (torch.tensor([[-math.inf, -math.inf]]), "NaN or infinity in 1 of 1 rows"),
        (torch.tensor([[math.inf, 0.0]]), "NaN or infinity in 1 of 1 rows"),
    ],
)
def test_bad_log_probabilities_are_errors(logits, message):
    for function in (assigned, log_odds, lambda values: exemplars(values, torch.zeros(len(values)).long())):
        with pytest.raises(UserError, match=message):
            function(logits)


@pytest.mark.parametrize(
    ("clusters", "labels", "message"),
    [
        (torch.zeros(3).long(), torch.zeros(2).long(), "expected one label for each"),
        (torch.zeros(0).long(), torch.zeros(0).long(), "expected one label for each"),
        (torch.tensor([0, 3]), torch.tensor([0, 0]), "expected clusters from 0 to 2, got 0 to 3"),
        (torch.tensor([0, 1]), torch.tensor([-1, 0]), "expected classes from 0 to 1, got -1 to 0"),
    ],
)
def test_bad_clusters_are_errors(clusters, labels, message):
    with pytest.raises(UserError, match=message):
        contingency(clusters, labels, 3, 2)


# ---------------------------------------------------------------- codes


def blobs(n: int, seed: int, spread: float, dimensions: int = 5) -> tuple[Tensor, Tensor]:
    """Codes around three centres, the same for every seed, and whose they are."""
    y = torch.randint(3, (n,), generator=rng(seed))
    centres = torch.randn(3, dimensions, generator=rng(99)).double()
    return centres[y] + spread * torch.randn(n, dimensions, generator=rng(seed + 1)).double(), y


def coded(spread: float, **sizes: int) -> FakeInputs:
    made = {split: blobs(n, 10 * seed, spread) for seed, (split, n) in enumerate(sizes.items())}
    return FakeInputs(y={s: y for s, (_, y) in made.items()}, code={s: x for s, (x, _) in made.items()})


@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
def test_knn_accuracy_is_that_of_scikit_learn(spread):
    metric_inputs = coded(spread, train=400, validation=10, test=300)
    other = KNeighborsClassifier(1, algorithm="brute").fit(metric_inputs.code["train"], metric_inputs.y["train"])
    found = score("knn-accuracy", metric_inputs)
    assert found.value == other.score(metric_inputs.code["test"], metric_inputs.y["test"])
    assert found.n == 300 and "nearest of 400 training images" in found.protocol


def test_nearest_is_exact_whatever_the_blocks_and_panels(monkeypatch):
    queries, references = (torch.randn(n, 7, generator=rng(n)) + 1000 for n in (150, 230))
    references[100:110] = references[:10]  # copies: the first one wins
    queries[:20] = references[95:115]
    expected = (queries[:, None].double() - references.double()).square().sum(2).argmin(1)
    assert torch.equal(expected[5:15], torch.arange(10))
    assert torch.equal(nearest(queries, references), expected)
    monkeypatch.setattr("ganbench.metrics.numerics.blocks.COLUMNS", 37)
    for block in (1, 13, 150):
        assert torch.equal(nearest(queries, references, block), expected)
    assert nearest(torch.ones(4, 2), torch.ones(90, 2)).tolist() == [0] * 4


def test_codes_that_do_not_fit_are_errors():
    with pytest.raises(UserError, match="queries have 3 dimensions and references have 2"):
        nearest(torch.zeros(4, 3), torch.zeros(4, 2))
    with pytest.raises(UserError, match="queries: expected finite values"):
        nearest(torch.full((4, 3), math.nan), torch.zeros(4, 3))


def test_the_probe_reads_separable_codes_whatever_their_scale():
    metric_inputs = coded(0.02, train=300, validation=100, test=200)
    scale = torch.tensor([1e-4, 1.0, 1e5, 1.0, 0.0]).double()  # the last is constant
    metric_inputs.code = {split: codes * scale + 3 for split, codes in metric_inputs.code.items()}
    found = score("probe-accuracy", metric_inputs)
    assert found.value == 1 and found.n == 200
    assert "first 300 training images" in found.protocol and "first 100 validation" in found.protocol


def test_the_probe_is_linear_and_finds_nothing_in_noise():
    y = {split: torch.arange(n) % 4 for split, n in (("train", 800), ("validation", 400), ("test", 1000))}
    noise = {split: torch.randn(len(labels), 6, generator=rng(len(labels))) for split, labels in y.items()}
    found = score("probe-accuracy", FakeInputs(y=y, code=noise))
    assert found.value == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 1000))
    corners = {split: torch.stack([labels // 2, labels % 2], 1).double() for split, labels in y.items()}
    exclusive = {split: (c[:, 0] != c[:, 1]).long() for split, c in corners.items()}
    assert score("probe-accuracy", FakeInputs(y=exclusive, code=corners)).value <= 0.75  # no line divides XOR


def test_the_strength_of_the_probe_is_chosen_on_validation():
    train, test = blobs(60, 0, 4.0, 40), blobs(200, 5, 4.0, 40)
    held = blobs(300, 8, 4.0, 40)
    hits, strength = probe([train, held, test])
    again, same = probe([train, held, (test[0], (test[1] + 1) % 3)])
    assert strength == same and again.mean() < hits.mean()
    # where validation is the training set itself, the weakest penalty that fits it is as good as any
    assert probe([train, train, test])[1] > strength


def test_a_probe_of_one_class_is_an_error():
    with pytest.raises(UserError, match="two classes or more"):
        probe([(torch.randn(5, 2), torch.zeros(5).long())] * 3)


def test_cycle_errors_have_their_closed_forms():
    codes = torch.randn(500, 4, generator=rng(0)) * torch.tensor([1e-3, 1.0, 50.0, 2.0]) + 7
    assert cycle_errors(codes, codes)[0].max() == 0
    mean = codes.double().mean(0).expand(500, 4)
    assert cycle_errors(codes, mean)[0].mean().item() == pytest.approx(1, rel=1e-12)
    shuffled = codes[torch.randperm(500, generator=rng(1))]
    assert cycle_errors(codes, shuffled)[0].mean().item() == pytest.approx(2, abs=0.15)
    shift = codes.double() + 0.5 * codes.double().std(0, correction=0)
    assert cycle_errors(codes, shift)[0].mean().item() == pytest.approx(0.25, rel=1e-9)


def test_dimensions_that_never_vary_do_not_count():
    codes = torch.randn(50, 3, generator=rng(0))
    codes[:, 1] = 0.1
    again = codes.clone()
    again[:, 1] += 100
    errors, counted = cycle_errors(codes, again)
    assert counted == 2 and errors.max() == 0
    found = score("latent-cycle-error", FakeInputs(round_trip=(codes, again)))
    assert (found.value, found.detail) == (0, "2 of 3 dimensions vary")


@pytest.mark.parametrize(
    ("codes", "again", "message"),
    [
        (torch.ones(5, 2), torch.ones(5, 2), "all generated images have the same code"),
        (torch.randn(5, 2), torch.randn(4, 2), "expected 5 codes after the cycle, got 4"),
        (torch.randn(5, 2), torch.randn(5, 3), "codes have 2 dimensions and codes after the cycle have 3"),
        (torch.randn(5, 2), torch.full((5, 2), math.inf), "codes after the cycle: expected finite"),
    ],
)
def test_bad_cycles_are_errors(codes, again, message):
    with pytest.raises(UserError, match=message):
        cycle_errors(codes, again)


# ---------------------------------------------------------------- from a game


class Identity(Game):
    """Its codes are its pixels; clusters by the first two pixels; not registered."""

    calls = 0

    def __init__(self, data, config: Config = Config()) -> None:
        super().__init__(data, config)

    def noise(self):
        return {"z": Normal(64)}

    def sample(self, noise):
        return noise["z"].tanh().unflatten(1, self.data.shape)

    def encode(self, x):
        type(self).calls += 1
        return x.flatten(1)

    def decode(self, codes):
        return codes.unflatten(1, self.data.shape)

    def cluster(self, x):
        return x.flatten(1)[:, :2].log_softmax(1)


class Blind(Identity):
    """Has no encoder."""

    encode = None


@dataclass
class Spec:
    """What evidence asks of a run's specification."""

    samples: int = 1500
    seed: int = 0
    model: str = "identity"


def test_a_game_is_asked_once_and_in_its_own_scale(tiny):
    data = tiny()
    metric_inputs = RunInputs(Identity(data.data_spec).eval(), Spec(), RealData(data))
    pixels = data.images["test"].flatten(1).double() / 127.5 - 1
    Identity.calls = 0
    for _ in range(2):
        codes = codes_of(metric_inputs, "test")
        assert codes.dtype == torch.float64 and torch.allclose(codes, pixels, atol=1e-6)
    assert Identity.calls == 1
    assert torch.allclose(metric_inputs.call("cluster", "validation").logsumexp(1), torch.zeros(64), atol=1e-6)


def test_an_identity_cycles_without_error(tiny):
    data = tiny()
    found = score("latent-cycle-error", RunInputs(Identity(data.data_spec).eval(), Spec(), RealData(data)))
    assert found.value == 0 and found.n == 1500 and "codes of 1500 generated images" in found.protocol
    with pytest.raises(UserError, match="the game has no encode"):
        score("latent-cycle-error", RunInputs(Blind(data.data_spec).eval(), Spec(), RealData(data)))


def test_unlabelled_data_have_no_cluster_accuracy(tiny):
    data = replace(tiny(), labels={})
    metric_inputs = RunInputs(Identity(data.data_spec).eval(), Spec(), RealData(data))
    for name in ("cluster-accuracy", "nmi", "knn-accuracy", "probe-accuracy"):
        with pytest.raises(UserError, match="has no labels"):
            score(name, metric_inputs)


def fitted(name: str, field: str, count: int) -> tuple[Game, Tensor]:
    """A classical reference fitted to the digits, and the test images."""
    data = datasets.load("digits")
    train, test = (data.images[split].float() / 127.5 - 1 for split in ("train", "test"))
    model = registry.models.get(name)
    game = model.build(data.data_spec, model.settings({"kind": "mlp"}, {field: count}), 0)
    game.fit(train, None, 0)
    return game.eval(), test


def test_kmeans_clusters_are_the_nearest_centroids():
    game, x = fitted("kmeans-centroids", "centroids", 12)
    log_probabilities = game.cluster(x)
    squared = (x.flatten(1)[:, None].double() - game.centres.flatten(1).double()).square().sum(2)
    assert torch.equal(assigned(log_probabilities), squared.argmin(1))
    assert torch.allclose(log_probabilities.double(), (-squared / 2).log_softmax(1), atol=1e-4)


@pytest.mark.parametrize("count", [1, 10])
def test_mixture_clusters_are_the_posterior_of_scikit_learn(count):
    game, x = fitted("gaussian-mixture", "components", count)
    other = SklearnMixture(count, covariance_type="diag")
    other.weights_ = game.edges.double().diff(prepend=torch.zeros(1).double()).numpy()
    other.means_ = game.means.flatten(1).double().numpy()
    other.covariances_ = game.factors.double().square().numpy()
    other.precisions_cholesky_ = 1 / game.factors.double().numpy()
    expected = torch.from_numpy(other._estimate_log_prob_resp(x.flatten(1).double().numpy())[1])
    assert torch.allclose(game.cluster(x), expected, rtol=1e-9, atol=1e-7)
    assert (game.cluster(x).max(1).values == 0).sum() < len(x) or count == 1


def test_kmeans_on_digits_clusters_them_from_end_to_end():
    game, _ = fitted("kmeans-centroids", "centroids", 10)
    metric_inputs = RunInputs(game, Spec(), RealData(datasets.load("digits")))
    found = {name: score(name, metric_inputs) for name in (*ACCURACIES, "nmi", "ari", "nonempty-clusters")}
    assert 0.6 < found["cluster-accuracy"].value < 0.9 and 0.6 < found["nmi"].value < 0.85
    assert found["nonempty-clusters"].value == 10
    assert all("K=10; " in one.protocol for one in found.values())
