"""Turns database writes into push notifications, with Batch's Transactional and Campaigns APIs."""

# First: it keeps the garbage collector out of the other imports.
from batchpush.events.triggers import (
    on_document_created,
    on_document_deleted,
    on_document_updated,
    on_document_written,
    on_schedule,
    on_task_dispatched,
    only_with,
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
from batchpush.events.push_texts import push_texts
from batchpush.events.untouched import on_document_untouched
from batchpush.logs import log
from batchpush.pushes.attributes import attribute, check_names
from batchpush.pushes.campaign import Campaign
from batchpush.pushes.digest import Digest, Schedule
from batchpush.pushes.event import Event
from batchpush.pushes.languages import nearest_language
from batchpush.pushes.limits import Limit
from batchpush.pushes.plurals import category as plural_category
from batchpush.pushes.profile import Profile
from batchpush.pushes.push import (
    ID_LISTS,
    MAX_AHEAD,
    MAX_FRESH_FOR,
    Audience,
    CollapseKey,
    Media,
    Message,
    NoPush,
    Push,
    Recipients,
    problem_of_id,
)
from batchpush.pushes.quiet_hours import QuietHours
from batchpush.pushes.wording import Text, Wording, plural_problems, text_of, wording
from batchpush.worker import (
    announce,
    check_texts,
    deliver,
    deliver_again,
    deliver_call,
    forget,
    mirror,
    mirror_page,
    publish,
    pull_results,
    send_delivery_chunk,
    send_digests,
    send_waiting_delivery,
    sweep_campaigns,
    sweep_deliveries,
    sweep_profiles,
    sweep_receipts,
)

__all__ = [
    "EPOCH",
    "ID_LISTS",
    "INVISIBLE",
    "MAX_AHEAD",
    "MAX_FRESH_FOR",
    "Audience",
    "BatchpushError",
    "CallRefused",
    "CallableRequest",
    "Campaign",
    "Change",
    "CollapseKey",
    "ConfigurationError",
    "Database",
    "Digest",
    "Document",
    "Event",
    "InvalidDocument",
    "InvalidPush",
    "Limit",
    "LookUp",
    "Media",
    "Message",
    "NoPush",
    "Profile",
    "Push",
    "QuietHours",
    "Recipients",
    "Reference",
    "Schedule",
    "Text",
    "Wording",
    "announce",
    "as_list",
    "attribute",
    "check_names",
    "check_texts",
    "deliver",
    "deliver_again",
    "deliver_call",
    "forget",
    "is_blank",
    "is_document_id",
    "is_unicode",
    "log",
    "mirror",
    "mirror_page",
    "nearest_language",
    "on_call",
    "on_document_created",
    "on_document_deleted",
    "on_document_untouched",
    "on_document_updated",
    "on_document_written",
    "on_schedule",
    "on_task_dispatched",
    "only_with",
    "plural_category",
    "plural_problems",
    "problem_of_id",
    "publish",
    "pull_results",
    "push_texts",
    "send_delivery_chunk",
    "send_digests",
    "send_waiting_delivery",
    "settings",
    "sweep_campaigns",
    "sweep_deliveries",
    "sweep_profiles",
    "sweep_receipts",
    "text_of",
    "warn_of_field",
    "wording",
]
