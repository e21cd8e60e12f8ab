"""Tests; a package, so that `python -m tests.opponents.metrics` finds this one before any that is installed."""
