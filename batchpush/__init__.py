"""Database writes become push notifications, through Batch's Transactional API."""

from batchpush.change import Change, Document
from batchpush.delivery import deliver, sweep_deliveries
from batchpush.errors import BatchpushError, ConfigurationError, InvalidDocument, InvalidPush
from batchpush.lookup import LookUp
from batchpush.push import CollapseKey, Media, Message, Push, Recipients
from batchpush.triggers import (
    document_created,
    document_updated,
    document_written,
    every,
    value_created,
    value_updated,
    value_written,
)

__all__ = [
    "BatchpushError",
    "Change",
    "CollapseKey",
    "ConfigurationError",
    "Document",
    "InvalidDocument",
    "InvalidPush",
    "LookUp",
    "Media",
    "Message",
    "Push",
    "Recipients",
    "deliver",
    "document_created",
    "document_updated",
    "document_written",
    "every",
    "sweep_deliveries",
    "value_created",
    "value_updated",
    "value_written",
]
