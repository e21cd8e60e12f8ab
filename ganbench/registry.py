"""From a name to the thing: one registry per kind, filled through entry points and plug-in files."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
import warnings
from pathlib import Path
from typing import Any, Generic, TypeVar

from ganbench.errors import UserError, suggest
from ganbench.names import check_name

T = TypeVar("T")
PLUGIN = "ganbench_plugin_"  # how the modules of plug-in files are called


class Registry(Generic[T]):
    """Named things of one kind.

    Args:
        kind: singular noun used in messages, e.g. "model".
        group: entry-point group; each entry names a package whose modules are imported once, at first use.
            Importing such a module registers what it defines. A package of our own and one of a third
            party come in by the same door.
    """

    def __init__(self, kind: str, group: str) -> None:
        self.kind, self.group = kind, group
        self._items: dict[str, T] = {}
        self._loaded = False

    def add(self, name: str, item: T) -> T:
        """Register an item; UserError if its name is none or is given twice."""
        check_name(self.kind, name)
        if name in self._items:
            raise UserError(f"{self.kind} '{name}' is registered twice; rename one of the two")
        self._items[name] = item
        return item

    def load(self) -> None:
        """Import every package behind the entry-point group; a broken plug-in is reported and left out."""
        if self._loaded:
            return
        self._loaded = True
        for entry in importlib.metadata.entry_points(group=self.group):
            before = dict(self._items)
            try:
                package = entry.load()
                for module in pkgutil.iter_modules(getattr(package, "__path__", ())):
                    importlib.import_module(f"{package.__name__}.{module.name}")
            except Exception as error:
                if entry.value.split(".")[0] in {"ganbench", "baselines"}:
                    self._loaded = False
                    raise
                self._items = before
                warnings.warn(f"plug-in '{entry.value}' could not be loaded: {_line(error)}", stacklevel=2)

    def get(self, name: str) -> T:
        """Return the item of that name; UserError with suggestions if there is none."""
        self.load()
        if name not in self._items:
            raise suggest(self.kind, name, self.names())
        return self._items[name]

    def names(self) -> list[str]:
        """Return all names, sorted."""
        self.load()
        return sorted(self._items)


models: Registry[Any] = Registry("model", "ganbench.models")
datasets: Registry[Any] = Registry("dataset", "ganbench.datasets")
metrics: Registry[Any] = Registry("metric", "ganbench.metrics")
extractors: Registry[Any] = Registry("extractor", "ganbench.extractors")


def plugin_of(model: str) -> str:
    """Return the path of the plug-in file that defines a model, "" if a package does."""
    module = models.get(model).game.__module__
    return str(sys.modules[module].__file__) if module.startswith(PLUGIN) else ""


def load_plugin(path: str | Path) -> None:
    """Import one Python file, so that the models, datasets, metrics and extractors in it are registered."""
    file = Path(path).resolve()
    if not file.is_file():
        raise UserError(f"plug-in file '{path}' does not exist; give the path of a .py file")
    name = f"{PLUGIN}{file.stem}"
    if name in sys.modules:
        if getattr(sys.modules[name], "__file__", None) == str(file):
            return
        raise UserError(f"two plug-in files are called '{file.name}'; rename one of the two")
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UserError(f"plug-in file '{path}' is not a Python file; give the path of a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a file that ends the program ends only itself
        del sys.modules[name]
        if isinstance(error, UserError):
            raise
        raise UserError(f"plug-in file '{path}' fails on import: {_line(error)}") from error


def _line(error: BaseException) -> str:
    """Return kind and message of an error on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
