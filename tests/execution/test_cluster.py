"""Jobs on clusters: the rows of one machine, whether the folder of runs is shared or not, and whoever dies."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ganbench.errors import UserError
from ganbench.execution import backends, cluster, slurm
from ganbench.execution.cluster import on_cluster
from ganbench.execution.jobs import Job, check, choose_device
from ganbench.suites.expand import expand
from ganbench.suites.suite import read_suite
from tests.execution.test_jobs import jobs_of, quiet

Scores = Callable[[Path], dict[str, str]]
SECONDS = 200  # limit of a subprocess


def whole(suite: Path, out: Path) -> list[Job]:
    """Return the jobs of the tiny suite with all its metrics."""
    return [replace(job, metrics=read_suite(str(suite)).metrics) for job in jobs_of(suite, out)]


def scatter(call: Callable[[Any], Any], items: Sequence[Any], cores: int, gpus: int) -> Iterator[tuple[int, Any]]:
    """Call with copies, the last item first, as a cluster would in no order."""
    for index in reversed(range(len(items))):
        yield index, pickle.loads(pickle.dumps(call))(pickle.loads(pickle.dumps(items[index])))


@contextmanager
def unseen(out: Path) -> Iterator[Path]:
    """Yield a mark that no machine finds, as if none saw the folder of runs."""
    yield out.resolve() / "unseen"


@pytest.fixture(params=["shared folder", "bytes"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return how results come back, and see to it."""
    if request.param == "bytes":
        monkeypatch.setattr(cluster, "_mark", unseen)
    return str(request.param)


def test_outcomes_and_rows_are_those_of_one_machine(
    suite: Path, finished: Path, tmp_path: Path, scores: Scores, way: str
) -> None:
    news: list[Any] = []
    outcomes = on_cluster(scatter, backends.serial, whole(suite, tmp_path), 2, lambda *one: news.append(one))
    assert [(one.model, one.trained, one.measured) for one in outcomes] == [
        (model, 2, 2) for model in ("gan", "real-train", "vae")
    ]
    assert sorted(news) == sorted(
        (model, stage, 2, 0.0) for model in ("gan", "real-train", "vae") for stage in ("trained", "measured")
    )
    assert scores(tmp_path) == scores(finished)
    assert {path.name for path in tmp_path.glob(".*")} <= {".locks"}, "no mark stays behind"


def test_finished_runs_are_neither_trained_nor_changed(suite: Path, runs: Path, scores: Scores, way: str) -> None:
    before = scores(runs)
    weights = {path: path.stat().st_mtime_ns for path in runs.glob("*/*/*/weights.safetensors")}
    for path in runs.glob("tiny/gan/*/scores.csv"):
        path.unlink()
    [outcome] = on_cluster(scatter, backends.serial, whole(suite, runs)[:1], 1, quiet)
    assert (outcome.trained, outcome.measured) == (0, 2) and scores(runs) == before
    assert way == "bytes" or {path: path.stat().st_mtime_ns for path in weights} == weights


def test_run_of_other_code_is_replaced_as_a_whole(suite: Path, runs: Path, scores: Scores, way: str) -> None:
    before = scores(runs)
    for path in runs.glob("tiny/gan/*/status.json"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace('"code": "', '"code": "0'), encoding="utf-8")
        (path.parent / "traversal.png").touch()
    [outcome] = on_cluster(scatter, backends.serial, whole(suite, runs)[:1], 1, quiet)
    assert (outcome.trained, outcome.measured) == (2, 2) and scores(runs) == before
    assert not list(runs.glob("tiny/gan/*/traversal.png"))


def test_lost_call_costs_its_own_jobs_only(suite: Path, tmp_path: Path, way: str) -> None:
    def losing(call: Any, items: Sequence[Any], cores: int, gpus: int) -> Iterator[tuple[int, Any]]:
        for index, result in scatter(call, items, cores, gpus):
            yield index, OSError("first line\nnode died") if index == 0 else result

    outcomes = on_cluster(losing, backends.serial, jobs_of(suite, tmp_path), 1, quiet)
    assert [bool(outcome.error) for outcome in outcomes] == [True, False, False]
    with pytest.raises(UserError, match=r"^gan: OSError: node died; run the same command again to go on$"):
        check(outcomes)


def test_each_call_gets_cores_for_its_jobs_and_one_gpu(suite: Path, tmp_path: Path) -> None:
    asked = []

    def note(call: Any, items: Sequence[Any], cores: int, gpus: int) -> Iterator[tuple[int, Any]]:
        asked.append(([[job.model for job in item.jobs] for item in items], cores, gpus))
        yield from ((index, OSError("not here")) for index in range(len(items)))

    todo = [replace(job, device="cuda") for job in jobs_of(suite, tmp_path, vae={"rounds": 50})]
    on_cluster(note, backends.serial, todo, 2, quiet)
    on_cluster(note, backends.serial, jobs_of(suite, tmp_path), 1, quiet)
    assert asked == [([["vae", "gan"], ["real-train"]], 2, 1), ([["gan"], ["vae"], ["real-train"]], 1, 0)]


def test_plugin_that_fails_on_the_machine_is_an_outcome(suite: Path, tmp_path: Path) -> None:
    [job, *_] = jobs_of(suite, tmp_path)
    outcomes = on_cluster(scatter, backends.serial, [replace(job, plugins=("gone.py",))], 1, quiet)
    assert "gone.py' does not exist" in outcomes[0].error


