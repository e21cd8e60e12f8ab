"""Where work runs: the same rows from one process or several, and one failure that stops no other model."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from ganbench import datasets, registry
from ganbench.errors import UserError
from ganbench.evaluation import real
from ganbench.execution import backends, jobs, processes
from ganbench.execution.jobs import Job, Outcome, choose_device
from ganbench.suites.expand import expand
from ganbench.suites.spec import RunSpec
from ganbench.suites.suite import read_suite

Scores = Callable[[Path], dict[str, str]]
METRICS = ("authenticity",)


def jobs_of(suite: Path, out: Path, **changes: dict[str, object]) -> list[Job]:
    """Return the jobs of the tiny suite, each model's specifications changed as asked."""
    plan = expand(read_suite(str(suite)), "quick")

    def changed(model: str, specs: list[RunSpec]) -> tuple[RunSpec, ...]:
        return tuple(replace(spec, **changes.get(model, {})) for spec in specs)  # type: ignore[arg-type]

    return [Job(changed(model, specs), METRICS, out, "cpu") for model, specs in plan.items()]


def quiet(*news: object) -> None:
    """Take news and say nothing."""


def test_two_processes_give_the_rows_of_one_in_the_order_of_the_work(
    suite: Path, finished: Path, tmp_path: Path, scores: Scores
) -> None:
    metrics = read_suite(str(suite)).metrics
    todo = [replace(work, metrics=metrics) for work in jobs_of(suite, tmp_path)[::-1]]
    outcomes = backends.run_jobs(todo, 2, quiet)
    assert [outcome.model for outcome in outcomes] == [work.model for work in todo]
    assert [(outcome.trained, outcome.measured) for outcome in outcomes] == [(2, 2)] * 3
    assert scores(tmp_path) == scores(finished)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.nightly)])
def test_failure_is_told_after_the_others_are_finished(suite: Path, tmp_path: Path, workers: int) -> None:
    todo = jobs_of(suite, tmp_path, gan={"batch": 5000}, **{"real-train": {"batch": 6000}})
    outcomes = backends.run_jobs(todo, workers, quiet)
    assert [bool(outcome.error) for outcome in outcomes] == [True, True, False]
    with pytest.raises(UserError) as caught:
        jobs.check(outcomes)
    assert str(caught.value).startswith("gan: batch 5000 is larger than the 1197 training images")
    assert str(caught.value).endswith("; also failed: real-train")
    assert len(list(tmp_path.glob("tiny/vae/*/scores.csv"))) == 2
    assert not list(tmp_path.glob("tiny/gan/*/status.json"))


