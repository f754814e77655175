import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf import wrappers_pb2 as _wrappers_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Document(_message.Message):
    __slots__ = ("name", "fields", "create_time", "update_time")
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    fields: _containers.MessageMap[str, Value]
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., fields: _Optional[_Mapping[str, Value]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("null_value", "boolean_value", "integer_value", "double_value", "timestamp_value", "string_value", "bytes_value", "reference_value", "geo_point_value", "array_value", "map_value")
    NULL_VALUE_FIELD_NUMBER: _ClassVar[int]
    BOOLEAN_VALUE_FIELD_NUMBER: _ClassVar[int]
    INTEGER_VALUE_FIELD_NUMBER: _ClassVar[int]
    DOUBLE_VALUE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_VALUE_FIELD_NUMBER: _ClassVar[int]
    STRING_VALUE_FIELD_NUMBER: _ClassVar[int]
    BYTES_VALUE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_VALUE_FIELD_NUMBER: _ClassVar[int]
    GEO_POINT_VALUE_FIELD_NUMBER: _ClassVar[int]
    ARRAY_VALUE_FIELD_NUMBER: _ClassVar[int]
    MAP_VALUE_FIELD_NUMBER: _ClassVar[int]
    null_value: _struct_pb2.NullValue
    boolean_value: bool
    integer_value: int
    double_value: float
    timestamp_value: _timestamp_pb2.Timestamp
    string_value: str
    bytes_value: bytes
    reference_value: str
    geo_point_value: LatLng
    array_value: ArrayValue
    map_value: MapValue
    def __init__(self, null_value: _Optional[_Union[_struct_pb2.NullValue, str]] = ..., boolean_value: _Optional[bool] = ..., integer_value: _Optional[int] = ..., double_value: _Optional[float] = ..., timestamp_value: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., string_value: _Optional[str] = ..., bytes_value: _Optional[bytes] = ..., reference_value: _Optional[str] = ..., geo_point_value: _Optional[_Union[LatLng, _Mapping]] = ..., array_value: _Optional[_Union[ArrayValue, _Mapping]] = ..., map_value: _Optional[_Union[MapValue, _Mapping]] = ...) -> None: ...

class ArrayValue(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[Value]
    def __init__(self, values: _Optional[_Iterable[_Union[Value, _Mapping]]] = ...) -> None: ...

class MapValue(_message.Message):
    __slots__ = ("fields",)
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.MessageMap[str, Value]
    def __init__(self, fields: _Optional[_Mapping[str, Value]] = ...) -> None: ...

class LatLng(_message.Message):
    __slots__ = ("latitude", "longitude")
    LATITUDE_FIELD_NUMBER: _ClassVar[int]
    LONGITUDE_FIELD_NUMBER: _ClassVar[int]
    latitude: float
    longitude: float
    def __init__(self, latitude: _Optional[float] = ..., longitude: _Optional[float] = ...) -> None: ...

class DocumentMask(_message.Message):
    __slots__ = ("field_paths",)
    FIELD_PATHS_FIELD_NUMBER: _ClassVar[int]
    field_paths: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, field_paths: _Optional[_Iterable[str]] = ...) -> None: ...

class DocumentEventData(_message.Message):
    __slots__ = ("value", "old_value")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    OLD_VALUE_FIELD_NUMBER: _ClassVar[int]
    value: Document
    old_value: Document
    def __init__(self, value: _Optional[_Union[Document, _Mapping]] = ..., old_value: _Optional[_Union[Document, _Mapping]] = ...) -> None: ...

class Precondition(_message.Message):
    __slots__ = ("exists", "update_time")
    EXISTS_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    exists: bool
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, exists: _Optional[bool] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class FieldTransform(_message.Message):
    __slots__ = ("field_path", "increment")
    FIELD_PATH_FIELD_NUMBER: _ClassVar[int]
    INCREMENT_FIELD_NUMBER: _ClassVar[int]
    field_path: str
    increment: Value
    def __init__(self, field_path: _Optional[str] = ..., increment: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class Write(_message.Message):
    __slots__ = ("update", "delete", "update_mask", "update_transforms", "current_document")
    UPDATE_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TRANSFORMS_FIELD_NUMBER: _ClassVar[int]
    CURRENT_DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    update: Document
    delete: str
    update_mask: DocumentMask
    update_transforms: _containers.RepeatedCompositeFieldContainer[FieldTransform]
    current_document: Precondition
    def __init__(self, update: _Optional[_Union[Document, _Mapping]] = ..., delete: _Optional[str] = ..., update_mask: _Optional[_Union[DocumentMask, _Mapping]] = ..., update_transforms: _Optional[_Iterable[_Union[FieldTransform, _Mapping]]] = ..., current_document: _Optional[_Union[Precondition, _Mapping]] = ...) -> None: ...

class WriteResult(_message.Message):
    __slots__ = ("update_time", "transform_results")
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    TRANSFORM_RESULTS_FIELD_NUMBER: _ClassVar[int]
    update_time: _timestamp_pb2.Timestamp
    transform_results: _containers.RepeatedCompositeFieldContainer[Value]
    def __init__(self, update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., transform_results: _Optional[_Iterable[_Union[Value, _Mapping]]] = ...) -> None: ...

class CommitRequest(_message.Message):
    __slots__ = ("database", "writes")
    DATABASE_FIELD_NUMBER: _ClassVar[int]
    WRITES_FIELD_NUMBER: _ClassVar[int]
    database: str
    writes: _containers.RepeatedCompositeFieldContainer[Write]
    def __init__(self, database: _Optional[str] = ..., writes: _Optional[_Iterable[_Union[Write, _Mapping]]] = ...) -> None: ...

class CommitResponse(_message.Message):
    __slots__ = ("write_results",)
    WRITE_RESULTS_FIELD_NUMBER: _ClassVar[int]
    write_results: _containers.RepeatedCompositeFieldContainer[WriteResult]
    def __init__(self, write_results: _Optional[_Iterable[_Union[WriteResult, _Mapping]]] = ...) -> None: ...

class BatchWriteRequest(_message.Message):
    __slots__ = ("database", "writes")
    DATABASE_FIELD_NUMBER: _ClassVar[int]
    WRITES_FIELD_NUMBER: _ClassVar[int]
    database: str
    writes: _containers.RepeatedCompositeFieldContainer[Write]
    def __init__(self, database: _Optional[str] = ..., writes: _Optional[_Iterable[_Union[Write, _Mapping]]] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class BatchWriteResponse(_message.Message):
    __slots__ = ("write_results", "status")
    WRITE_RESULTS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    write_results: _containers.RepeatedCompositeFieldContainer[WriteResult]
    status: _containers.RepeatedCompositeFieldContainer[Status]
    def __init__(self, write_results: _Optional[_Iterable[_Union[WriteResult, _Mapping]]] = ..., status: _Optional[_Iterable[_Union[Status, _Mapping]]] = ...) -> None: ...

class BatchGetDocumentsRequest(_message.Message):
    __slots__ = ("database", "documents", "mask")
    DATABASE_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    database: str
    documents: _containers.RepeatedScalarFieldContainer[str]
    mask: DocumentMask
    def __init__(self, database: _Optional[str] = ..., documents: _Optional[_Iterable[str]] = ..., mask: _Optional[_Union[DocumentMask, _Mapping]] = ...) -> None: ...

class BatchGetDocumentsResponse(_message.Message):
    __slots__ = ("found",)
    FOUND_FIELD_NUMBER: _ClassVar[int]
    found: Document
    def __init__(self, found: _Optional[_Union[Document, _Mapping]] = ...) -> None: ...

class FieldReference(_message.Message):
    __slots__ = ("field_path",)
    FIELD_PATH_FIELD_NUMBER: _ClassVar[int]
    field_path: str
    def __init__(self, field_path: _Optional[str] = ...) -> None: ...

class Projection(_message.Message):
    __slots__ = ("fields",)
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.RepeatedCompositeFieldContainer[FieldReference]
    def __init__(self, fields: _Optional[_Iterable[_Union[FieldReference, _Mapping]]] = ...) -> None: ...

class CollectionSelector(_message.Message):
    __slots__ = ("collection_id", "all_descendants")
    COLLECTION_ID_FIELD_NUMBER: _ClassVar[int]
    ALL_DESCENDANTS_FIELD_NUMBER: _ClassVar[int]
    collection_id: str
    all_descendants: bool
    def __init__(self, collection_id: _Optional[str] = ..., all_descendants: _Optional[bool] = ...) -> None: ...

class FieldFilter(_message.Message):
    __slots__ = ("field", "op", "value")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    field: FieldReference
    op: int
    value: Value
    def __init__(self, field: _Optional[_Union[FieldReference, _Mapping]] = ..., op: _Optional[int] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...

class CompositeFilter(_message.Message):
    __slots__ = ("op", "filters")
    OP_FIELD_NUMBER: _ClassVar[int]
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    op: int
    filters: _containers.RepeatedCompositeFieldContainer[Filter]
    def __init__(self, op: _Optional[int] = ..., filters: _Optional[_Iterable[_Union[Filter, _Mapping]]] = ...) -> None: ...

class Filter(_message.Message):
    __slots__ = ("composite_filter", "field_filter")
    COMPOSITE_FILTER_FIELD_NUMBER: _ClassVar[int]
    FIELD_FILTER_FIELD_NUMBER: _ClassVar[int]
    composite_filter: CompositeFilter
    field_filter: FieldFilter
    def __init__(self, composite_filter: _Optional[_Union[CompositeFilter, _Mapping]] = ..., field_filter: _Optional[_Union[FieldFilter, _Mapping]] = ...) -> None: ...

class Order(_message.Message):
    __slots__ = ("field", "direction")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    field: FieldReference
    direction: int
    def __init__(self, field: _Optional[_Union[FieldReference, _Mapping]] = ..., direction: _Optional[int] = ...) -> None: ...

class Cursor(_message.Message):
    __slots__ = ("values", "before")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[Value]
    before: bool
    def __init__(self, values: _Optional[_Iterable[_Union[Value, _Mapping]]] = ..., before: _Optional[bool] = ...) -> None: ...

class StructuredQuery(_message.Message):
    __slots__ = ("select", "from_", "where", "order_by", "limit", "start_at")
    SELECT_FIELD_NUMBER: _ClassVar[int]
    FROM__FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    ORDER_BY_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    START_AT_FIELD_NUMBER: _ClassVar[int]
    select: Projection
    from_: _containers.RepeatedCompositeFieldContainer[CollectionSelector]
    where: Filter
    order_by: _containers.RepeatedCompositeFieldContainer[Order]
    limit: _wrappers_pb2.Int32Value
    start_at: Cursor
    def __init__(self, select: _Optional[_Union[Projection, _Mapping]] = ..., from_: _Optional[_Iterable[_Union[CollectionSelector, _Mapping]]] = ..., where: _Optional[_Union[Filter, _Mapping]] = ..., order_by: _Optional[_Iterable[_Union[Order, _Mapping]]] = ..., limit: _Optional[_Union[_wrappers_pb2.Int32Value, _Mapping]] = ..., start_at: _Optional[_Union[Cursor, _Mapping]] = ...) -> None: ...

class RunQueryRequest(_message.Message):
    __slots__ = ("parent", "structured_query")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    STRUCTURED_QUERY_FIELD_NUMBER: _ClassVar[int]
    parent: str
    structured_query: StructuredQuery
    def __init__(self, parent: _Optional[str] = ..., structured_query: _Optional[_Union[StructuredQuery, _Mapping]] = ...) -> None: ...

class RunQueryResponse(_message.Message):
    __slots__ = ("document",)
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    document: Document
    def __init__(self, document: _Optional[_Union[Document, _Mapping]] = ...) -> None: ...
