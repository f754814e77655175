"""Starts and shows the local suite: the emulators, the demo, a browser."""
