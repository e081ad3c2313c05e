"""Covariates and sites taken out of codes, and what is known of people beside images and phenotypes."""
