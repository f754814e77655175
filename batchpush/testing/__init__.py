"""A test kit for handlers and for this package, which needs no emulators.

It is not uploaded with the functions.
"""

from batchpush.testing.batch import Batch, Call
from batchpush.testing.memory import Memory
from batchpush.testing.project import ManualClock, Project, Queue

__all__ = ["Batch", "Call", "ManualClock", "Memory", "Project", "Queue"]
