"""`make bench`: a quick pass over the working tree, compared with the last committed results of such a machine.

`python tests/bench.py machine` only prints the kind, for asv's --machine; `python tests/bench.py check`, which is
`make bench-check`, runs one case of every benchmark class, to see that it still runs.
"""

from __future__ import annotations

import inspect
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import torch
from asv.commands.compare import Compare
from asv.config import Config
from asv.machine import Machine, MachineCollection
from asv.results import Results, iter_results_for_machine_and_hash

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("time", "timeraw", "track", "peakmem")  # what the names of benchmarks begin with
FACTORS = {"quality": 1.05, "": 1.5}  # one sample of a time says little; a score is the same number again


def machine() -> str:
    """Tell asv what kind of machine this is and return the name, e.g. "cpu-2-cores-x86_64"."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    what = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu-{cores}-cores"
    name = re.sub(r"[^a-z0-9_]+", "-", f"{what}-{platform.machine()}".lower())
    data_spec = Machine.get_defaults()  # with the name of the host and the memory in bytes
    data_spec |= {"machine": name, "os": platform.system(), "ram": f"{int(data_spec['ram']) / 2**30:.0f} GiB"}
    MachineCollection.save(name, data_spec)
    return name


def git(*arguments: str) -> list[str]:
    """Return the words that a git command prints."""
    run = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return run.stdout.split()


def last_committed(results: str, name: str) -> str | None:
    """Return the newest commit, counted back from HEAD, whose results for this machine are committed."""
    paths = git("ls-tree", "-r", "--name-only", "HEAD", f"{results}/{name}/")
    known = {path.rpartition("/")[2][:8] for path in paths}
    return next((commit for commit in git("rev-list", "HEAD") if commit[:8] in known), None)


def rows(result: Results, part: str) -> Iterator[tuple[Any, ...]]:
    """Return what asv's table needs of a result file, for quality or for all else."""
    for key in result.get_all_result_keys():
        if key.startswith("quality") == (part == "quality"):
            params = result.get_result_params(key)
            ask = (result.get_result_value, result.get_result_stats, result.get_result_samples)
            # The environments' names differ, and asv would compare nothing: they stay out.
            yield key, params, *(each(key, params) for each in ask), result.benchmark_version.get(key), "", ""


def benchmarks() -> list[type]:
    """Return the benchmark classes of tests/speed."""
    sys.path.insert(0, str(ROOT))
    files = [
        import_module(f"tests.speed.{path.stem}") for path in sorted((ROOT / "tests" / "speed").glob("[a-z]*.py"))
    ]
    return [
        cls for file in files for cls in vars(file).values() if inspect.isclass(cls) and hasattr(cls, "version")
    ]


def run_case(cls: type) -> str:
    """Run the benchmarks of a class with the first parameters that it does not skip; return these, or why none."""
    reason = ""
    for case in product(*getattr(cls, "params", ())):
        benchmark = cls()
        try:
            getattr(benchmark, "setup", lambda *case: None)(*case)
            for name in (name for name in vars(cls) if name.partition("_")[0] in KINDS):
                found = getattr(benchmark, name)(*case)
                if name.startswith("timeraw_"):
                    subprocess.run([sys.executable, "-c", found], check=True)
            return f"ran {', '.join(map(str, case))}"
        except NotImplementedError as error:
            reason = f"skipped: {error}"
    return reason


def check() -> int:
    """Return 0 if a case of every benchmark class runs, but for those that need a GPU where there is none."""
    results = {f"{cls.__module__}.{cls.__name__}": run_case(cls) for cls in benchmarks()}
    for name, result in results.items():
        print(f"{name}: {result}")
    return int(any(not result.startswith(("ran", "skipped: no CUDA")) for result in results.values()))


def main() -> int:
    """Return asv's exit code: 0, or 2 if a benchmark failed."""
    conf, name, head = Config.load(), machine(), git("rev-parse", "HEAD")[0]
    command = [sys.executable, "-m", "asv", "run", "--quick", "--show-stderr", "-E", "existing", "--machine", name]
    code = subprocess.run([*command, "--set-commit-hash", head], cwd=ROOT).returncode
    before = last_committed(conf.results_dir, name)
    if before is None:
        print(f"no committed results of {name} to compare with; the README says how to make them")
        return code
    found = {c: list(iter_results_for_machine_and_hash(conf.results_dir, name, c[:8])) for c in (before, head)}
    old = next(result for result in found[before] if not result.env_name.startswith("existing"))
    new = next((result for result in found[head] if result.env_name.startswith("existing")), None)
    if new is None:
        return code
    for part, factor in FACTORS.items():
        print(f"\n{part or 'speed and memory'}: + worse or - better by a factor of {factor}, ! fails now")
        changed = Compare.print_table(
            conf, before, head, factor, False, rows(old, part), rows(new, part), only_changed=True
        )
        if not any(changed):
            print("nothing changed")
    return code


if __name__ == "__main__":
    if sys.argv[1:] == ["machine"]:
        print(machine())
    else:
        sys.exit(check() if sys.argv[1:] == ["check"] else main())
