"""Questionnaires, tests and demographics: joined, described, reduced to factors (Dimitri et al. 2.2.2)."""
