"""Noise that games declare, known distributions behind synthetic data, and motion."""
