"""`new_message` of main.py, in a process that says on a signal what it holds.

Started by functions-framework, like the function itself. On SIGRTMIN it writes what it holds, as
JSON, into the file that `SOAK_HELD` names.
"""

import asyncio
import ctypes
import gc
import json
import os
import signal
import sys
from pathlib import Path

from main import new_message

__all__ = ["new_message"]


class Mallinfo(ctypes.Structure):
    """What glibc's mallinfo2 returns, in bytes: https://man7.org/linux/man-pages/man3/mallinfo.3.html"""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Mallinfo


def tell(number: int, frame: object) -> None:
    gc.collect()
    malloc = mallinfo()
    held = {
        "objects": sys.getallocatedblocks(),
        "in_use": (malloc.uordblks + malloc.hblkhd) / 2**20,
        "tasks": len(asyncio.all_tasks()),
    }
    told = Path(os.environ["SOAK_HELD"])
    whole = told.with_suffix(".new")
    whole.write_text(json.dumps(held), encoding="ascii")
    whole.rename(told)


# gunicorn resets the signals that it knows in its workers; this one it does not know.
signal.signal(signal.SIGRTMIN, tell)
