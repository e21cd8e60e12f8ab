"""Equal parts of the jobs of a suite, for machines that know nothing of each other."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ganbench.errors import UserError
from ganbench.execution.jobs import Job


def shard_of(jobs: Sequence[Job], shard: str) -> list[Job]:
    """Return one part of the jobs; the parts of all i are disjoint, and together they are all jobs.

    Parts cost about the same: the costliest job goes first, each to the part that has least to do. What is
    finished already counts as if it were not, so that every machine makes the same parts.

    Args:
        jobs: the same on all machines.
        shard: "i/n" with 1 <= i <= n.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    index, count = map(int, match.groups()) if match else (0, 0)
    if not 1 <= index <= count:
        raise UserError(f"--shard expects i/n with i from 1 to n, got '{shard}'; for example 1/2 and 2/2")
    loads = [(0, 0)] * count  # cost and number of the jobs of a part
    mine = set()
    for place in sorted(range(len(jobs)), key=lambda place: -jobs[place].cost):
        part = loads.index(min(loads))
        loads[part] = (loads[part][0] + jobs[place].cost, loads[part][1] + 1)
        if part == index - 1:
            mine.add(place)
    return [jobs[place] for place in sorted(mine)]
