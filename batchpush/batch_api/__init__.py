"""Requests to Batch: the key, the client, retries, and what a reply means."""
