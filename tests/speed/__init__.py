"""Benchmarks of speed, memory and quality, run by asv over the history; see "Speed history" in the README."""
