"""What the report reads from a study's results."""
