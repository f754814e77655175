"""What the README and the other pages say is true, and every example in them works."""

import ast
import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import main
from batchpush import Document, text_of
from batchpush.campaigns.state import CampaignState
from batchpush.cli import main as cli
from batchpush.delivery.ledger import Ledger
from batchpush.delivery.record import DeliveryState
from batchpush.events.push_texts import TextsState
from batchpush.events.triggers import WATCHED
from batchpush.google.firestore import Firestore
from emulators.batch.campaign_rules import campaign_refusal
from handlers.campaigns import campaign
from handlers.texts import TEXTS, in_other_words
from local.reference import TABLES, replaced
from local.suite import ALWAYS_LOCAL, LOCAL_SETTINGS
from tests.deliveries import claimed
from tests.events import Stored, created
from tests.examples import EXAMPLES, PAGES, ROOT, Clone, Example, examples_of, is_among
from tests.house import EVENING, MORNING, NIGHT, House
from tests.network import counted
from tests.tables import table


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def the_example(title: str) -> str:
    """The block with this title; the first one, if several pages have it."""
    return next(example.text for example in EXAMPLES if example.title == title)


@pytest.mark.parametrize("mark", TABLES)
def test_a_table_says_what_the_code_says(mark: str) -> None:
    """`python -m local.reference` writes them."""
    file, table = TABLES[mark]
    page = file.read_text(encoding="utf-8")
    assert replaced(page, mark, table()) == page


async def test_the_first_handler_respects_preferences_quiet_hours_and_languages() -> None:
    namespace: dict[str, Any] = {}
    exec(compile(the_example("handlers/shipping.py"), "README.md", "exec"), namespace)  # noqa: S102
    texts = tomllib.loads(the_example("add to handlers/texts/en.toml"))
    french = {"title": "Commande expédiée", "body": "Votre commande {number} est en route"}
    house = House()
    profiles: dict[str, dict[str, Any]] = {
        "ann": {},
        "zoe": {"language": "fr"},
        "bob": {"quiet_hours": NIGHT},
        "eve": {"push_muted": True},
        "tim": {"push_preferences": {"order_shipped": False}},
    }
    with pytest.MonkeyPatch.context() as patch:
        for language, words in {"en": texts["order_shipped"], "fr": french}.items():
            patch.setitem(TEXTS, language, TEXTS[language] | {"order_shipped": text_of(words)})
        for who, profile in profiles.items():
            await house.stores(f"users/{who}", profile)
            order = {"customer_id": who, "status": "shipped"}
            await house.happens(
                namespace["order_shipped"], "orders/{order_id}", order, order_id=who
            )
        assert house.all_told() == [
            ("ann", "Your order ann is on its way"),
            ("zoe", "Votre commande zoe est en route"),
        ]
        await house.run_tasks(MORNING)
    assert house.all_told()[2:] == [("bob", "Your order bob is on its way")]
    left_out = {reason for record in await house.records() for reason in record.left_out}
    assert left_out == {("muted", ("eve",)), ("switched off order_shipped", ("tim",))}


async def test_the_handler_for_followers_reaches_each_in_their_own_hours() -> None:
    namespace: dict[str, Any] = {}
    exec(compile(the_example("handlers/news.py"), "handlers.md", "exec"), namespace)  # noqa: S102
    house = House()
    profiles: dict[str, dict[str, Any]] = {
        "ann": {},
        "bob": {"quiet_hours": NIGHT},
        "eve": {"push_muted": True},
    }
    for who, profile in profiles.items():
        await house.stores(f"users/{who}", profile)
        await house.stores(f"topics/ski/followers/{who}", {})
    article = {"topic": "ski", "title": "Snow"}
    await house.happens(namespace["article_published"], "news/{id}", article, id="a1")
    await house.run_tasks(EVENING)
    assert house.all_told() == [("ann", "Snow")]
    await house.run_tasks(MORNING)
    assert house.all_told() == [("ann", "Snow"), ("bob", "Snow")]


def test_the_table_of_events_has_the_paths_of_main() -> None:
    watched = {WATCHED[name].path for name in vars(main) if name in WATCHED}
    stated = {
        path
        for row in table(read("docs/what-is-sent.md"), heading="What is sent when")
        for path in re.findall(r"`([^`]+)`", " ".join(row[1:3]))
    }
    assert stated == watched


def examples() -> list[dict[str, Any]]:
    """The campaigns, as documents."""
    of_page = [each for each in EXAMPLES if each.page == "docs/campaigns.md"]
    found = [json.loads(each.text) for each in of_page if each.language == "json"]
    return [each for each in found if "live" in each]


