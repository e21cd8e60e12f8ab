"""Shared arithmetic of the metrics: blocks, threads, moments, distances, checks."""
