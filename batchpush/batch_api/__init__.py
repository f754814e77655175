"""Requests to Batch: the key, the client, retries, and the outcome of a reply."""
