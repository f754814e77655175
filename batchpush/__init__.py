"""Database writes become push notifications, through Batch's Transactional and Campaigns APIs."""

# First: it keeps the collector of garbage out of the other imports.
from batchpush.triggers import (
    on_document_created,
    on_document_updated,
    on_document_written,
    on_schedule,
    on_task_dispatched,
)

# isort: split
from batchpush.articles import announce
from batchpush.callables import Call, CallRefused, deliver_call, on_call
from batchpush.campaign import Campaign
from batchpush.change import Change, Document
from batchpush.delivery import deliver, send_delivery_chunk, sweep_deliveries
from batchpush.errors import BatchpushError, ConfigurationError, InvalidDocument, InvalidPush
from batchpush.later import send_waiting_delivery
from batchpush.limits import Limit
from batchpush.lookup import LookUp
from batchpush.publisher import publish, sweep_campaigns
from batchpush.push import CollapseKey, Media, Message, Push, Recipients
from batchpush.quiet_hours import QuietHours
from batchpush.stats import pull_results
from batchpush.untouched import on_document_untouched

__all__ = [
    "BatchpushError",
    "Call",
    "CallRefused",
    "Campaign",
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
    "announce",
    "deliver",
    "deliver_call",
    "on_call",
    "on_document_created",
    "on_document_untouched",
    "on_document_updated",
    "on_document_written",
    "on_schedule",
    "on_task_dispatched",
    "publish",
    "pull_results",
    "send_delivery_chunk",
    "send_waiting_delivery",
    "sweep_campaigns",
    "sweep_deliveries",
]
