"""Mirrors attributes of people to Batch, and remembers what Batch has."""
