"""Checks what changes for apps on Batch's Customer Engagement Platform."""

from collections.abc import Iterator, Mapping

from batchpush.batch_api.cep import A_NAME, NAME
from batchpush.cli.check.categories import group_ids
from batchpush.cli.check.findings import Finding, ok, warning
from batchpush.environment import Settings


def event_names(sources: Mapping[str, str]) -> Iterator[Finding]:
    """Whether each `group_id` can be the name of an event; `sources` are the handlers' files."""
    found = {
        f"{file}:{line}": group_id
        for file, source in sources.items()
        for group_id, line in group_ids(source).items()
    }
    wrong = {where: each for where, each in found.items() if not NAME.fullmatch(each)}
    for where, group_id in wrong.items():
        yield warning(f"group_id {group_id} {A_NAME}: these pushes would be refused", where)
    if found and not wrong:
        yield ok(f"{len(set(found.values()))} group_ids can be names of events in CEP", "handlers")


def channels(settings: Settings, where: str) -> Iterator[Finding]:
    """A project has all apps, so its automations may reach those that are called besides."""
    others = [app for app in settings.batch_apps if app not in settings.cep_apps]
    if settings.cep_apps and others:
        says = (
            f"CHANNEL: {', '.join(others)} is called beside the CEP project: let its automations "
            f"send to {', '.join(sorted(settings.cep_apps))} only, or people get pushes twice"
        )
        yield warning(says, where)
