"""Where the jobs of a suite run."""
