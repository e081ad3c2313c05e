"""Quality of everybody's images against the cohort: who is unusual in what, whom to look at, and whether raters agree."""
