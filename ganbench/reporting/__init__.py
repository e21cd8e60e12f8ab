"""From score rows to tables; needs no torch."""
