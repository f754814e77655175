"""What the README and the other pages say is true."""

import asyncio
import json
import re
import shlex
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import batchpush
import main
from batchpush import Document
from batchpush.campaigns.state import CampaignState
from batchpush.cli import main as cli
from batchpush.environment import Settings
from batchpush.events.triggers import WATCHED
from emulators.batch.campaign_rules import campaign_refusal
from handlers.campaigns import campaign
from tests.events import Stored, created
from tests.tables import table

README = Path("README.md").read_text(encoding="utf-8")


def test_the_settings_table_is_complete_and_has_the_defaults() -> None:
    stated = {
        name.strip("`"): default.strip("`")
        for name, default, _ in table(README, heading="Settings")
    }
    names = {"": "empty", None: "required"}
    assert stated == {
        setting.name.upper(): names.get(setting.metadata["default"], setting.metadata["default"])
        for setting in fields(Settings)
    }


@pytest.mark.parametrize(
    ("order", "body"),
    [
        ({"status": "shipped", "customer_id": "ann"}, "Hello Ann, your order is on its way."),
        ({"status": "shipped", "customer_id": "bob"}, "Hello there, your order is on its way."),
        ({"status": "paid", "customer_id": "ann"}, None),
    ],
)
async def test_the_handler_of_the_example_works(order: dict[str, Any], body: str | None) -> None:
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    namespace: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), namespace)  # noqa: S102 - it is our README
    change = created("orders/o1", order, order_id="o1")
    push = await namespace["order_shipped"](change, Stored({"users/ann": {"display_name": "Ann"}}))
    assert (push and push.message.body) == body
    assert push is None or list(push.calls(("ios",)))


async def test_the_test_of_the_example_passes() -> None:
    handler, when, tested = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[:3]
    namespace: dict[str, Any] = dict(vars(batchpush))
    exec(compile(handler, "README.md", "exec"), namespace)  # noqa: S102 - it is our README
    namespace["orders"] = SimpleNamespace(order_shipped=namespace["order_shipped"])
    try:
        exec(compile(when, "README.md", "exec"), namespace)  # noqa: S102
        exec(compile(tested, "README.md", "exec"), namespace)  # noqa: S102
        await namespace["test_the_buyer_is_told"]()
    finally:
        del WATCHED["order_shipped"]


def test_the_table_of_events_has_the_paths_of_main() -> None:
    watched = {WATCHED[name].path for name in vars(main) if name in WATCHED}
    stated = {
        path
        for row in table(README, heading="What is sent when")
        for path in re.findall(r"`([^`]+)`", " ".join(row[1:3]))
    }
    assert stated == watched


def examples() -> list[dict[str, Any]]:
    """The campaigns, as documents."""
    return [json.loads(text) for text in re.findall(r"```json\n(.*?)```", README, re.DOTALL)]


@pytest.mark.parametrize("document", examples(), ids=lambda document: document["name"])
def test_the_examples_of_campaigns_are_what_batch_takes(document: dict[str, Any]) -> None:
    made = campaign(Document("campaigns/c1", document))
    assert made is not None
    bodies = made.bodies(("ios", "android", "web")).values()
    assert [campaign_refusal(json.loads(body)) for body in bodies] == [None] * 3


def test_every_state_of_a_campaign_is_explained() -> None:
    assert {state.strip("`") for state, _ in table(README, heading="Campaigns")} == {
        state.value for state in CampaignState
    }


# Every command, and what runs it

