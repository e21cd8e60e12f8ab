"""Many pieces of work in a few processes, any of which may die without harm to the others."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Serve = Callable[[Any, Callable[..., None]], Any]
PATIENCE = 5.0  # seconds that a process gets to clear up


class _Worker:
    """A process with a pipe of its own: no lock or queue that it could take into its grave is shared."""

    def __init__(
        self, prepare: Callable[[], None], run_job: Callable[..., Any], environment: Mapping[str, str]
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.place = 0
        self.pipe, end = context.Pipe()
        self.process = context.Process(target=_serve, args=(end, prepare, run_job))
        with _inherited(environment):
            self.process.start()
        end.close()  # the process holds the only one now, so that its death ends the pipe

    def give(self, place: int, item: object) -> None:
        """Hand over an item; a process that is dead already is noticed when its pipe is read."""
        self.place = place
        with suppress(OSError):
            self.pipe.send(item)

    def end(self) -> int | None:
        """Make sure that the process is over; return its exit code."""
        self.pipe.close()
        self.process.join(PATIENCE)
        self.process.kill()
        self.process.join()
        return self.process.exitcode


@contextmanager
def _inherited(environment: Mapping[str, str]) -> Iterator[None]:
    """Let a process that is started here see these variables, and leave Ctrl-C to this one from the start."""
    before = dict(os.environ)
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(environment)
    try:
        yield
    finally:
        for name in environment:
            del os.environ[name]
        os.environ.update(before)
        signal.signal(signal.SIGINT, handler)


def _serve(pipe: Connection, prepare: Callable[[], None], run_job: Serve) -> None:
    """Perform what comes through the pipe until it is closed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # an orderly end: no temporary file stays behind
    prepare()
    with suppress(EOFError, OSError):
        while True:
            item = pipe.recv()
            pipe.send((True, run_job(item, lambda *news: pipe.send((False, news)))))


def in_processes(
    run_job: Callable[[Item, Callable[..., None]], Result],
    items: Sequence[Item],
    workers: int,
    hear: Callable[..., None],
    lost: Callable[[Item, str], Result],
    prepare: Callable[[], None],
    environment: Mapping[str, str],
) -> list[Result]:
    """Return what becomes of every item, in order.

    Args:
        perform: called in a process with an item and a callback for news; it must raise nothing.
        items: begun in this order.
        workers: number of processes; one that dies is replaced.
        hear: called in this process with the arguments of each piece of news.
        lost: gives the result for an item whose process died, from the item and the cause in words.
        prepare: called once in every process.
        environment: variables of the processes.
    """
    results: dict[int, Result] = {}
    left = iter(enumerate(items))
    crew: dict[Connection, _Worker] = {}

    def employ(worker: _Worker | None = None) -> None:
        """Give the next item to a worker or to a new one; without an item none is needed."""
        if (task := next(left, None)) is not None:
            worker = worker or _Worker(prepare, run_job, environment)
            crew[worker.pipe] = worker
            worker.give(*task)
        elif worker is not None:
            del crew[worker.pipe]
            worker.end()

    try:
        for _ in range(workers):
            employ()
        while crew:
            for pipe in wait(list(crew)):
                worker = crew[pipe]  # type: ignore[index]
                try:
                    over, news = worker.pipe.recv()
                except (EOFError, OSError):
                    del crew[worker.pipe]
                    results[worker.place] = lost(items[worker.place], _cause(worker.end()))
                    employ()
                    continue
                if not over:
                    hear(*news)
                    continue
                results[worker.place] = news
                employ(worker)
    finally:
        for worker in crew.values():
            worker.process.terminate()
        for worker in crew.values():
            worker.end()
    return [results[place] for place in range(len(items))]


def _cause(code: int | None) -> str:
    """Return in words how a process ended."""
    if code is None or code >= 0:
        return f"its process ended with exit code {code}"
    hint = ", perhaps for want of memory" if code == -9 else ""
    return f"its process was killed by signal {-code}{hint}"
