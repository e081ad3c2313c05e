"""The methods and the verdict in sentences."""
