"""The outcome, for the app that wrote the document, where it is in the Realtime Database.

In Firestore, the ledger writes it in the record's own commit.
"""

import asyncio
from datetime import datetime

from batchpush.firebase import database_reference
from batchpush.logs import log
from batchpush.record import Record


async def report(record: Record) -> None:
    """Write the summary of a settled delivery; a failure is logged and not tried again."""
    if not (record.report_to and record.is_settled and record.is_in_database):
        return
    summary = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in record.summary().items()
    }
    try:
        await asyncio.to_thread(database_reference(record.source, record.report_to).set, summary)
    except Exception as error:
        log("ERROR", "report.failed", error=error)
