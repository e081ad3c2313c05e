"""Simulated people: their properties and answers, and how well planted groups can be found."""
