"""The pages that tell people what to type, and a small world in which every command of theirs takes a moment."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from ganbench import datasets, registry
from ganbench.datasets import Dataset
from ganbench.evaluation import real
from ganbench.execution import backends
from ganbench.suites import suite as suites
from ganbench.suites.expand import chosen_models
from ganbench.suites.suite import Budget, Suite
from ganbench.training import engines

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FIRST = [ROOT / "README.md", DOCS / "cli.md", DOCS / "extending.md", DOCS / "results.md"]
PAGES = list(
    dict.fromkeys([*FIRST, *sorted(DOCS.glob("*.md")), ROOT / "results/README.md", ROOT / "CONTRIBUTING.md"])
)
CANNOT_RUN = ("# needs a GPU", "# needs a cluster")  # end a line whose options are parsed only
ITEMS = {"train": 240, "validation": 80, "test": 80}


def blocks(page: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (name in the comment above it, language, text) of each fenced block of a page."""
    fence = r"(?:<!-- (\S+) -->\n)?```(\w*)\n(.*?)```"
    return ((m[1] or "", m[2], m[3]) for m in re.finditer(fence, page.read_text(encoding="utf-8"), re.DOTALL))


def files() -> dict[str, str]:
    """Return name -> text of the files that the pages ask to save."""
    found = {name: text for page in PAGES for name, _, text in blocks(page) if name}
    return {{"graph": "my_graph.py"}.get(name, name): text for name, text in found.items()}


def lines() -> list[tuple[str, str]]:
    """Return (page, line) of every shell line, and of every command with options inside a sentence, each once."""
    found: dict[str, tuple[str, str]] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        shell = [line for _, language, block in blocks(page) if language == "sh" for line in block.splitlines()]
        plain = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        spoken = [" ".join(match.split()) for match in re.findall(r"`(ganbench \w+ [^`]*--[^`]+)`", plain)]
        spoken = [line for line in spoken if not re.search(r"\b[A-Z]{2,}\b", line)]
        for line in [*shell, *spoken]:
            if line.strip():
                found.setdefault(" ".join(words(line)), (page.name, line.strip()))
    return list(found.values())


def words(line: str) -> list[str]:
    """Return the words of a command without its comment."""
    return shlex.split(line, comments=True)


def named(suite: Suite) -> set[str]:
    """Return the models that the pages name beside a suite or the folder of its runs."""
    found = set()
    for _, line in lines():
        if re.search(rf"(--suite |runs/){re.escape(suite.name)}(?![\w-])", line):
            for models in re.findall(r"--models (\S+)", line):
                found |= set(models.split(","))
    return found


def small(suite: Suite) -> Suite:
    """Return a suite of the same name that takes a moment: its models are those that the pages name."""
    own = chosen_models(suite)
    models = [name for name in own if name in named(suite)] or own[:1]
    backbone = {"kind": "mlp", "generator": [12], "critic": [12]}
    known = {field for name in models for field in registry.models.get(name).settings(backbone)}

    def reach(settings: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in settings.items() if key[0] != "*" or key.split(".")[1] in known}

    budgets = {
        name: Budget(rounds=2, seeds=1, batch=20, samples=60, snapshots=1, settings=reach(budget.settings))
        for name, budget in suite.budgets.items()
    }
    return replace(
        suite,
        models=tuple(models),
        metrics=suite.metrics[:1] if "stacked" not in suite.name else ("kid@pixels",),  # instead of 26,000 images
        datasets=suite.datasets[:1],
        backbone=backbone,
        budgets=budgets,
        settings=reach(suite.settings),
    )


def few(data: Dataset) -> Dataset:
    """Return the first items of each split."""

    def cut(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {split: rows[: ITEMS[split]] for split, rows in values.items()}

    return replace(data, images=cut(data.images), labels=cut(data.labels))


def like(digits: Dataset, name: str, channels: int) -> Dataset:
    """Return the 8x8 digits under another name, with 28x28 pixels and some equal channels."""

    def enlarged(x: torch.Tensor) -> torch.Tensor:
        wide = x.repeat_interleave(3, 2).repeat_interleave(3, 3)
        return torch.nn.functional.pad(wide, (2, 2, 2, 2)).repeat(1, channels, 1, 1)

    return replace(digits, name=name, images={split: enlarged(x) for split, x in digits.images.items()})


def save_files(folder: Path) -> None:
    """Write the files of the pages, and images of a user's own."""
    for name, text in files().items():
        if "." in name:
            (folder / name).write_text(text, encoding="utf-8")
    (folder / "results").mkdir()
    shutil.copy(ROOT / "results" / "experiments.toml", folder / "results")
    pixels = (load_digits().images * 15).astype(np.uint8)
    np.savez(folder / "mine.npz", images=pixels[:200])
    (folder / "photos").mkdir()
    for index, image in enumerate(pixels[:200]):
        Image.fromarray(image).save(folder / "photos" / f"{index}.png")
    for index in range(120):
        (folder / "clips" / str(index)).mkdir(parents=True)
        for frame in range(4):
            tile = np.tile(pixels[index + frame], (2, 2))
            Image.fromarray(tile).save(folder / "clips" / str(index) / f"{frame}.png")


def make_small_world(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make a folder with the files of the pages the working one, and shrink all suites and datasets."""
    importlib.import_module("ganbench.execution.reproduce")  # first imported here it would keep the small world
    save_files(folder)
    patch.chdir(folder)
    read, load, digits = suites.read_suite, datasets.load, datasets.load("digits")
    copies = {"mnist": like(digits, "mnist", 1), "stacked-mnist": like(digits, "stacked-mnist", 3)}

    def load_few(name: str, root: str | Path | None = None, download: bool = True) -> Dataset:
        return few(copies[name] if name in copies else load(name, root, download))

    everywhere(patch, read, lambda name: small(read(name)))
    everywhere(patch, load, load_few)
    everywhere(patch, engines.compiled, lambda step: step)  # compiling takes longer than all the rest
    patch.setitem(backends.BACKENDS, "processes", backends.serial)  # others would not see the small world
    patch.setattr(real, "_loaded", lru_cache(real._loaded.__wrapped__))  # with nothing of the large world


def everywhere(patch: pytest.MonkeyPatch, old: Callable[..., Any], new: Callable[..., Any]) -> None:
    """Replace a function in every module of ours that has it by its name."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "ganbench":
            for key, value in list(vars(module).items()):
                if value is old:
                    patch.setattr(module, key, new)
