"""A strict emulator of Batch's API, which keeps a journal of calls and fails as scripted."""

from emulators.batch.handle import Batch, running
from emulators.batch.server import create_app

__all__ = ["Batch", "create_app", "running"]
