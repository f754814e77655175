"""The events of the log: the table of `docs/logs.md`. Nothing imports this at run time.

A name and its fields are a public contract: queries, metrics and alerts use them.
"""

from dataclasses import dataclass

OF_ERROR = "`error`, `raised_at`"


@dataclass(frozen=True)
class LogEvent:
    """`data` says in Markdown what the line has under `data`."""

    name: str
    severity: str
    means: str
    data: str = ""


LOG_EVENTS = (
    LogEvent("push.accepted", "INFO", "Batch accepted a request", "`body`, `try`, `status`"),
    LogEvent(
        "push.people_refused",
        "WARNING",
        "CEP refused some people of a request; they are in `left_out` of the record",
        "`people`, how many; `reason`",
    ),
    LogEvent(
        "push.refused",
        "WARNING",
        "Batch refused a request for good",
        "`body`, `try`, `status`, `problem`",
    ),
    LogEvent(
        "push.not_sent",
        "WARNING",
        "Batch did not take a request, which is tried again",
        "`body`, `try`, `status`, `problem`",
    ),
    LogEvent(
        "push.unknown",
        "WARNING",
        "the outcome of a request is unknown: Batch may have accepted it",
        "`body`, `try`, `status`, `problem`",
    ),
    LogEvent("push.none", "DEBUG", "a handler returned no push for a write; nothing is recorded"),
    LogEvent(
        "delivery.sent",
        "INFO",
        "a delivery ended: every request is accepted",
        "`delivery`, `milliseconds` since the write, or since a wait was over",
    ),
    LogEvent(
        "delivery.retry",
        "INFO",
        "a request is not accepted yet; the event will be delivered again",
        "`delivery`, `milliseconds`",
    ),
    LogEvent(
        "delivery.waiting",
        "INFO",
        "a delivery waits for its time, for the end of quiet hours, or of a burst",
        "`delivery`, `milliseconds`",
    ),
    LogEvent(
        "delivery.obsolete",
        "INFO",
        "a delivery ended: nobody is left to tell",
        "`delivery`, `milliseconds`, `reason`",
    ),
    LogEvent(
        "delivery.refused",
        "ERROR",
        "a delivery ended: refused for good",
        "`delivery`, `milliseconds`, `reason`",
    ),
    LogEvent(
        "delivery.held",
        "ERROR",
        "a delivery ended: a person decides",
        "`delivery`, `milliseconds`, `reason`",
    ),
    LogEvent(
        "delivery.expired",
        "ERROR",
        "a delivery ended: too old to send",
        "`delivery`, `milliseconds`, `reason`",
    ),
    LogEvent(
        "limit.reached",
        "WARNING",
        "one person caused more pushes than a limit allows; once per window and process. "
        "Deliveries that a limit refuses end with `delivery.refused` at DEBUG",
        "`problem`",
    ),
    LogEvent(
        "document.dropped",
        "ERROR",
        "of several documents that wait together, one became invalid; the others are pushed",
        OF_ERROR,
    ),
    LogEvent(
        "digest.dropped",
        "ERROR",
        "a digest was due of a function that `main.py` no longer has; it is not sent",
        "`digest`",
    ),
    LogEvent(
        "task.refused",
        "WARNING",
        "Cloud Tasks did not accept a task; the sweep makes it again",
        "`delivery`, `chunk`, `error`",
    ),
    LogEvent(
        "record.reduced",
        "ERROR",
        "Firestore refused to store an outcome with all of Batch's words, and has it without them",
        OF_ERROR,
    ),
    LogEvent(
        "record.unreadable",
        "ERROR",
        "this version cannot read a delivery record, and leaves it as it is",
        OF_ERROR,
    ),
    LogEvent(
        "delivery.missing", "ERROR", "a task for a delivery whose record is gone", "`delivery`"
    ),
    LogEvent(
        "campaign.applied",
        "INFO",
        "a campaign is in an app as its document says",
        "`campaign_token`",
    ),
    LogEvent("campaign.absent", "INFO", "a campaign is not in an app, or not any more"),
    LogEvent(
        "campaign.ignored",
        "INFO",
        "a campaign's document has fields that are not sent, the CMS's own or misspelled ones; "
        "said once per process",
        "`fields`, their names",
    ),
    LogEvent(
        "campaign.retry",
        "WARNING",
        "Batch does not have a campaign as it should be; the event will be delivered again",
        "`campaign_token`, `error`",
    ),
    LogEvent(
        "campaign.refused",
        "ERROR",
        "Batch or our validation refused what a campaign's document says",
        "`campaign_token`, `error`",
    ),
    LogEvent(
        "campaign.held",
        "ERROR",
        "a campaign may be at Batch and cannot be found: a person decides",
        "`error`",
    ),
    LogEvent(
        "campaign.unreadable",
        "ERROR",
        "this version cannot read the state of a campaign in an app, and leaves it as it is",
        "`state`, the path; `problem`",
    ),
    LogEvent(
        "profile.applied",
        "DEBUG",
        "every app has what changed of a profile",
        "`attributes`, how many by app",
    ),
    LogEvent(
        "profile.retry",
        "WARNING",
        "an app does not have it yet; the event will be delivered again",
        "`attributes`; `problems` by app",
    ),
    LogEvent(
        "profile.refused",
        "ERROR",
        "an app refused what changed of a profile, until it changes; the others have it",
        "`attributes`; `problems` by app",
    ),
    LogEvent(
        "profile.broken",
        "ERROR",
        "the handler of profiles raised an error; nothing of this one is mirrored",
        "`error`, `raised_at`",
    ),
    LogEvent(
        "profile.batch_ids",
        "WARNING",
        "a profile names ids at Batch that are other users' ids; nothing is said of those",
        "`people`, how many",
    ),
    LogEvent(
        "profile.unreadable",
        "ERROR",
        "what is known of a person's attributes at Batch is not as any version writes it: all are "
        "sent once more",
        "`state`, the path; `error`",
    ),
    LogEvent(
        "profiles.synced", "INFO", "a task of `sync-profiles` ended", "`people`, `sent`, `left`"
    ),
    LogEvent(
        "attribute.invalid",
        "WARNING",
        "a field of a profile is not an attribute that Batch takes, and counts as absent; once per "
        "process, field and problem",
        "`field`, `name`, `problem`",
    ),
    LogEvent(
        "receipt.done",
        "INFO",
        "Batch and the records have forgotten a person who left",
        "`receipt`, the id",
    ),
    LogEvent(
        "receipt.refused",
        "ERROR",
        "an app refused to remove a person who left; the rest is done",
        "`receipt`; `problems`",
    ),
    LogEvent(
        "receipt.unread",
        "WARNING",
        "Batch does not say where a request to remove a person stands; it is asked again",
        "`error`",
    ),
    LogEvent(
        "receipt.unreadable",
        "ERROR",
        "a receipt that this version cannot read, and leaves alone",
        "`receipt`, the path; `error`",
    ),
    LogEvent(
        "receipts.too_many_records",
        "ERROR",
        "the sweep could not look through all records in time to erase those who left: run "
        "`python -m batchpush receipts --finish`",
        "`people`, how many",
    ),
    LogEvent(
        "article.announced",
        "INFO",
        "an article became a campaign, or stopped or resumed it",
        "`campaign`, `live`",
    ),
    LogEvent("stats.pulled", "INFO", "Batch was asked for results", "`asked`, `failed`"),
    LogEvent("stats.failed", "WARNING", "Batch gave no results to one request", "`route`, `error`"),
    LogEvent("stats.skipped", "WARNING", "a Dev key has no results", "`apps`, `reason`"),
    LogEvent(
        "event.unfinished",
        "WARNING",
        "an event is to be delivered again. If an operator can fix the cause (a missing role, "
        "database or index), the command follows after `Fix it with:`",
        OF_ERROR,
    ),
    LogEvent("event.refused", "ERROR", "an event is not a write, or cannot be read", OF_ERROR),
    LogEvent(
        "event.crashed",
        "ERROR",
        "an error that should not happen; the event will be delivered again",
        OF_ERROR,
    ),
    LogEvent(
        "call.unfinished",
        "WARNING",
        "a request to `notify` is not done yet; the app may try again",
        OF_ERROR,
    ),
    LogEvent(
        "call.refused",
        "WARNING",
        "a request to `notify` was answered with an error",
        "`status`, `message`",
    ),
    LogEvent(
        "call.unverified", "WARNING", "the token of a request could not be verified", "`kind`"
    ),
    LogEvent(
        "call.crashed",
        "ERROR",
        "an error in `notify` that should not happen",
        "`kind`, `raised_at`",
    ),
    LogEvent(
        "bodies.kept",
        "WARNING",
        "the sweep could not delete old bodies; the next one tries again",
        OF_ERROR,
    ),
    LogEvent(
        "chunk.missing", "ERROR", "a task for a chunk whose record is gone", "`delivery`, `chunk`"
    ),
    LogEvent(
        "report.failed",
        "ERROR",
        "the outcome could not be written to the Realtime Database",
        OF_ERROR,
    ),
    LogEvent(
        "text.broken",
        "ERROR",
        "a text in `handlers/texts/` cannot be read, and the default language's is used; or one in "
        "`push_texts/` is invalid, and the file's is used; once per process",
        "`file` or `document`, `text`, `problem`",
    ),
    LogEvent(
        "texts.refused",
        "WARNING",
        "texts of a document in `push_texts/` are invalid, and not used",
        "`problems`",
    ),
    LogEvent(
        "texts.kept",
        "WARNING",
        "the documents in `push_texts/` could not be read; what was read last is used for another "
        "minute",
        OF_ERROR,
    ),
    LogEvent(
        "field.invalid",
        "WARNING",
        "a value in a profile or in a list of people is invalid and counts as absent; once per "
        "process and field",
        "`field`",
    ),
    LogEvent(
        "document.old",
        "DEBUG",
        "a document says that it is old, such as an imported message, and is not pushed",
    ),
    LogEvent(
        "recipients.batch_ids",
        "WARNING",
        "a list of people in a conversation holds ids that belong to users at Batch; nobody gets a "
        "push by them",
        "`people`, how many",
    ),
    LogEvent(
        "rest_key.kept",
        "WARNING",
        "the REST key could not be read again; the known one stays in use",
        OF_ERROR,
    ),
    LogEvent(
        "recipients.tokens",
        "WARNING",
        "somebody's `batch` has `tokens`, which change; once per process",
    ),
    LogEvent(
        "credentials.kept",
        "WARNING",
        "Google gave no new token; the known one is used until it expires. Once, until that works "
        "again",
        OF_ERROR,
    ),
)
