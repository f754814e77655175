"""A test kit for your handlers and for this package. It needs no emulators.

It is not deployed with the functions.
"""

from batchpush.testing.batch import Batch, Call
from batchpush.testing.memory import Memory
from batchpush.testing.project import ManualClock, Project, Queue

__all__ = ["Batch", "Call", "ManualClock", "Memory", "Project", "Queue"]
