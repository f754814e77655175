"""A process that ends before or after one of its requests to Firestore and Batch."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx

from batchpush.testing import Project
from batchpush.testing.memory import Operation


class Killed(BaseException):
    """The process ends here."""


@contextmanager
def killed_at(project: Project, step: int, is_done: bool) -> Iterator[None]:
    """Inside the block, the process ends at this request, counted from 0: before it, or after it
    is done.
    """
    steps = iter(range(100))

    def here() -> bool:
        return next(steps) == step

    async def strike(name: str, operation: Operation) -> Any:
        if not here():
            return operation()
        if is_done:
            operation()
        raise Killed

    answer = project.batch.handle_async_request

    async def asked(request: httpx.Request) -> httpx.Response:
        if not here():
            return await answer(request)
        if is_done:
            await answer(request)
        raise Killed

    project.memory.strike = strike
    project.batch.handle_async_request = asked  # type: ignore[method-assign]
    with suppress(Killed):
        yield
    project.memory.strike = None
    project.batch.handle_async_request = answer  # type: ignore[method-assign]
