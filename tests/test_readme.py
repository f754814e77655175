"""What the README says is true."""

import json
import re
from dataclasses import fields
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any

import pytest

from batchpush import Document
from batchpush.publication import State
from batchpush.settings import Settings
from emulators.batch.campaign_rules import campaign_refusal
from handlers.campaigns import campaign
from tests.events import Stored, created

README = Path("README.md").read_text(encoding="utf-8")


def table(heading: str, level: str = "##") -> list[list[str]]:
    """The rows of the first table under a heading, as cells."""
    lines = iter(README.partition(f"\n{level} {heading}\n")[2].splitlines())
    below = dropwhile(lambda line: not line.startswith("|"), lines)
    rows = list(takewhile(lambda line: line.startswith("|"), below))
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def test_the_settings_table_is_complete_and_has_the_defaults() -> None:
    stated = {name.strip("`"): default.strip("`") for name, default, _ in table("Settings")}
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


def test_every_command_is_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", Path("Makefile").read_text(encoding="utf-8"), re.M))
    assert set(re.findall(r"`?make ([a-z]+)", README)) <= targets


def test_the_table_of_events_has_the_paths_of_main() -> None:
    watched = re.findall(
        r'_(?:created|updated|written|untouched)\("([^"]+)"', Path("main.py").read_text("utf-8")
    )
    stated = {
        path
        for row in table("What is sent when")
        for path in re.findall(r"`([^`]+)`", " ".join(row[1:3]))
    }
    assert stated == set(watched)


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
    assert {state.strip("`") for state, _ in table("Campaigns", "###")} == {
        state.value for state in State
    }
