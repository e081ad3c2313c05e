"""What embeddings say about people: predictions for people whom neither model nor predictor has seen."""
