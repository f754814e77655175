"""`sync-profiles`: what Batch lacks of everybody, and the tasks that send it."""

import json

import pytest

from batchpush.cli.main import parser
from batchpush.cli.sync_profiles import sync_profiles
from batchpush.cli.terminal import CannotDo
from batchpush.testing import Project
from batchpush.worker import mirror_page, working_with
from handlers import attributes


def project(count: int, mirrored: str = "true") -> Project:
    people = {f"users/u{number:03}": {"city": f"City {number}"} for number in range(count)}
    return Project(people, None, None, MIRROR_PROFILES=mirrored)


async def run(made: Project, *arguments: str) -> int:
    return await sync_profiles(parser().parse_args(["sync-profiles", *arguments]), made.worker)


async def test_it_is_a_dry_run_unless_told_to_send(capsys: pytest.CaptureFixture[str]) -> None:
    made = project(2)
    assert await run(made) == 0
    said = capsys.readouterr().out
    assert "2 people; Batch lacks something of 2" in said
    assert "nothing was sent; add --send" in said
    assert (made.queue.tasks, made.batch.calls) == ([], [])


async def test_what_is_sent_is_lacking_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    made = project(400)
    assert await run(made, "--send") == 0
    assert "2 tasks made" in capsys.readouterr().out
    for _, data in made.queue.tasks:
        with working_with(made.worker):
            await mirror_page(data, attributes.profile)
    await run(made, "--json")
    last = capsys.readouterr().out.splitlines()[-1]
    assert json.loads(last) == {
        "people": 400,
        "lacking": 0,
        "refused": 0,
        "unnamed": 0,
        "tasks": 0,
        "after": None,
    }


async def test_it_says_how_many_have_no_custom_id(capsys: pytest.CaptureFixture[str]) -> None:
    made = project(2)
    made.hold("users/ann", {"city": "Rome", "batch": {"install_ids": ["i-1"]}})
    assert await run(made) == 0
    said = capsys.readouterr().out
    assert "3 people; Batch lacks something of 2\n" in said
    assert "nothing of them is mirrored: 1\n" in said


async def test_it_begins_after_an_id(capsys: pytest.CaptureFixture[str]) -> None:
    await run(project(10), "--after", "u006")
    assert "3 people" in capsys.readouterr().out


async def test_off_it_says_so() -> None:
    with pytest.raises(CannotDo, match="MIRROR_PROFILES is false"):
        await run(project(1, mirrored="false"))
