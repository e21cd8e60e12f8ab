"""The command line. Heavy imports wait inside the commands, so that --help answers at once."""

from ganbench.cli.app import main

__all__ = ["main"]
