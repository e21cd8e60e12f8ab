"""Work in processes that may die: what is lost is one item, in whichever way a process ends."""

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from ganbench.execution import processes
from ganbench.execution.processes import in_processes

Tell = Callable[..., None]


def act(item: str, tell: Tell) -> str:
    """Do what the item says; called in a worker process."""
    if item.startswith("signal"):
        os.kill(os.getpid(), int(item.split()[1]))
    if item.startswith("leave"):
        os._exit(int(item.split()[1]))
    if item == "exit":
        sys.exit()
    if item == "raise":
        raise ZeroDivisionError
    if item == "thousand":
        for number in range(1000):
            tell(item, number)
    if item.startswith("wait"):
        tell(item)
        time.sleep(float(item.split()[1]))
    if item in os.environ:
        return os.environ[item]
    return f"done {item} by {os.getpid()}"


def nothing() -> None:
    """Prepare nothing."""


def work(
    items: list[str],
    workers: int = 2,
    hear: Tell = lambda *news: None,
    prepare: Callable[[], None] = nothing,
    **environment: str,
) -> list[str]:
    """Return what becomes of each item."""
    return in_processes(act, items, workers, hear, lambda item, why: f"{item}: {why}", prepare, environment)


def test_results_come_in_the_order_of_the_items_from_so_many_processes() -> None:
    results = work(["wait 0.5", "a", "b", "c", "d", "wait 0.5"])
    assert [result.split(" by ")[0] for result in results] == [
        "done wait 0.5",
        *(f"done {name}" for name in "abcd"),
        "done wait 0.5",
    ]
    pids = {result.split(" by ")[1] for result in results}
    assert len(pids) == 2 and str(os.getpid()) not in pids


@pytest.mark.parametrize(
    ("end", "cause"),
    [
        ("signal 9", "killed by signal 9, perhaps for want of memory"),
        ("signal 11", "killed by signal 11"),
        ("leave 0", "ended with exit code 0"),
        ("leave 3", "ended with exit code 3"),
        ("exit", "ended with exit code 0"),
        ("raise", "ended with exit code 1"),
    ],
)
def test_death_costs_one_item(end: str, cause: str) -> None:
    results = work(["wait 0.2", end, "a", "b", end])
    assert results[1].endswith(cause) and results[1] == results[4]
    assert [results[place].split(" by ")[0] for place in (0, 2, 3)] == ["done wait 0.2", "done a", "done b"]


def die_once(mark: Path) -> None:
    """Die while the process is being prepared, the first time."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def test_death_before_the_work_begins_costs_one_item(tmp_path: Path) -> None:
    results = work(["a", "b", "c"], prepare=partial(die_once, tmp_path / "mark"))
    assert sum("killed by signal 9" in result for result in results) == 1
    assert sum(result.startswith("done") for result in results) == 2


def test_all_news_arrive_in_order() -> None:
    heard: dict[str, list[int]] = {}
    work(["thousand", "thousand", "a"], hear=lambda item, number: heard.setdefault(item, []).append(number))
    assert sorted(heard["thousand"]) == sorted([*range(1000), *range(1000)])
    assert work(["thousand"], 1, hear=lambda item, number: heard.setdefault("one", []).append(number))
    assert heard["one"] == list(range(1000))


def test_environment_is_that_of_the_processes_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANBENCH_OLD", "before")
    before = dict(os.environ)
    assert work(["GANBENCH_OLD", "GANBENCH_NEW"], GANBENCH_OLD="after", GANBENCH_NEW="new") == ["after", "new"]
    assert dict(os.environ) == before


def test_a_process_that_is_interrupted_is_ended_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends the parent's wait, here in the middle of news, ends the workers in the middle of their work."""
    workers: list[processes._Worker] = []
    give = processes._Worker.give

    def spy(self: processes._Worker, place: int, item: object) -> None:
        workers.append(self)
        give(self, place, item)

    def interrupt(*news: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(processes._Worker, "give", spy)
    with pytest.raises(KeyboardInterrupt):
        work(["wait 600", "wait 601"], hear=interrupt)
    assert len(workers) == 2 and not any(worker.process.is_alive() for worker in workers)


def test_ctrl_c_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    work(["a"])
    assert signal.getsignal(signal.SIGINT) is before
