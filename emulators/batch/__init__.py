"""A strict local Batch API, which keeps a journal of what it was sent and fails on order."""

from emulators.batch.handle import Batch, running
from emulators.batch.server import create_app

__all__ = ["Batch", "create_app", "running"]
