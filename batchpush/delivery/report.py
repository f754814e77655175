"""Reports the outcome to the app that wrote the document, in the Realtime Database.

In Firestore, the ledger writes the summary in the same commit as the record.
"""

from datetime import datetime

from batchpush.delivery.record import Record
from batchpush.google.clients import realtime_database
from batchpush.logs import log


async def report(record: Record) -> None:
    """Write the summary of a settled delivery; a failure is logged and not retried.

    A document deleted in the meantime must not be recreated: the platform would treat it as a new
    one. A write there cannot depend on its parent, so this checks first that it still exists.
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
