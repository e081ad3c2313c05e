"""How well a trained model reconstructs, classifies and generates, beside baselines."""
