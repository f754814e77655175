"""The outcome, for the app that wrote the document, where it is in the Realtime Database.

In Firestore, the ledger writes it in the record's own commit.
"""

from datetime import datetime

from batchpush.delivery.record import Record
from batchpush.google.clients import realtime_database
from batchpush.logs import log


async def report(record: Record) -> None:
    """Write the summary of a settled delivery; a failure is logged and not tried again.

    A document that was deleted meanwhile is not made again: the platform would take it for a new
    one. No write there has a condition on what is above it, so it is looked for first.
    """
    if not (record.report_to and record.is_settled and record.is_in_database):
        return
    summary = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in record.summary().items()
    }
    own = record.report_to.removeprefix(f"{record.document}/").partition("/")[0]
    try:
        database = realtime_database(record.source)
        if await database.names(record.document, event=record.id) - {own}:
            await database.write(record.report_to, summary, event=record.id)
    except Exception as error:  # noqa: BLE001 - the delivery is settled, reported or not
        log("ERROR", "report.failed", error=error)
