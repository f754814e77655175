"""The settings that the tests run with; set before anything imports them."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.realtime_database import Database

# How long an example takes says something of the machine, not of the code.
settings.register_profile("batchpush", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("batchpush")

os.environ |= {
    "BATCH_APPS": "ios=IOSKEY,android=ANDROIDKEY,web=WEBKEY",
    "DEEPLINK_BASE": "myapp://",
    "DEFAULT_LANGUAGE": "en",
    "LOG_LEVEL": "INFO",
    "SOURCES": "firestore,database",
    "GCLOUD_PROJECT": "demo-batchpush",
    "FUNCTIONS_DISCOVERY_TIMEOUT": "120",  # a busy machine is no finding of `check`
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--figures", action="store_true", help="show what was found in a table")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What judges the whole run comes last, in whatever order the rest is."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    from tests.figures import FIGURES, as_table

    if terminalreporter.config.getoption("--figures"):
        terminalreporter.write_sep("=", "figures")
        terminalreporter.write_line(as_table(FIGURES))


@pytest.fixture(scope="session")
def service_account(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a service account's key file, as Google's clients find their credentials."""
    from local.suite import write_service_account

    path: Path = tmp_path_factory.mktemp("credentials") / "service-account.json"
    write_service_account(path)
    return str(path)


@pytest.fixture
async def database(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator["Database"]:
    """A Realtime Database that our client takes for the emulator."""
    from batchpush.google.clients import close_realtime_databases
    from tests.realtime_database import served

    with served() as (database, address):
        monkeypatch.setenv("FIREBASE_DATABASE_EMULATOR_HOST", address)
        yield database
        await close_realtime_databases()