@pytest.mark.parametrize("document", examples(), ids=lambda document: document["name"])
def test_the_examples_of_campaigns_are_what_batch_takes(document: dict[str, Any]) -> None:
    made = campaign(Document("campaigns/c1", document))
    assert made is not None
    bodies = made.bodies(("ios", "android", "web")).values()
    assert [campaign_refusal(json.loads(body)) for body in bodies] == [None] * 3


def test_every_state_of_a_campaign_is_explained() -> None:
    assert {state.strip("`") for state, _ in table(read("docs/campaigns.md"), heading="State")} == {
        state.value for state in CampaignState
    }


def test_every_state_of_texts_is_explained() -> None:
    assert {
        state.strip("`") for state, _ in table(read("docs/texts.md"), heading="In other words")
    } == {state.value for state in TextsState}


def test_the_example_of_texts_is_one_that_is_used() -> None:
    (document,) = re.findall(
        r"`push_texts/pl`:\n\n```json\n(.*?)```", read("docs/texts.md"), re.DOTALL
    )
    used = in_other_words(Document("push_texts/pl", json.loads(document)))
    assert used.texts.keys() == {"poke", "new_messages"}
    assert used.problems == {}


def test_the_handler_for_mail_works() -> None:
    namespace: dict[str, Any] = {}
    exec(compile(the_example("handlers/mail.py"), "migrate.md", "exec"), namespace)  # noqa: S102
    mail = {"toUids": ["ann"], "message": {"subject": "Hello", "text": "How are you?"}}
    push = asyncio.run(namespace["mail"](created("mail/m1", mail, mail_id="m1"), Stored({})))
    assert (push.message.title, push.message.body) == ("Hello", "How are you?")
    assert [call.app for call in push.calls(("ios", "web"))] == ["ios", "web"]


def test_the_figures_of_the_readme_are_those_of_the_tables() -> None:
    """After `make bench WRITE=1` or `make torture WRITE=1`, the README says the new ones."""
    said = " ".join(read("README.md").split())
    found = table(read("docs/reliability.md"), header="what happened")
    (twice,) = [row[1] for row in found if row[0].startswith("10,000 events, each 8 times at once")]
    accepted, more_than_once = re.findall(r"([\d,]+) calls accepted, (\d+) of them", twice)[0]
    assert (f"accepted {accepted} requests, none of them twice" in said) == (more_than_once == "0")
    speeds = {
        (name, delay, at_once, peer): (speed, ratio.partition(" ")[0])
        for name, delay, at_once, peer, speed, ratio, *_ in table(
            read("docs/performance.md"), header="function"
        )
    }
    ours, _ = speeds["`outbox`", "0 ms", "80", "**batchpush**"]
    _, ratio = speeds["`outbox`", "0 ms", "80", "Python, Firebase SDK, `requests.post`"]
    assert f"handle {ours} events a second, {ratio} times as many" in said


# Every example and every command

WALKABLE = [page for page in PAGES if any(each.is_run for each in examples_of(page))]
NAMED = [page.relative_to(ROOT).as_posix() for page in PAGES]
COMMANDS = list(dict.fromkeys(line for each in EXAMPLES if each.is_shell for line in each.commands))
DELIVERY = "04b11cac6253" + "0" * 52
OURS = re.compile(r"\b(?:python -m |bin/)batchpush ([^|&;`)#]*)")


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    """With a project that has one delivery, which is held and was for Ann."""
    with counted(tmp_path) as network:
        record = replace(
            claimed(id=DELIVERY, document="orders/o1", function="new_message"),
            state=DeliveryState.HELD,
        )
        firestore = Firestore(network.memory)
        asyncio.run(Ledger(lambda: firestore, "batch_deliveries").claim(record))
        yield Clone(tmp_path, FIRESTORE_EMULATOR_HOST=f"127.0.0.1:{network.port}")


