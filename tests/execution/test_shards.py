"""Parts of a suite for several machines: disjoint, whole, alike in cost; merged, the rows of one machine."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ganbench.errors import UserError
from ganbench.execution.jobs import Job
from ganbench.execution.shards import shard_of
from ganbench.suites.expand import expand
from ganbench.suites.suite import read_suite

MODELS = ["gan", "vae", "wgan-gp", "real-train", "kmeans-centroids", "sngan"]


@pytest.fixture
def jobs(suite: Path, tmp_path: Path) -> list[Job]:
    """Return jobs of unlike cost, two of them without any training."""
    plan = expand(read_suite(str(suite)), "quick", MODELS)
    long = {"vae": 100, "sngan": 70}
    return [
        Job(tuple(replace(spec, rounds=long.get(name, 20)) for spec in specs), (), tmp_path, "cpu")
        for name, specs in plan.items()
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 6, 9])
def test_parts_are_disjoint_and_whole_and_keep_the_order(jobs: list[Job], count: int) -> None:
    parts = [shard_of(jobs, f"{index + 1}/{count}") for index in range(count)]
    assert sorted(job.model for part in parts for job in part) == sorted(MODELS)
    assert all(part == [job for job in jobs if job in part] for part in parts)


def test_parts_cost_about_the_same_and_share_out_what_costs_nothing(jobs: list[Job]) -> None:
    parts = [shard_of(jobs, f"{index}/2") for index in (1, 2)]
    costs = [sum(job.cost for job in part) for part in parts]
    least = max(sum(costs) / 2, max(job.cost for job in jobs))  # no sharing out is better than this
    assert max(costs) <= 7 / 6 * least
    free = [[job.model for job in shard_of(jobs, f"{index}/6") if not job.cost] for index in range(1, 7)]
    assert sorted(map(len, free)) == [0, 0, 0, 0, 1, 1]


def test_what_is_finished_moves_no_job_to_another_part(jobs: list[Job], finished: Path) -> None:
    done = [replace(job, out=finished) for job in jobs]
    for part in ("1/2", "2/2"):
        assert [job.model for job in shard_of(done, part)] == [job.model for job in shard_of(jobs, part)]


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3"])
def test_no_such_part(jobs: list[Job], shard: str) -> None:
    with pytest.raises(UserError, match=f"^--shard expects i/n with i from 1 to n, got '{shard}'"):
        shard_of(jobs, shard)


def test_two_shards_merged_are_the_rows_of_one_machine(
    ganbench: Callable[..., Any], suite: Path, finished: Path, tmp_path: Path, scores: Callable[[Path], Any]
) -> None:
    outs = [tmp_path / "a", tmp_path / "b"]
    trained = 0
    for index, out in enumerate(outs, start=1):
        answer = ganbench("run", "--suite", suite, "--out", out, "--device", "cpu", "--shard", f"{index}/2")
        assert answer.code == 0, answer.err
        trained += len(scores(out))
        assert 0 < len(scores(out)) < 6
    answer = ganbench("merge", *outs, "--out", tmp_path / "all")
    assert (answer.code, answer.out) == (0, f"copied 6 runs to {tmp_path / 'all'}; 0 were there already\n")
    assert trained == 6 and scores(tmp_path / "all") == scores(finished)
    answer = ganbench("run", "--suite", suite, "--out", tmp_path / "all", "--device", "cpu")
    assert answer.out.startswith("nothing to train or measure: all 6 runs are finished")
