"""Local stand-ins for the services that batchpush talks to.

Nothing here imports batchpush: a classify that shares code with the accused shares its mistakes.
"""
