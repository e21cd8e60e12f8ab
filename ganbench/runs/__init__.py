"""What a run is on disk, and its score rows."""
