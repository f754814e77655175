"""Runs third-party clients of Batch's API against the emulator."""
