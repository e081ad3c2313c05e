"""Whether clusters exist: comparison with data without groups, stability, membership."""
