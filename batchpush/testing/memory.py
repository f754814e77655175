"""Firestore in memory, below our client: what a commit, a read and a query do, and how they fail.

    memory = Memory()
    firestore = Firestore(memory)
    await firestore.commit([firestore.create("users/ann", {"language": "fr"})])

The client encodes and decodes as it does for the real one, so what it would choke on, it does.
"""

import itertools
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any

from batchpush.google.firestore import (
    ARRAY_CONTAINS_ANY,
    GREATER_THAN,
    GREATER_THAN_OR_EQUAL,
    IN,
    LESS_THAN,
    LESS_THAN_OR_EQUAL,
    Answer,
    Asked,
    DocumentGone,
    Method,
    Version,
    WriteConflict,
)
from batchpush.google.protocol.firestore_pb2 import (
    BatchGetDocumentsRequest,
    BatchGetDocumentsResponse,
    CollectionSelector,
    CommitRequest,
    CommitResponse,
    Document,
    FieldTransform,
    RunQueryRequest,
    RunQueryResponse,
    StructuredQuery,
    Value,
    Write,
)

Operation = Callable[[], Any]


class Memory:
    """A `Transport` to documents that it holds itself, by their names.

    `operations` are the names of what was done, in order: `read` and `query`, and what a commit
    was for a delivery, `claim`, `take up` or `record`. `strike` stands between every operation and
    its effect: it carries it out, or does not, or loses the answer.
    """

    def __init__(self, database: str = "projects/demo-batchpush/databases/(default)") -> None:
        self.database = database
        self.documents: dict[str, Document] = {}
        self.operations: list[str] = []
        self.strike: Callable[[str, Operation], Awaitable[Any]] | None = None
        self._versions = itertools.count(1)

    async def ask(self, method: Method[Asked, Answer], request: Asked) -> list[Answer]:
        """As a `Transport`; what `strike` raises or gives stands for Firestore's answer."""
        name, operation = self._operation(request)
        self.operations.append(name)
        answers: list[Answer] = await self.strike(name, operation) if self.strike else operation()
        return answers

    def remove(self, path: str) -> None:
        """Have no document at the path."""
        self.documents.pop(self.name_of(path), None)

    def store(self, document: Document) -> None:
        """Have a document by its name, in a new version, whatever was there."""
        document.update_time.seconds = next(self._versions)
        self.documents[document.name] = document

    def _operation(self, request: object) -> tuple[str, Operation]:
        match request:
            case CommitRequest():
                return _step(request.writes), lambda: [self._committed(request.writes)]
            case BatchGetDocumentsRequest():
                return "read", lambda: list(map(self.found, request.documents))
            case RunQueryRequest():
                return "query", lambda: list(self._answers(request))
        raise TypeError(f"Firestore is not asked for a {type(request).__name__}")

    def name_of(self, path: str) -> str:
        """The name of a document, by its path."""
        return f"{self.database}/documents/{path}"

    def _committed(self, writes: Iterable[Write]) -> CommitResponse:
        for write in writes:
            self.check(write)
        response = CommitResponse()
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

    def _transformed(self, name: str, transform: FieldTransform) -> Value:
        """The value of a counter, at a path in maps, once it is one more."""
        *maps, counter = transform.field_path.split(".")
        fields = self.documents[name].fields
        for each in maps:
            fields = fields[each].map_value.fields
        value: Value = fields[counter]
        value.integer_value += transform.increment.integer_value
        return value

    def check(self, write: Write) -> None:
        """Whether the document is as the write expects it; raises `WriteConflict`."""
        stored, condition = self.documents.get(write.update.name), write.current_document
        if condition.HasField("exists") and not condition.exists and stored is not None:
            raise WriteConflict("it is there")
        if condition.HasField("update_time"):
            if stored is None:
                raise DocumentGone("NOT_FOUND")
            if stored.update_time != condition.update_time:
                raise WriteConflict("it was changed")

    def _write(self, write: Write) -> Version:
        document = Document()
        document.CopyFrom(write.update)
        if write.HasField("update_mask"):
            if stored := self.documents.get(write.update.name):
                document.CopyFrom(stored)
            document.name = write.update.name
            for name in write.update_mask.field_paths:
                document.fields.pop(name, None)
                if name in write.update.fields:
                    document.fields[name].CopyFrom(write.update.fields[name])
        self.store(document)
        return document.update_time

    def found(self, name: str) -> BatchGetDocumentsResponse:
        """What a read of one document gives."""
        return BatchGetDocumentsResponse(found=self.documents.get(name))

    def _answers(self, request: RunQueryRequest) -> Iterator[RunQueryResponse]:
        query = request.structured_query
        names = {select.field_path.partition(".")[0] for select in query.select.fields}
        documents = self._documents(request.parent, query.from_[0])
        found = [each for each in documents if _is_asked_for(each, query)]
        found.sort(key=lambda each: _place(each, query))
        for each in found[: query.limit.value if query.HasField("limit") else None]:
            document = Document()
            document.CopyFrom(each)
            for name in set(each.fields) - names if names else ():
                del document.fields[name]
            yield RunQueryResponse(document=document)

    def _documents(self, parent: str, selector: CollectionSelector) -> Iterator[Document]:
        for name, document in self.documents.items():
            above, collection, _ = name.rsplit("/", 2)
            is_below = above.startswith(parent) if selector.all_descendants else above == parent
            if is_below and collection == selector.collection_id:
                yield document


