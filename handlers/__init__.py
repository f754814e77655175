"""What to say. Edit these: each handler takes a change and returns a push or None."""
