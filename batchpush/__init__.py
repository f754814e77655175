"""Turns database writes into push notifications, with Batch's Transactional and Campaigns APIs."""

# First: it keeps the garbage collector out of the other imports.
from batchpush.events.triggers import (
    on_document_created,
    on_document_updated,
    on_document_written,
    on_schedule,
    on_task_dispatched,
)

# isort: split
from batchpush.documents import (
    EPOCH,
    INVISIBLE,
    Document,
    Reference,
    as_list,
    is_blank,
    is_document_id,
    is_unicode,
    warn_of_field,
)
from batchpush.environment import settings
from batchpush.errors import BatchpushError, ConfigurationError, InvalidDocument, InvalidPush
from batchpush.events.callables import CallableRequest, CallRefused, on_call
from batchpush.events.change import Change, Database
from batchpush.events.lookup import LookUp
from batchpush.events.untouched import on_document_untouched
from batchpush.logs import log
from batchpush.pushes.campaign import Campaign
from batchpush.pushes.languages import nearest_language
from batchpush.pushes.limits import Limit
from batchpush.pushes.push import (
    ID_LISTS,
    MAX_FRESH_FOR,
    CollapseKey,
    Media,
    Message,
    Push,
    Recipients,
    problem_of_id,
)
from batchpush.pushes.quiet_hours import QuietHours
from batchpush.pushes.wording import Text, Wording, wording
from batchpush.worker import (
    announce,
    deliver,
    deliver_call,
    publish,
    pull_results,
    send_delivery_chunk,
    send_waiting_delivery,
    sweep_campaigns,
    sweep_deliveries,
)

__all__ = [
    "EPOCH",
    "ID_LISTS",
    "INVISIBLE",
    "MAX_FRESH_FOR",
    "BatchpushError",
    "CallRefused",
    "CallableRequest",
    "Campaign",
    "Change",
    "CollapseKey",
    "ConfigurationError",
    "Database",
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
    "Reference",
    "Text",
    "Wording",
    "announce",
    "as_list",
    "deliver",
    "deliver_call",
    "is_blank",
    "is_document_id",
    "is_unicode",
    "log",
    "nearest_language",
    "on_call",
    "on_document_created",
    "on_document_untouched",
    "on_document_updated",
    "on_document_written",
    "on_schedule",
    "on_task_dispatched",
    "problem_of_id",
    "publish",
    "pull_results",
    "send_delivery_chunk",
    "send_waiting_delivery",
    "settings",
    "sweep_campaigns",
    "sweep_deliveries",
    "warn_of_field",
    "wording",
]
