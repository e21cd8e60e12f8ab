"""Baselines: one readable file per model, definitions only. Found through the entry point `ganbench.models`."""
