"""ganbench: an honest benchmark of generative adversarial networks and their structured relatives.

What a script or a model's file needs is here. Each name is loaded when it is first asked for: `import ganbench`
loads neither torch nor pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganbench.datasets import load as load_dataset
    from ganbench.errors import UserError
    from ganbench.execution.suite import run
    from ganbench.game import Adam, Config, DataSpec, Game, Normal, Player, Uniform
    from ganbench.reporting.results import leaderboard, load_results

__version__ = "0.1.0"

__all__ = [
    "Adam",
    "Config",
    "DataSpec",
    "Game",
    "Normal",
    "Player",
    "Uniform",
    "UserError",
    "leaderboard",
    "load_dataset",
    "load_results",
    "run",
]

if not TYPE_CHECKING:  # a type checker reads the imports above instead
    PLACES = {
        **dict.fromkeys(__all__, "ganbench.game"),
        "leaderboard": "ganbench.reporting.results",
        "load_dataset": "ganbench.datasets:load",
        "load_results": "ganbench.reporting.results",
        "run": "ganbench.execution.suite",
    }

    def __getattr__(name: str) -> Any:
        """Return one of the public names from the module that defines it."""
        if name not in PLACES:
            raise AttributeError(f"module 'ganbench' has no attribute '{name}'")
        module, _, attribute = PLACES[name].partition(":")
        globals()[name] = value = getattr(importlib.import_module(module), attribute or name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
