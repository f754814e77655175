"""Reads the stored states of a campaign: those of a file, or of a project."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from batchpush.campaigns.state import Publication
from batchpush.campaigns.store import publication_in, state_path
from batchpush.cli.arguments import unknown
from batchpush.cli.document_files import documents_in
from batchpush.cli.preview.page import StateOf
from batchpush.cli.terminal import CannotDo
from batchpush.events.lookup import LookUp

# JSON has no times.
TIMES = ("updated_at", "live_from", "stats_at", "stats_of", "lease_until", "at")


def states_in(file: str | None, apps: Sequence[str]) -> StateOf:
    """The states in a file, by app; raises `CannotDo` for an invalid one."""
    documents = documents_in(file) if file else {}
    for app in documents.keys() - set(apps):
        raise CannotDo(f"{file}: {unknown('app', app, apps)}")
    states = {app: _state(f"{file}: {app}", fields) for app, fields in documents.items()}

    async def state_of(campaign: str, app: str) -> Publication:
        return states.get(app, Publication())

    return state_of


def states_in_project(look_up: LookUp) -> StateOf:
    """The states that a project stores."""

    async def state_of(campaign: str, app: str) -> Publication:
        path = state_path(campaign, app)
        document = await look_up(path)
        return Publication() if document is None else _state(path, document)

    return state_of


def _state(where: str, fields: Mapping[str, Any]) -> Publication:
    try:
        return publication_in(_with_times(fields))
    except ValueError as error:
        raise CannotDo(f"{where}: {error}") from None


def _with_times(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {name: _with_times(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [_with_times(each) for each in value]
    return _time(value) if name in TIMES and isinstance(value, str) else value


def _time(text: str) -> datetime | str:
    """The time, in UTC unless it has a zone; unchanged if it is none."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return text
    return time if time.tzinfo else time.replace(tzinfo=UTC)
