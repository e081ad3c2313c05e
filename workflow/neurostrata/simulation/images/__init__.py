"""Simulated images of simulated people."""
