"""Firestore in memory, below our client: what a commit and a read do, and how they fail.

The client encodes and decodes as it does for the real one, so what it would choke on, it does.
"""

import itertools
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from batchpush.google.firestore import (
    ARRAY_CONTAINS_ANY,
    IN,
    DocumentGone,
    Firestore,
    WriteConflict,
    messages,
)
from batchpush.google.values import plain

DATABASE = "projects/demo-batchpush/databases/(default)"

Operation = Callable[[], Any]


class Memory:
    """The documents, by name; `operations` are the names of what was done, in order.

    `strike` stands between every operation and its effect: it carries it out, or does not, or
    loses the answer.
    """

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}
        self.operations: list[str] = []
        self.strike: Callable[[str, Operation], Awaitable[Any]] | None = None
        self._versions = itertools.count(1)

    def client(self) -> Firestore:
        return InMemory(self)

    async def _do(self, name: str, operation: Operation) -> Any:
        self.operations.append(name)
        return await self.strike(name, operation) if self.strike else operation()

    async def asked(self, method: str, request: Any) -> list[Any]:
        if method == "Commit":
            writes = request.writes
            return await self._do(_step(writes[0]), lambda: [self._committed(writes)])
        if method == "BatchGetDocuments":
            return await self._do("read", lambda: list(map(self._found, request.documents)))
        return await self._do("query", lambda: list(self._answers(request)))

    def _committed(self, writes: Iterable[Any]) -> Any:
        for write in writes:
            self._check(write)
        response = messages()["CommitResponse"]()
        for write in writes:
            if write.HasField("delete"):
                self.documents.pop(write.delete, None)
                response.write_results.add()
                continue
            result = response.write_results.add()
            result.update_time.CopyFrom(self._write(write))
            for transform in write.update_transforms:
                result.transform_results.append(self._transformed(write.update.name, transform))
        return response

    def _transformed(self, name: str, transform: Any) -> Any:
        """The value of a counter, at a path in maps, once it is one more."""
        *maps, counter = transform.field_path.split(".")
        fields = self.documents[name].fields
        for each in maps:
            fields = fields[each].map_value.fields
        fields[counter].integer_value += transform.increment.integer_value
        return fields[counter]

    def _check(self, write: Any) -> None:
        stored, condition = self.documents.get(write.update.name), write.current_document
        if condition.HasField("exists") and not condition.exists and stored is not None:
            raise WriteConflict("it is there")
        if condition.HasField("update_time"):
            if stored is None:
                raise DocumentGone("NOT_FOUND")
            if stored.update_time != condition.update_time:
                raise WriteConflict("it was changed")

    def _write(self, write: Any) -> Any:
        document = type(write.update)()
        document.CopyFrom(write.update)
        if write.HasField("update_mask"):
            if stored := self.documents.get(write.update.name):
                document.CopyFrom(stored)
            document.name = write.update.name
            for name in write.update_mask.field_paths:
                document.fields.pop(name, None)
                if name in write.update.fields:
                    document.fields[name].CopyFrom(write.update.fields[name])
        document.update_time.seconds = next(self._versions)
        self.documents[document.name] = document
        return document.update_time

    def _found(self, name: str) -> Any:
        return messages()["BatchGetDocumentsResponse"](found=self.documents.get(name))

    def _answers(self, request: Any) -> Iterator[Any]:
        query = request.structured_query
        names = {select.field_path.partition(".")[0] for select in query.select.fields}
        documents = self._documents(request.parent, query.from_[0])
        found = [each for each in documents if _is_asked_for(each, query)]
        found.sort(key=lambda each: _place(each, query))
        for each in found[: query.limit.value if query.HasField("limit") else None]:
            document = type(each)()
            document.CopyFrom(each)
            for name in set(each.fields) - names if names else ():
                del document.fields[name]
            yield messages()["RunQueryResponse"](document=document)

    def _documents(self, parent: str, selector: Any) -> Iterator[Any]:
        for name in sorted(self.documents):
            above, collection, _ = name.rsplit("/", 2)
            is_below = above.startswith(parent) if selector.all_descendants else above == parent
            if is_below and collection == selector.collection_id:
                yield self.documents[name]


def _is_asked_for(document: Any, query: Any) -> bool:
    if any(order.field.field_path not in _ordered(document) for order in query.order_by):
        return False
    if query.HasField("start_at"):
        first = tuple(map(_cursor, query.start_at.values))
        place = _place(document, query)[: len(first)]
        if place < first or (place == first and not query.start_at.before):
            return False
    if not query.HasField("where"):
        return True
    condition = query.where.field_filter
    first, *inner = condition.field.field_path.split(".")
    if first not in document.fields:
        return False
    found, value = _plain(document.fields[first]), _plain(condition.value)
    for name in inner:
        found = found.get(name) if isinstance(found, dict) else None
    if condition.op == ARRAY_CONTAINS_ANY:
        return isinstance(found, list) and any(each in found for each in value)
    return found in value if condition.op == IN else found < value


def _ordered(document: Any) -> set[str]:
    return {"__name__", *document.fields}


def _place(document: Any, query: Any) -> tuple[Any, ...]:
    """Where a document stands in the order of a query."""
    fields = [order.field.field_path for order in query.order_by]
    return tuple(
        document.name if field == "__name__" else _plain(document.fields[field]) for field in fields
    )


def _cursor(value: Any) -> Any:
    return value.reference_value or _plain(value)


def _plain(value: Any) -> Any:
    return plain(value, DATABASE)


class InMemory(Firestore):
    """A client of a memory, which nothing leaves."""

    def __init__(self, memory: Memory) -> None:
        self._database = DATABASE
        self._memory = memory

    async def _asked(self, method: str, request: Any) -> list[Any]:
        return await self._memory.asked(method, request)


def _step(write: Any) -> str:
    """What a commit of the ledger is: a claim, a take-up, or a record of the outcome."""
    if not write.HasField("update_mask"):
        return "claim"
    return "take up" if write.update.fields["state"].string_value == "CLAIMED" else "record"
