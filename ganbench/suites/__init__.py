"""Suite files and what they expand to."""
