"""Turns a change into a push, sends it once and keeps a record of it."""
