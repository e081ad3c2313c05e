"""Removal of the effects of covariates and sites from codes, and the table of people's characteristics."""
