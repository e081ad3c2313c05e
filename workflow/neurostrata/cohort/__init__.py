"""Who takes part: the cohort sheet, quality decisions, and which person has which images."""
