"""Simulated people: who they are, what they answer, and how well planted groups can be found at best."""
