"""Database writes become push notifications, through Batch's Transactional API."""

from batchpush.callables import Call, CallRefused, Limit, callable_function, deliver_call
from batchpush.change import Change, Document
from batchpush.delivery import deliver, send_delivery_chunk, sweep_deliveries
from batchpush.errors import BatchpushError, ConfigurationError, InvalidDocument, InvalidPush
from batchpush.later import send_waiting_delivery
from batchpush.lookup import LookUp
from batchpush.push import CollapseKey, Media, Message, Push, Recipients
from batchpush.quiet_hours import QuietHours
from batchpush.triggers import (
    document_created,
    document_updated,
    document_written,
    every,
    task,
    value_created,
    value_updated,
    value_written,
)

__all__ = [
    "BatchpushError",
    "Call",
    "CallRefused",
    "Change",
    "CollapseKey",
    "ConfigurationError",
    "Document",
    "InvalidDocument",
    "InvalidPush",
    "Limit",
    "LookUp",
    "Media",
    "Message",
    "Push",
    "QuietHours",
    "Recipients",
    "callable_function",
    "deliver",
    "deliver_call",
    "document_created",
    "document_updated",
    "document_written",
    "every",
    "send_delivery_chunk",
    "send_waiting_delivery",
    "sweep_deliveries",
    "task",
    "value_created",
    "value_updated",
    "value_written",
]