def test_bug_in_one_model_is_told_after_the_others_are_finished(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(self: object, *arguments: object) -> None:
        raise ZeroDivisionError("in the loss")

    monkeypatch.setattr(registry.models.get("gan").game, "generator_loss", bug)
    outcomes = backends.run_jobs(jobs_of(suite, tmp_path), 1, quiet)
    with pytest.raises(UserError, match=r"^gan: ZeroDivisionError: in the loss; --debug") as caught:
        jobs.check(outcomes)
    assert "in bug" in caught.value.__notes__[0] and "Traceback" in caught.value.__notes__[0]
    assert len(list(tmp_path.glob("tiny/vae/*/scores.csv"))) == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_absent_dataset_is_one_error_before_any_work(
    suite: Path, tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("no work must begin")

    monkeypatch.setattr(jobs, "run_job", never)
    monkeypatch.setattr(backends, "in_processes", never)
    changes = {model: {"dataset": "mnist"} for model in ("gan", "vae", "real-train")}
    todo = [replace(job, data_root=str(tmp_path), download=False) for job in jobs_of(suite, tmp_path, **changes)]
    with pytest.raises(UserError, match=r"^mnist: "):
        backends.run_jobs(todo, workers, quiet)


def test_news_add_up(suite: Path, tmp_path: Path) -> None:
    news: list[tuple[str, str, int, float]] = []
    outcomes = backends.run_jobs(jobs_of(suite, tmp_path), 1, lambda *one: news.append(one))
    assert [outcome.model for outcome in outcomes] == ["gan", "real-train", "vae"]
    for model in ("gan", "real-train", "vae"):
        total = {
            stage: sum(done for name, kind, done, _ in news if (name, kind) == (model, stage))
            for stage in ("train", "trained", "measured")
        }
        assert total == {"train": 40, "trained": 2, "measured": 2}


def test_dataset_is_loaded_once_for_all_models(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, calls = datasets.load, []

    def counting(*arguments: object) -> object:
        calls.append(arguments)
        return load(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(datasets, "load", counting)
    real._loaded.cache_clear()
    backends.run_jobs(jobs_of(suite, tmp_path), 1, quiet)
    assert len(calls) == 1


def test_a_backend_is_one_function(suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cluster(todo: list[Job], workers: int, tell: object) -> list[Outcome]:
        return [Outcome(f"{job.model} on node {place % workers}") for place, job in enumerate(todo)]

    monkeypatch.setitem(backends.BACKENDS, "cluster", cluster)
    outcomes = backends.run_jobs(jobs_of(suite, tmp_path), 2, quiet, "cluster")
    assert [one.model for one in outcomes] == ["gan on node 0", "real-train on node 1", "vae on node 0"]
    with pytest.raises(UserError, match=r"^unknown backend 'clutser'; did you mean cluster"):
        backends.run_jobs(jobs_of(suite, tmp_path), 2, quiet, "clutser")


def test_runs_that_another_process_works_on_are_taken_last(
    suite: Path, finished: Path, tmp_path: Path, scores: Scores
) -> None:
    metrics = read_suite(str(suite)).metrics
    todo = [replace(job, metrics=metrics) for job in jobs_of(suite, tmp_path)]
    todo[0].lock.parent.mkdir(parents=True)
    other, news = FileLock(todo[0].lock), []

    def tell(model: str, stage: str, *rest: object) -> None:
        news.append((model, stage))
        if news.count(("vae", "measured")) == 2:
            other.release()

    other.acquire()
    outcomes = backends.run_jobs(todo, 1, tell)
    order = list(dict.fromkeys(news))
    assert order[0] == ("gan", "busy") and [model for model, stage in order if stage == "trained"] == [
        *("real-train", "vae", "gan")
    ]
    assert [(outcome.model, outcome.trained, outcome.measured) for outcome in outcomes] == [
        (name, 2, 2) for name in ("gan", "real-train", "vae")
    ]
    assert scores(tmp_path) == scores(finished)


def test_what_another_process_has_finished_meanwhile_is_not_done_again(suite: Path, tmp_path: Path) -> None:
    [job, *_] = jobs_of(suite, tmp_path)
    job.lock.parent.mkdir(parents=True)
    other = FileLock(job.lock)

    def tell(model: str, stage: str, *rest: object) -> None:
        assert stage == "busy"
        jobs._run(job, quiet)
        other.release()

    other.acquire()
    [outcome] = backends.run_jobs([job], 1, tell)
    assert (outcome.trained, outcome.measured, outcome.error, outcome.busy) == (0, 0, "", False)
    assert not job.untrained() and not job.unmeasured()


def test_runs_of_other_settings_are_trained_beside(suite: Path, tmp_path: Path) -> None:
    [job, *_] = jobs_of(suite, tmp_path)
    [other, *_] = jobs_of(suite, tmp_path, gan={"rounds": 10})
    job.lock.parent.mkdir(parents=True)
    with FileLock(other.lock):
        [outcome] = backends.run_jobs([job], 1, quiet)
    assert outcome.trained == 2


def test_device() -> None:
    assert choose_device("cpu") == "cpu" and choose_device("auto") in ("cpu", "cuda", "mps")
    with pytest.raises(UserError, match=r"^unknown device 'gpu'; give auto, cpu, cuda or mps$"):
        choose_device("gpu")


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_device_that_is_not_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError, match=f"^--device {name}: this machine has none"):
        choose_device(name)
    assert choose_device("auto") == "cpu"


HASTY = """
import functools
from ganbench.execution import jobs
from ganbench.training import loop
jobs.train = functools.partial(loop.train, checkpoint_seconds=0.1)
"""


def test_killed_worker_costs_its_own_model_only_and_its_run_goes_on(
    suite: Path, tmp_path: Path, scores: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hasty.py").write_text(HASTY, encoding="utf-8")
    long = {"gan": {"rounds": 600}}
    plain = [
        replace(work, plugins=(str(tmp_path / "hasty.py"),)) for work in jobs_of(suite, tmp_path / "a", **long)
    ]
    todo = [replace(work, out=tmp_path / "b") for work in plain]
    jobs.check(backends.run_jobs(plain, 1, quiet))

    pids: dict[str, int] = {}
    give = processes._Worker.give

    def note(worker: processes._Worker, place: int, job: Job) -> None:
        pids[job.model] = worker.process.pid or 0
        give(worker, place, job)

    def kill(model: str, *news: object) -> None:
        if model == "gan" and pids["gan"] and list(tmp_path.glob("b/tiny/gan/checkpoint-*.pt")):
            os.kill(pids["gan"], signal.SIGKILL)
            pids["gan"] = 0

    monkeypatch.setattr(processes._Worker, "give", note)
    outcomes = backends.run_jobs(todo, 2, kill)
    assert [(outcome.model, outcome.measured) for outcome in outcomes] == [
        ("gan", 0),
        ("real-train", 2),
        ("vae", 2),
    ]
    with pytest.raises(UserError) as caught:
        jobs.check(outcomes)
    assert str(caught.value) == (
        "gan: its process was killed by signal 9, perhaps for want of memory; run the same command again to go on"
    )
    assert not list(tmp_path.glob("b/tiny/gan/*/status.json"))

    rounds = []
    left = [work for work in todo if work.untrained()]
    outcomes = backends.run_jobs(
        left, 1, lambda model, stage, done, speed: rounds.append((stage == "train") * done)
    )
    assert [(outcome.model, outcome.trained, outcome.error) for outcome in outcomes] == [("gan", 2, "")]
    assert 0 < sum(rounds) < 2 * 600, "it must go on, not begin anew"
    assert scores(tmp_path / "b") == scores(tmp_path / "a")


THREADS = """
import os
import torch
from ganbench.game import Config, Game, Uniform

class Threads(Game):
    '''Writes down how many threads it gets.'''
    name = "threads"
    role = "reference"
    def __init__(self, data, config=Config()):
        super().__init__(data, config)
    def noise(self):
        return {"z": Uniform(*self.data.shape)}
    def fit(self, images, labels, seed):
        with open(os.environ["GANBENCH_THREADS"], "a") as file:
            print(torch.get_num_threads(), os.environ["OMP_NUM_THREADS"], file=file)
    def sample(self, noise):
        return noise["z"]
"""


def test_a_worker_works_with_the_threads_of_its_share(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_registry: None
) -> None:
    (tmp_path / "threads.py").write_text(THREADS, encoding="utf-8")
    monkeypatch.setenv("GANBENCH_THREADS", str(tmp_path / "notes"))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    registry.load_plugin(tmp_path / "threads.py")
    plan = expand(read_suite(str(suite)), "quick", ["threads", "real-train"], seeds=1)
    plugins = (str(tmp_path / "threads.py"),)
    todo = [Job(tuple(specs), METRICS, tmp_path, "cpu", plugins=plugins) for specs in plan.values()]
    jobs.check(backends.run_jobs(todo, 2, quiet))
    assert (tmp_path / "notes").read_text(encoding="utf-8").split("\n")[:-1] == ["2 2"]


@pytest.mark.parametrize(("cores", "workers", "share"), [(5, 2, "2"), (1, 2, "1"), (6, 9, "2")])
def test_workers_share_out_the_threads(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, workers: int, share: str
) -> None:
    def begin(run_job: object, items: list[Job], count: int, *rest: object, **options: object) -> list[Outcome]:
        assert (count, options["environment"]) == (min(workers, 3), {"OMP_NUM_THREADS": share})
        return [Outcome(job.model) for job in items]

    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    monkeypatch.setattr(backends, "in_processes", begin)
    assert len(backends.run_jobs(jobs_of(suite, tmp_path), workers, quiet)) == 3


def test_longest_work_begins_first_and_outcomes_keep_their_order(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = jobs_of(suite, tmp_path, vae={"rounds": 50})

    def begin(run_job: object, items: list[Job], *rest: object, **options: object) -> list[Outcome]:
        assert [job.model for job in items] == ["vae", "gan", "real-train"]
        return [Outcome(job.model) for job in items]

    monkeypatch.setattr(backends, "in_processes", begin)
    assert [outcome.model for outcome in backends.run_jobs(todo, 2, quiet)] == ["gan", "real-train", "vae"]


def test_every_worker_gets_its_share_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[float] = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", shares.append)
    backends._prepare((), "cuda", 3)
    backends._prepare((), "cpu", 3)
    assert shares == [pytest.approx(0.3)]
