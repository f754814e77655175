"""Clients that others wrote for Batch's API, and a way to point them at the stand-in."""
