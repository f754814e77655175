"""A test kit: what whoever writes a handler, or changes this package, tests without emulators.

It is not uploaded with the functions.
"""

from batchpush.testing.batch import Batch, Call
from batchpush.testing.memory import Memory
from batchpush.testing.project import ManualClock, Project, Queue

__all__ = ["Batch", "Call", "ManualClock", "Memory", "Project", "Queue"]
