"""Where a number comes from: versions, commit and hardware."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

from ganbench import __version__


@cache
def provenance(device: str, torch_version: str) -> str:
    """Return versions, commit and hardware of a number."""
    libraries = " ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "scipy", "scikit-learn"))
    return (
        f"ganbench {__version__}{_commit()}; trained on {device} with torch {torch_version}; "
        f"measured with {libraries}; {platform.machine()} {platform.system()}"
    )


def _commit() -> str:
    """Return the commit of the checkout that the package runs from, marked if files differ from it, or nothing."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
        return " " + subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
