"""From run specifications to trained weights: one loop, all seeds at once."""
