"""Events of the platform: what calls a function of `main.py`, and the `Change` it receives."""
