"""Firestore in memory: a transport for our client, with commits, reads, queries and their errors.

    memory = Memory()
    firestore = Firestore(memory)
    await firestore.commit([firestore.create("users/ann", {"language": "fr"})])

The client encodes and decodes as in production, so a value that it cannot encode fails here too.
"""

import itertools
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any

from batchpush.google.firestore import (
    ARRAY_CONTAINS,
    ARRAY_CONTAINS_ANY,
    DESCENDING,
    EQUAL,
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
    FieldFilter,
    FieldTransform,
    RunQueryRequest,
    RunQueryResponse,
    StructuredQuery,
    Value,
    Write,
)

Operation = Callable[[], Any]


class Memory:
    """A `Transport` that keeps the documents itself, keyed by resource name.

    `operations` lists what was requested, in order: `read`, `query`, or the purpose of a commit in
    a delivery, `claim`, `reclaim` or `record`. Set `strike` to inject faults: it gets
    the name and a function that carries out the operation, and may call it, skip it, or call it
    and lose the answer.
    """

    def __init__(self, database: str = "projects/demo-batchpush/databases/(default)") -> None:
        self.database = database
        self.documents: dict[str, Document] = {}
        self.operations: list[str] = []
        self.strike: Callable[[str, Operation], Awaitable[Any]] | None = None
        self._versions = itertools.count(1)

    async def ask(self, method: Method[Asked, Answer], request: Asked) -> list[Answer]:
        """Answer the request; what `strike` returns or raises replaces the answer."""
        name, operation = self._operation(request)
        self.operations.append(name)
        answers: list[Answer] = await self.strike(name, operation) if self.strike else operation()
        return answers

    def remove(self, path: str) -> None:
        """Delete the document at the path, if any, without a request."""
        self.documents.pop(self.name_of(path), None)

    def store(self, document: Document) -> None:
        """Create or replace a document, in a new version, without a request."""
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
        """The resource name of the document at the path."""
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
        """Increment a counter at a path of nested maps; returns its new value."""
        *maps, counter = transform.field_path.split(".")
        fields = self.documents[name].fields
        for each in maps:
            fields = fields[each].map_value.fields
        value: Value = fields[counter]
        value.integer_value += transform.increment.integer_value
        return value

    def check(self, write: Write) -> None:
        """Raises `WriteConflict` if the document does not meet the write's precondition."""
        stored = self.documents.get(write.delete or write.update.name)
        condition = write.current_document
        if condition.HasField("exists") and condition.exists != (stored is not None):
            raise DocumentGone("NOT_FOUND") if condition.exists else WriteConflict("it is there")
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
        """The answer to a read of one document."""
        return BatchGetDocumentsResponse(found=self.documents.get(name))

    def _answers(self, request: RunQueryRequest) -> Iterator[RunQueryResponse]:
        query = request.structured_query
        names = {select.field_path.partition(".")[0] for select in query.select.fields}
        documents = self._documents(request.parent, query.from_[0])
        found = [each for each in documents if _is_asked_for(each, query)]
        found.sort(key=lambda each: _place(each, query), reverse=_is_descending(query))
        for each in found[: query.limit.value if query.HasField("limit") else None]:
            document = Document()
            document.CopyFrom(each)
            for name in set(each.fields) - names if names else ():
                del document.fields[name]
            yield RunQueryResponse(document=document)

    def _documents(self, parent: str, selector: CollectionSelector) -> Iterator[Document]:
        within = f"/{selector.collection_id}/"
        for name, document in self.documents.items():
            if within not in name:
                continue
            above, collection, _ = name.rsplit("/", 2)
            is_below = above.startswith(parent) if selector.all_descendants else above == parent
            if is_below and collection == selector.collection_id:
                yield document


def _is_asked_for(document: Document, query: StructuredQuery) -> bool:
    if not all(_has(document, order.field.field_path) for order in query.order_by):
        return False
    if query.HasField("start_at"):
        first = tuple(map(_order, query.start_at.values))
        place = _place(document, query)[: len(first)]
        is_before = place > first if _is_descending(query) else place < first
        if is_before or (place == first and not query.start_at.before):
            return False
    return all(_meets(document, each.field_filter) for each in query.where.composite_filter.filters)


def _is_descending(query: StructuredQuery) -> bool:
    """Our queries have one direction for all their fields."""
    return any(order.direction == DESCENDING for order in query.order_by)


def _meets(document: Document, condition: FieldFilter) -> bool:
    found = _field(document, condition.field.field_path)
    return found is not None and _holds(_order(found), condition.op, _order(condition.value))


def _field(document: Document, path: str) -> Value | None:
    """The value at a path of nested maps."""
    *maps, name = path.split(".")
    fields = document.fields
    for each in maps:
        if each not in fields:
            return None
        fields = fields[each].map_value.fields
    found: Value | None = fields.get(name)
    return found


def _holds(found: Any, operator: int, value: Any) -> bool:
    """Whether a value meets a condition. Values of different kinds are never less or greater."""
    (kind, content), (other_kind, other) = found, value
    match operator:
        case o if o == IN:
            return found in other
        case o if o == ARRAY_CONTAINS:
            return kind == KINDS.index("array_value") and value in content
        case o if o == ARRAY_CONTAINS_ANY:
            return kind == other_kind and any(each in content for each in other)
    if kind != other_kind:
        return False
    comparison: dict[int, bool] = {
        LESS_THAN: content < other,
        LESS_THAN_OR_EQUAL: content <= other,
        GREATER_THAN: content > other,
        GREATER_THAN_OR_EQUAL: content >= other,
        EQUAL: content == other,
    }
    return comparison[operator]


def _has(document: Document, field: str) -> bool:
    return field == "__name__" or field in document.fields


def _place(document: Document, query: StructuredQuery) -> tuple[Any, ...]:
    """The document's sort key in the query's order."""
    fields = [order.field.field_path for order in query.order_by]
    name = Value(reference_value=document.name)
    return tuple(_order(name if each == "__name__" else document.fields[each]) for each in fields)


# How Firestore sorts values of different kinds:
# https://firebase.google.com/docs/firestore/manage-data/data-types#value_type_ordering
KINDS = (
    *("null_value", "boolean_value", "number", "timestamp_value", "string_value", "bytes_value"),
    *("reference_value", "geo_point_value", "array_value", "map_value"),
)


def _order(value: Value) -> tuple[int, Any]:
    """A sort key for a value: the rank of its kind, and its content."""
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
    """The purpose of a commit by the ledger: a claim, a reclaim, or a record of the outcome."""
    if not writes or not writes[0].HasField("update_mask"):
        return "claim"
    return "reclaim" if writes[0].update.fields["state"].string_value == "CLAIMED" else "record"
