"""The security rules of the Realtime Database: who may write what."""

import pytest

from pathlib import Path
from tests.database_rules import Database, changed, parsed, segments
from tests.scenarios import NOW, SCENARIOS, TODAY, WORLD, Scenario, database_world

RULES = Path("database.rules.json").read_text(encoding="utf-8")
MILLISECONDS = int(TODAY.timestamp() * 1000)


def stored() -> Database:
    root = None
    for path, value in database_world(WORLD).items():
        root = changed(root, segments(path), value)
    return Database(parsed(RULES), root, MILLISECONDS)


DATABASE = stored()

@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_who_may_do_what_in_the_realtime_database(scenario: Scenario) -> None:
    writes = {p: MILLISECONDS if v is NOW else v for p, v in scenario.act.database.items()}
    assert DATABASE.may_write(scenario.who, writes) == scenario.may