@pytest.mark.parametrize("page", WALKABLE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_can_be_followed_from_its_first_example_to_its_last(
    clone: Clone, page: Path
) -> None:
    """In a fresh clone, without `.env`."""
    printed = ""
    for example in examples_of(page):
        if example.is_run:
            done = clone.run(example.text)
            assert done.returncode == example.exit_code, f"{example}\n{done.stdout}"
            printed = done.stdout
        elif example.is_shell:
            printed = ""
        elif example.is_output and printed:
            assert is_among(example.text, printed), f"{example} is not what is printed:\n{printed}"
        elif example.title and not example.is_output:
            clone.write(example)


@pytest.mark.suite
def test_the_demo_shows_what_the_readme_says() -> None:
    (shown,) = [each for each in examples_of(ROOT / "README.md") if "Dinner" in each.text]
    done = subprocess.run(
        [sys.executable, "-m", "local.demo"],
        cwd=ROOT,
        env=os.environ | LOCAL_SETTINGS | ALWAYS_LOCAL,  # not those of the tests
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert is_among(shown.text, done.stdout), done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_an_example_is_of_its_language(example: Example) -> None:
    match example.language:
        case "json":
            json.loads(example.text)
        case "toml":
            tomllib.loads(example.text)
        case "python":
            compile(example.text, str(example), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        case "sh":
            subprocess.run(["bash", "-n"], input=example.text, text=True, check=True)
        case language:
            assert language in ("", "hcl", "js", "mermaid", "text"), "nothing looks at these"


@pytest.mark.parametrize("example", [each for each in EXAMPLES if each.is_shell], ids=str)
def test_an_example_can_be_pasted_into_zsh(example: Example) -> None:
    """On a terminal it knows no comments, unless told so: their words would be arguments."""
    assert not re.search(r"(^|\s)#", example.text, re.MULTILINE)


def what_it_runs(command: str) -> list[str]:
    """Our command, the targets of make, or a program."""
    if ours := OURS.search(command):
        return ours[1].split()[:1]
    program, *words = command.split()
    return [word for word in words if "=" not in word] if program == "make" else [program]


@pytest.mark.parametrize(
    "example", [each for each in EXAMPLES if each.is_shell and not each.is_run], ids=str
)
def test_what_is_not_run_here_is_run_elsewhere_or_says_why(example: Example) -> None:
    assert bool(example.elsewhere) != bool(example.why_not)
    run = "".join(read(file) for file in example.elsewhere)
    for command in example.commands if example.elsewhere else ():
        for name in what_it_runs(command):
            assert name in run, f"{', '.join(example.elsewhere)} does not run {command}"


@pytest.mark.parametrize("command", [each for each in COMMANDS if OURS.search(each)])
def test_every_command_of_ours_has_the_arguments_that_it_takes(command: str) -> None:
    for ours in OURS.findall(command):
        cli.parser().parse_args(shlex.split(ours.rstrip('"')))


TARGETS = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))


@pytest.mark.parametrize("page", NAMED)
def test_every_target_of_make_is_there(page: str) -> None:
    if page != "CHANGELOG.md":  # which tells of what there was
        named = re.findall(r"(?:`|^ *|&& )make ([a-z]+)\b", read(page), re.MULTILINE)
        assert set(named) <= TARGETS


def test_every_target_of_make_is_explained() -> None:
    """In its help, and on the page for developers."""
    helped = re.findall(r"^([a-z]+):.* ## [A-Z]", read("Makefile"), re.MULTILINE)
    named = [row[0].strip("`") for row in table(read("docs/developing.md"), header="command")]
    (phony,) = re.findall(r"^\.PHONY: (.*)", read("Makefile"), re.MULTILINE)
    assert set(helped) == TARGETS == set(phony.split())
    assert set(named) == {f"make {target}" for target in TARGETS - {"help"}}


def test_what_takes_no_hours_is_run_by_ci() -> None:
    """The others end with something to look at, or are run by a test."""
    run = read(".ci/run")
    for target in ("test", "audit", "demo", "rehearse", "docs", "screenshots"):
        assert f"make {target}\n" in run


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md", "docs/developing.md"])
def test_every_file_that_is_named_is_there(page: str) -> None:
    named = re.findall(r"`((?:\.ci|docs|handlers|local|tests)/[\w./-]+)`", read(page))
    assert [file for file in named if "invoice" not in file and not Path(file).exists()] == []


@pytest.mark.parametrize("page", NAMED)
def test_every_link_between_the_pages_leads_somewhere(page: str) -> None:
    prose = re.sub(r"```.*?```|`[^`]*`", "", read(page), flags=re.DOTALL)
    for target, _, anchor in re.findall(r"\]\(((?!https?:)[^)#]*)(#?)([^)]*)\)", prose):
        file = (ROOT / page).parent / target if target else ROOT / page
        assert file.is_file(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
            assert anchor in slugs, f"{target}#{anchor}"


def test_the_readme_can_be_read_in_two_minutes() -> None:
    assert len(read("README.md").splitlines()) < 200
    linked = set(re.findall(r"\]\((docs/[\w/-]+\.md)", read("README.md")))
    pages = {page for page in NAMED if page.startswith("docs/")}
    assert linked <= pages
