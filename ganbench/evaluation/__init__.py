"""From trained weights to score rows."""
