"""Predictions from embeddings, for people that neither model nor predictor has seen, and their explanation."""