def _is_asked_for(document: Document, query: StructuredQuery) -> bool:
    if any(order.field.field_path not in _ordered(document) for order in query.order_by):
        return False
    if query.HasField("start_at"):
        first = tuple(map(_order, query.start_at.values))
        place = _place(document, query)[: len(first)]
        if place < first or (place == first and not query.start_at.before):
            return False
    if not query.HasField("where"):
        return True
    condition = query.where.field_filter
    found = _field(document, condition.field.field_path)
    return found is not None and _holds(_order(found), condition.op, _order(condition.value))


def _field(document: Document, path: str) -> Value | None:
    """The value at a path in maps."""
    *maps, name = path.split(".")
    fields = document.fields
    for each in maps:
        if each not in fields:
            return None
        fields = fields[each].map_value.fields
    found: Value | None = fields.get(name)
    return found


def _holds(found: Any, operator: int, value: Any) -> bool:
    """Whether a value fulfils a condition; only values of a kind are less or greater."""
    (kind, content), (other_kind, other) = found, value
    match operator:
        case o if o == IN:
            return found in other
        case o if o == ARRAY_CONTAINS_ANY:
            return kind == other_kind and any(each in content for each in other)
    if kind != other_kind:
        return False
    comparison: dict[int, bool] = {
        LESS_THAN: content < other,
        LESS_THAN_OR_EQUAL: content <= other,
        GREATER_THAN: content > other,
        GREATER_THAN_OR_EQUAL: content >= other,
    }
    return comparison[operator]


def _ordered(document: Document) -> set[str]:
    return {"__name__", *document.fields}


def _place(document: Document, query: StructuredQuery) -> tuple[Any, ...]:
    """Where a document stands in the order of a query."""
    fields = [order.field.field_path for order in query.order_by]
    name = Value(reference_value=document.name)
    return tuple(_order(name if each == "__name__" else document.fields[each]) for each in fields)


# In the order in which values of different kinds stand:
# https://firebase.google.com/docs/firestore/manage-data/data-types#value_type_ordering
KINDS = (
    *("null_value", "boolean_value", "number", "timestamp_value", "string_value", "bytes_value"),
    *("reference_value", "geo_point_value", "array_value", "map_value"),
)


def _order(value: Value) -> tuple[int, Any]:
    """What can be compared in place of a value: its kind, and what it holds."""
    kind = value.WhichOneof("value_type") or "null_value"
    content: Any = getattr(value, kind)
    match kind:
        case "integer_value" | "double_value":
            is_nan = math.isnan(content)
            return KINDS.index("number"), (not is_nan, 0 if is_nan else content)
        case "timestamp_value":
            content = (content.seconds, content.nanos)
        case "reference_value":
            content = content.split("/")
        case "geo_point_value":
            content = (content.latitude, content.longitude)
        case "array_value":
            content = list(map(_order, content.values))
        case "map_value":
            content = sorted((name, _order(each)) for name, each in content.fields.items())
    return KINDS.index(kind), content


def _step(writes: Sequence[Write]) -> str:
    """What a commit of the ledger is: a claim, a take-up, or a record of the outcome."""
    if not writes or not writes[0].HasField("update_mask"):
        return "claim"
    return "take up" if writes[0].update.fields["state"].string_value == "CLAIMED" else "record"
