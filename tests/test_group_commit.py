"""Group commit: writes that come while others are under way go together, and each fails alone."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchpush.google import group_commit
from batchpush.google.group_commit import GroupCommit, Outcome
from batchpush.google.protocol.firestore_pb2 import Write, WriteResult


def write(name: str, size: int = 0) -> Write:
    made = Write()
    made.update.name = name
    if size:
        made.update.fields["text"].string_value = "x" * size
    return made


def result_of(made: Write) -> WriteResult:
    """A result that shows which write it is of."""
    result = WriteResult()
    result.transform_results.add(string_value=made.update.name)
    return result


def name_in(result: WriteResult) -> str:
    name: str = result.transform_results[0].string_value
    return name


class Server:
    """Remembers the writes of each request, and holds requests while it is closed."""

    def __init__(self, answer: Callable[[Write], Outcome] = result_of) -> None:
        self.requests: list[list[str]] = []
        self.answer = answer
        self.error: Exception | None = None
        self._news = asyncio.Condition()
        self._open = asyncio.Event()
        self._open.set()

    def close(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def came(self, count: int) -> None:
        """Wait until so many requests have come."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.requests) >= count)

    async def send(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        self.requests.append([each.update.name for each in writes])
        async with self._news:
            self._news.notify_all()
        await self._open.wait()
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        return [self.answer(each) for each in writes]


async def started(group: GroupCommit, *names: str) -> "list[asyncio.Task[WriteResult]]":
    """The writes, once each of them is in a request or in line."""
    tasks = [asyncio.create_task(group.write(write(name))) for name in names]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_a_lone_write_goes_at_once_and_alone() -> None:
    server = Server()
    assert name_in(await GroupCommit(server.send).write(write("a"))) == "a"
    assert server.requests == [["a"]]


async def test_writes_go_together_once_as_many_wait_as_requests_are_under_way() -> None:
    server = Server()
    server.close()
    group = GroupCommit(server.send)
    tasks = [each for name in "abcdef" for each in await started(group, name)]
    assert server.requests == [["a"], ["b"], ["c", "d"]]
    server.open()
    results = await asyncio.gather(*tasks)
    assert list(map(name_in, results)) == [*"abcdef"]
    assert server.requests[3:] == [["e", "f"]]


async def test_writes_of_the_same_moment_go_together() -> None:
    server = Server()
    group = GroupCommit(server.send)
    await asyncio.gather(*(group.write(write(name)) for name in "abc"))
    assert server.requests == [["a", "b", "c"]]


async def test_requests_that_hang_hold_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "PATIENCE", 0.01)
    server = Server()
    server.close()
    group = GroupCommit(server.send)
    hanging = [*await started(group, "a"), *await started(group, "b")]
    alone = await started(group, "c")
    await server.came(3)
    server.open()
    await asyncio.gather(*hanging, *alone)
    # What was late is counted once: a lone write goes at once again, and a third one waits.
    server.close()
    more = [each for name in "def" for each in await started(group, name)]
    assert server.requests[3:] == [["d"], ["e"]]
    server.open()
    await asyncio.gather(*more)


async def test_one_refused_write_touches_no_neighbour() -> None:
    refused = ValueError("b is refused")
    server = Server(lambda each: refused if each.update.name == "b" else result_of(each))
    group = GroupCommit(server.send)
    results = await asyncio.gather(
        *(group.write(write(name)) for name in "abc"), return_exceptions=True
    )
    assert results[1] is refused
    assert [
        name_in(each) for each in (results[0], results[2]) if isinstance(each, WriteResult)
    ] == [
        "a",
        "c",
    ]


async def test_an_error_of_the_request_is_that_of_each_write_and_ends_there() -> None:
    server = Server()
    group = GroupCommit(server.send)
    server.error = ConnectionError("cut")
    results = await asyncio.gather(
        *(group.write(write(name)) for name in "ab"), return_exceptions=True
    )
    assert [type(each) for each in results] == [ConnectionError, ConnectionError]
    server.error = None
    assert name_in(await group.write(write("c"))) == "c"


async def test_a_document_is_once_in_a_request_and_in_order() -> None:
    server = Server()
    group = GroupCommit(server.send)
    await asyncio.gather(*(group.write(write(name)) for name in "abaac"))
    assert server.requests[0] == ["a", "b", "c"]
    assert server.requests[1:] == [["a"], ["a"]]


async def test_a_cancelled_event_takes_its_waiting_write_along_and_no_other() -> None:
    server = Server()
    server.close()
    group = GroupCommit(server.send)
    sent = [*await started(group, "a"), *await started(group, "b")]
    (waiting,) = await started(group, "c")
    waiting.cancel()
    sent[0].cancel()
    (other,) = await started(group, "d")
    server.open()
    done = await asyncio.gather(*sent, waiting, other, return_exceptions=True)
    assert [type(each) for each in done] == [
        asyncio.CancelledError,
        WriteResult,
        asyncio.CancelledError,
        WriteResult,
    ]
    assert server.requests == [["a"], ["b"], ["d"]]


async def test_a_request_has_at_most_so_many_writes_and_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_commit, "MAX_WRITES", 3)
    server = Server()
    group = GroupCommit(server.send)
    await asyncio.gather(*(group.write(write(f"{number}")) for number in range(7)))
    assert [len(each) for each in server.requests] == [3, 3, 1]
    monkeypatch.setattr(group_commit, "MAX_BYTES", 1000)
    server.requests.clear()
    sizes = {"a": 600, "b": 600, "c": 2000, "d": 100}
    await asyncio.gather(*(group.write(write(name, size)) for name, size in sizes.items()))
    assert server.requests == [["a"], ["b"], ["c"], ["d"]]


@given(
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.booleans(), st.booleans(), st.integers(0, 3)),
        max_size=30,
    )
)
def test_every_caller_gets_the_outcome_of_its_own_write(
    plan: list[tuple[str, bool, bool, int]],
) -> None:
    """Whatever comes when, is refused or cancelled: none is lost, mixed up or sent twice."""
    outcomes: dict[int, Any] = {}
    sent: list[int] = []

    async def send(writes: Sequence[Write]) -> Sequence[Outcome]:
        names = [each.update.name for each in writes]
        assert len(set(names)) == len(names)
        numbers = [each.update.fields["number"].integer_value for each in writes]
        sent.extend(numbers)
        await asyncio.sleep(0)
        return [
            ValueError(str(number)) if plan[number][1] else result_of(each)
            for number, each in zip(numbers, writes, strict=True)
        ]

    async def one(group: GroupCommit, number: int) -> None:
        name, *_ = plan[number]
        made = write(name)
        made.update.fields["number"].integer_value = number
        try:
            outcomes[number] = name_in(await group.write(made))
        except ValueError as error:
            outcomes[number] = str(error)

    async def all_of_them() -> None:
        group, tasks = GroupCommit(send), []
        for number, (_, _, is_cancelled, pauses) in enumerate(plan):
            task = asyncio.create_task(one(group, number))
            tasks.append(task)
            for _ in range(pauses):
                await asyncio.sleep(0)
            if is_cancelled:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(all_of_them())
    assert len(set(sent)) == len(sent)
    for number, (name, is_refused, is_cancelled, _) in enumerate(plan):
        if not is_cancelled:
            assert number in sent
            assert outcomes[number] == (str(number) if is_refused else name)
