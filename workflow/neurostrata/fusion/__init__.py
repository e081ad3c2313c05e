"""Fusion models: splits, training, embeddings and how well images are decoded."""
