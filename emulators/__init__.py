"""Local emulators of Batch's APIs and of Google's Secret Manager, for tests and development.

Nothing here imports batchpush: an emulator that shared its code would share its mistakes.
"""
