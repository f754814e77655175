"""Campaigns at Batch as their documents say, and their results brought back."""