PAGES = {
    page: Path(page).read_text(encoding="utf-8")
    for page in (
        *("README.md", "CONTRIBUTING.md", "SECURITY.md"),
        *sorted(map(str, Path("docs").rglob("*.md"))),
    )
}
CLOUD = "a project in the cloud"  # what no test can have; its syntax is gcloud's or firebase's
BY = {
    r"make (demo|rehearse|setup|check unit)": ".ci/run",
    r"venv/bin/pytest tests/test_orders\.py": "tests/test_orders.py",
    r"BATCHPUSH_LIVE_\S+ .* venv/bin/pytest tests/live": "tests/live/test_live.py",
    r"(\S+ )*python -m batchpush probe.*": "tests/test_probe.py",
    r"venv/bin/ruff format \.": "Makefile",
    r"make deploy( PROJECT=\S+)?": "tests/test_deploy.py",
    r"(\S+ )*(venv/bin/)?python -m batchpush send-test .*": "tests/test_send_test.py",
    r"(venv/bin/)?python -m batchpush check": "tests/test_check.py",
    r"(venv/bin/)?python -m batchpush preview .*": "tests/test_preview.py",
    r"python -m batchpush (deliveries|show|replay|erase|stats) .*": "tests/test_cli.py",
    r"(printf '%s' '\w+' \| )?gcloud .*": CLOUD,
    r"for service in [a-z -]+; do gcloud .*; done": "tests/test_check.py",
    r"echo \S+ >> requirements.in && make lock": "tests/test_packages.py",
    r"for name in [a-z ]+; do gcloud .*; done": "tests/test_ops.py",
    r"firebase (use --add|functions:delete .*)": CLOUD,
}


def commands() -> list[str]:
    """Each command of the `sh` blocks, on one line and without its comment."""
    found = []
    for page in PAGES.values():
        for block in re.findall(r"^ *```sh\n(.*?)^ *```", page, re.DOTALL | re.MULTILINE):
            text = re.sub(r"\\\n\s*", "", block)
            text = re.sub(r"; do\n\s*(.*)\n\s*done", r"; do \1; done", text)
            found += [re.sub(r"\s+# .*", "", line).strip() for line in text.splitlines()]
    return found


TARGETS = set(re.findall(r"^([a-z]+):", Path("Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES)
def test_every_target_of_make_is_there(page: str) -> None:
    named = re.findall(r"(?:`|^ *|&& )make ([a-z]+)\b", PAGES[page], re.MULTILINE)
    assert set(named) <= TARGETS


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_every_file_that_is_named_is_there(page: str) -> None:
    named = re.findall(r"`((?:\.ci|docs|handlers|local|tests)/[\w./-]+)`", PAGES[page])
    assert [file for file in named if "invoice" not in file and not Path(file).exists()] == []


@pytest.mark.parametrize("command", dict.fromkeys(commands()))
def test_every_command_is_run_by_something(command: str) -> None:
    (by,) = [by for pattern, by in BY.items() if re.fullmatch(pattern, command)]
    assert by == CLOUD or Path(by).is_file()


def test_every_command_of_a_row_is_run_by_something() -> None:
    run = Path(".ci/run").read_text(encoding="utf-8")
    stated = [row[0].strip("`") for row in table(README, header="command")]
    # They take minutes, and end with a table to look at.
    by_hand = {"make torture", "make mutants", "make sabotage", "make bench"}
    by_tests = {"make dev": "tests/test_suite_launcher.py", "make deploy": "tests/test_deploy.py"}
    for command in stated:
        assert command in by_hand | by_tests.keys() or f"{command}\n" in run


@pytest.mark.parametrize("command", [each for each in commands() if "-m batchpush" in each])
def test_every_command_of_ours_has_the_arguments_that_it_takes(command: str) -> None:
    arguments = shlex.split(command.partition("-m batchpush ")[2])
    cli.parser().parse_args(arguments)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_between_the_pages_leads_somewhere(page: str) -> None:
    for target, _, anchor in re.findall(r"\]\(((?!https?:)[^)#]*)(#?)([^)]*)\)", PAGES[page]):
        file = Path(page).parent / target if target else Path(page)
        assert file.is_file(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
            assert anchor in slugs


def test_the_handler_for_mail_works() -> None:
    code = re.findall(r"```python\n(.*?)```", PAGES["docs/migrate.md"], re.DOTALL)[-1]
    namespace: dict[str, Any] = {}
    exec(compile(code, "migrate.md", "exec"), namespace)  # noqa: S102 - it is our page
    mail = {"toUids": ["ann"], "message": {"subject": "Hello", "text": "How are you?"}}
    push = asyncio.run(namespace["mail"](created("mail/m1", mail, mail_id="m1"), Stored({})))
    assert (push.message.title, push.message.body) == ("Hello", "How are you?")
    assert [call.app for call in push.calls(("ios", "web"))] == ["ios", "web"]