def test_mistakes_of_backends(suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    todo = jobs_of(suite, tmp_path)
    with pytest.raises(UserError, match=r"^backend serial takes nothing after its name, got 'gpu'$"):
        backends.run_jobs(todo, 1, quiet, "serial:gpu")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"^backend ray needs Ray; pip install 'ganbench\[ray\]'$"):
        backends.run_jobs(todo, 1, quiet, "ray")
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r"^backend slurm needs submitit; pip install 'ganbench\[slurm\]'$"):
        backends.run_jobs(todo, 1, quiet, "slurm")
    assert choose_device("cuda", elsewhere=True) == "cuda"


@pytest.mark.nightly
def test_slurm_on_this_machine(suite: Path, finished: Path, tmp_path: Path, scores: Scores) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed")
    outcomes = backends.run_jobs(whole(suite, tmp_path), 2, quiet, "slurm:cluster=local,timeout_min=5")
    check(outcomes)
    assert [one.model for one in outcomes] == ["gan", "real-train", "vae"]
    assert scores(tmp_path) == scores(finished)


def test_slurm_goes_on_after_a_preemption_and_names_unknown_options(suite: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed")
    assert slurm._Restarted(len).checkpoint([1, 2]).result() == 2
    with pytest.raises(UserError, match=r"^backend slurm:cluster=local,queue=gpu: .*'queue' need"):
        backends.run_jobs(jobs_of(suite, tmp_path), 1, quiet, "slurm:cluster=local,queue=gpu")


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Any]:
    """Return a Ray cluster of two nodes with a core each, to which the test is connected."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes.add_node(num_cpus=1)
    ray.init(nodes.address, log_to_driver=False)
    nodes.wait_for_nodes()
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.mark.nightly
def test_ray_gives_the_rows_of_one_machine(
    two_nodes: Any, suite: Path, finished: Path, tmp_path: Path, scores: Scores, way: str
) -> None:
    check(backends.run_jobs(whole(suite, tmp_path), 1, quiet, "ray"))
    assert scores(tmp_path) == scores(finished)


WATCHED = """
from ganbench.execution import jobs
from ganbench.training import loop

def train(specs, data, out, *rest, **options):
    found = any(out.glob(f"*/{specs[0].model}/checkpoint-*.pt"))
    with open(STARTS, "a") as file:
        print("goes on" if found else "begins", file=file)
    loop.train(specs, data, out, *rest, checkpoint_seconds=0.1, **options)

jobs.train = train
"""


def long_jobs(suite: Path, out: Path, plugin: Path, starts: Path) -> list[Job]:
    """Return two jobs of some seconds that save themselves often and write down how their trainings start."""
    plugin.write_text(WATCHED.replace("STARTS", repr(str(starts))), encoding="utf-8")
    plan = expand(read_suite(str(suite)), "quick", ["gan", "vae"])
    specs = {name: tuple(replace(spec, rounds=3000) for spec in specs) for name, specs in plan.items()}
    return [Job(each, ("authenticity",), out, "cpu", plugins=(str(plugin),)) for each in specs.values()]


@pytest.mark.nightly
def test_ray_goes_on_after_the_death_of_a_node(
    two_nodes: Any, suite: Path, tmp_path: Path, scores: Scores
) -> None:
    starts = tmp_path / "starts"
    todo = long_jobs(suite, tmp_path / "a", tmp_path / "watched.py", starts)

    def kill() -> None:
        limit = time.monotonic() + SECONDS
        while len(list(tmp_path.glob("a/tiny/*/checkpoint-*.pt"))) < 2 and time.monotonic() < limit:
            time.sleep(0.05)
        two_nodes.remove_node(next(iter(two_nodes.worker_nodes)), allow_graceful=False)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    outcomes = backends.run_jobs(todo, 1, quiet, "ray")
    killer.join()
    two_nodes.add_node(num_cpus=1)
    check(outcomes)
    check(backends.run_jobs([replace(job, out=tmp_path / "b") for job in todo], 1, quiet))
    assert scores(tmp_path / "a") == scores(tmp_path / "b")
    assert starts.read_text(encoding="utf-8").splitlines() == ["begins", "begins", "goes on"]


@pytest.mark.nightly
def test_killed_driver_of_ray_goes_on(
    two_nodes: Any, suite: Path, finished: Path, tmp_path: Path, scores: Scores, ganbench: Callable[..., Any]
) -> None:
    command = ["run", "--suite", str(suite), "--out", str(tmp_path), "--device", "cpu"]
    backend = ["--backend", f"ray:{two_nodes.address}"]
    driver = subprocess.Popen(
        [sys.executable, "-m", "ganbench.cli", *command, *backend], stdout=subprocess.DEVNULL
    )
    limit = time.monotonic() + SECONDS
    while not list(tmp_path.glob("tiny/*/*/scores.csv")) and time.monotonic() < limit and driver.poll() is None:
        time.sleep(0.01)
    driver.kill()
    driver.wait()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("tiny/*/*/scores.csv")}
    assert 0 < len(before) < 6
    answer = ganbench(*command, "--backend", "ray")
    assert answer.code == 0 and "of 6 runs" in answer.out
    assert scores(tmp_path) == scores(finished)
    assert {path: path.stat().st_mtime_ns for path in before} == before
