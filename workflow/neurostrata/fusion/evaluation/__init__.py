"""Measures of trained models (reconstruction, classification, synthesis, generation), compared with baselines."""
