"""Ours against public libraries: the same inputs, the same answers, paired times."""
