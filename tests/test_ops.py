"""The page of the logs has every event; ops/ names only events and commands that there are."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from batchpush.batch_api.outcome import Outcome
from batchpush.campaigns import state as publication
from batchpush.cli import main as cli
from batchpush.cli.check.cloud import ACTS, DATABASE_ROLE, GIVEN_ROLES, READER, ROLES
from batchpush.delivery.record import DeliveryState
from batchpush.leaving.receipt import ReceiptState
from batchpush.log_events import LOG_EVENTS
from batchpush.profiles.state import ProfileState
from emulators.google_cloud import discovery
from tests.tables import table

LOGS = Path("docs/logs.md").read_text(encoding="utf-8")
DEPLOY = Path("docs/deploy.md").read_text(encoding="utf-8")
OPERATING = Path("docs/operating.md").read_text(encoding="utf-8")
METRICS = sorted(Path("ops/metrics").glob("*.json"))
ALERTS = sorted(Path("ops/alerts").glob("*.json"))
DASHBOARD = Path("ops/dashboards/batchpush.json")
LOG_CALL = re.compile(r'\blog\(\s*[^,()]+(?:\([^()]*\))?[^,()]*,\s*f?"([^"]+)"')
# What a name with a `{...}` in it stands for. Nobody ends what is being sent.
MADE_OF = {
    "push.": [outcome.name for outcome in Outcome],
    "delivery.": [state.name for state in DeliveryState if state is not DeliveryState.CLAIMED],
    "campaign.": [state.name for state in publication.CampaignState if state.name != "CLAIMED"],
    "profile.": [state.name for state in ProfileState if state is not ProfileState.CLAIMED],
    "receipt.": [state.name for state in ReceiptState if state is not ReceiptState.REQUESTED],
}


def logged_events() -> set[str]:
    """The names in the code."""
    events: set[str] = set()
    for file in (*Path("batchpush").rglob("*.py"), *Path("handlers").rglob("*.py")):
        for name in LOG_CALL.findall(file.read_text(encoding="utf-8")):
            start, brace, _ = name.partition("{")
            events |= {start + each.lower() for each in MADE_OF[start]} if brace else {name}
    return events


EVENTS = {row[0].strip("`") for row in table(LOGS, header="event")}


def test_every_event_is_in_the_table_of_the_logs() -> None:
    assert logged_events() == EVENTS


def test_an_event_has_the_severity_that_it_is_logged_with() -> None:
    severities = {event.name: event.severity for event in LOG_EVENTS}
    for file in (*Path("batchpush").rglob("*.py"), *Path("handlers").rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        for severity, name in re.findall(r'\blog\(\s*"([A-Z]+)",\s*"([^"]+)"', text):
            assert severities[name] == severity, name


def test_no_call_of_log_is_overlooked() -> None:
    for file in (*Path("batchpush").rglob("*.py"), *Path("handlers").rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        calls = re.findall(r"(?<!def )\blog\(", text)
        assert len(calls) == len(LOG_CALL.findall(text)), file


def events_in(filter_: str) -> set[str]:
    """The events that a filter names: `m="a.b"` or `m=("a.b" OR "c.d")`."""
    values = re.findall(r'jsonPayload\.message=("[^"]*"|\([^)]*\))', filter_)
    assert values, filter_
    return set(re.findall(r'"([^"]*)"', " ".join(values)))


def read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", METRICS, ids=lambda file: file.stem)
def test_a_metric_counts_events_that_there_are(file: Path) -> None:
    metric = read(file)
    discovery.check("logging.v2", "LogMetric", metric)
    descriptor = metric["metricDescriptor"]
    events = events_in(metric["filter"])
    assert metric["name"] == f"batchpush_{file.stem}"
    assert events <= EVENTS
    assert metric["filter"].startswith('resource.type="cloud_run_revision" AND ')
    labels = {label["key"] for label in descriptor["labels"]}
    assert labels == metric["labelExtractors"].keys()
    for label, extractor in metric["labelExtractors"].items():
        if of_name := re.fullmatch(r'REGEXP_EXTRACT\(jsonPayload\.message, "(.*)"\)', extractor):
            pattern = of_name[1].replace("\\\\", "\\")
            assert all(re.fullmatch(pattern, event) for event in events)
        else:
            assert extractor == f"EXTRACT(jsonPayload.{label})"
    is_distribution = descriptor["valueType"] == "DISTRIBUTION"
    assert is_distribution == ("valueExtractor" in metric) == ("bucketOptions" in metric)
    assert descriptor["metricKind"] == "DELTA"


def check_series(filter_: str, grouped_by: Iterable[str] = ()) -> None:
    """It is of a metric that there is, with labels that it has, and values that these can have."""
    (name,) = re.findall(r'metric\.type="logging\.googleapis\.com/user/batchpush_(\w+)"', filter_)
    metric = read(Path(f"ops/metrics/{name}.json"))
    endings = {event.partition(".")[2] for event in events_in(metric["filter"])}
    labels = re.findall(r'metric\.label\.(\w+)=(?:one_of\((.*?)\)|"(\w+)")', filter_)
    for label, values, value in labels:
        assert label in ("state", "outcome")
        assert set(re.findall(r'"(\w+)"', values) or [value]) <= endings
    named = {label for label, _, _ in labels} | {each.split(".")[-1] for each in grouped_by}
    assert named <= metric["labelExtractors"].keys()


@pytest.mark.parametrize("file", ALERTS, ids=lambda file: file.stem)
def test_an_alert_looks_for_events_or_metrics_that_there_are(file: Path) -> None:
    policy = read(file)
    discovery.check("monitoring.v3", "AlertPolicy", policy)
    (condition,) = policy["conditions"]
    if match := condition.get("conditionMatchedLog"):
        assert events_in(match["filter"]) <= EVENTS
        # Cloud Monitoring wants it for alerts on log lines, and takes it for no others.
        assert policy["alertStrategy"]["notificationRateLimit"]
    else:
        threshold = condition["conditionThreshold"]
        (aggregation,) = threshold["aggregations"]
        check_series(threshold["filter"], aggregation.get("groupByFields", ()))
        (needed,) = re.findall(r"user/(batchpush_\w+)", threshold["filter"])
        assert f"Needs the metric `{needed}`." in policy["documentation"]["content"]
        assert "alertStrategy" not in policy


def test_what_ends_badly_has_an_alert() -> None:
    filters = [json.dumps(read(file)["conditions"]) for file in ALERTS]
    loud = {row[0].strip("`") for row in table(LOGS, header="event") if row[1] == "ERROR"}
    ends = ("delivery.", "campaign.", "event.", "profile.", "receipt")
    alarming = {event for event in loud if event.startswith(ends)}
    alarming -= {"profile.unreadable"}  # it repairs itself
    assert {event for event in alarming if not any(event in each for each in filters)} == set()


def test_the_dashboard_shows_metrics_that_there_are_and_all_of_them() -> None:
    dashboard = read(DASHBOARD)
    discovery.check("monitoring.v1", "Dashboard", dashboard)
    widgets = [tile["widget"] for tile in dashboard["mosaicLayout"]["tiles"]]
    queries = [
        series["timeSeriesQuery"]["timeSeriesFilter"]
        for widget in widgets
        for series in widget.get("xyChart", {}).get("dataSets", ())
    ]
    for query in queries:
        check_series(query["filter"], query["aggregation"].get("groupByFields", ()))
    shown = set(re.findall(r"user/batchpush_(\w+)", json.dumps(queries)))
    assert shown == {metric.stem for metric in METRICS}


def test_the_tiles_of_the_dashboard_do_not_overlap() -> None:
    layout = read(DASHBOARD)["mosaicLayout"]
    taken = [
        (x, y)
        for tile in layout["tiles"]
        for x in range(tile.get("xPos", 0), tile.get("xPos", 0) + tile["width"])
        for y in range(tile.get("yPos", 0), tile.get("yPos", 0) + tile["height"])
    ]
    assert len(taken) == len(set(taken))
    assert {x for x, _ in taken} == set(range(layout["columns"]))


def commands_in(text: str) -> list[str]:
    """What stands in backquotes or in a block and is a command of ours."""
    return re.findall(r"python -m batchpush [^`#)\n]+", text)


NAMED = [
    (file.stem, command)
    for file in ALERTS
    for command in commands_in(read(file)["documentation"]["content"])
] + [("operating.md", command) for command in commands_in(OPERATING)]


@pytest.mark.parametrize(("where", "command"), NAMED)
def test_a_command_that_is_named_is_one_that_there_is(where: str, command: str) -> None:
    given = shlex.split(command.replace(" ID", " 04b11cac6253"))
    cli.parser().parse_args(given[3:])


@pytest.mark.parametrize("file", ALERTS, ids=lambda file: file.stem)
def test_an_alert_names_a_command_in_full(file: Path) -> None:
    """Whoever is on call at night copies it."""
    quoted = re.findall(r"`([^`]+)`", read(file)["documentation"]["content"])
    ours = re.findall(r"^    ([a-z-]+) ", cli.parser().format_help(), re.MULTILINE)
    assert "replay" in ours
    assert [each for each in quoted if each.split()[0] in ours] == []


def test_what_is_said_to_send_sends() -> None:
    """A replay without `--send` is a dry run; what is held takes one option more."""
    sending = [command for _, command in NAMED if "replay" in command and "--send" in command]
    held = [command for where, command in NAMED if where == "held" and "--send" in command]
    assert sending
    assert held
    for command in held:
        chosen = cli.parser().parse_args(shlex.split(command.replace(" ID", " 04b11cac6253"))[3:])
        assert chosen.send
        assert chosen.resend_unknown


# Terraform


TERRAFORM = Path("ops/main.tf").read_text(encoding="utf-8")


def names_in(value: Any) -> set[str]:
    """The fields of a JSON value and of what is in it; those of a map are no fields."""
    if isinstance(value, list):
        return set().union(*map(names_in, value))
    if not isinstance(value, dict):
        return set()
    inside = [each for name, each in value.items() if name != "labelExtractors"]
    return set(value) | set().union(*map(names_in, inside))


@pytest.mark.parametrize(
    "file", [*METRICS, *ALERTS], ids=lambda file: f"{file.parent.name}/{file.stem}"
)
def test_terraform_hands_on_each_field(file: Path) -> None:
    handed_on = set(re.findall(r"\w+", TERRAFORM))
    assert names_in(read(file)) - handed_on == set()


def test_terraform_calls_a_field_as_google_does_in_its_own_spelling() -> None:
    pairs = re.findall(r"(\w+) += (?:try\()?\w+\.value(?:\.\w+)*\.(\w+)", TERRAFORM)
    assert len(pairs) > 20
    for name, field in pairs:
        assert name == "for_each" or name == re.sub(
            r"([A-Z])", lambda found: f"_{found[1].lower()}", field
        )


def test_terraform_can_read_it() -> None:
    terraform = shutil.which("terraform")
    if terraform is None:
        pytest.skip("terraform is not installed")
    done = subprocess.run(
        [terraform, "fmt", "-check", "-diff", "ops"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_has_every_metric_and_alert() -> None:
    metrics = {row[0].strip("`"): row[2] for row in table(LOGS, header="metric")}
    assert metrics == {
        f"batchpush_{file.stem}": ", ".join(read(file)["labelExtractors"]) for file in METRICS
    }
    alerts = {row[0].strip("`") for row in table(LOGS, header="alert")}
    assert alerts == {file.stem for file in ALERTS}


def test_the_queries_of_the_page_name_events_that_there_are() -> None:
    for _, query in table(LOGS, header="question"):
        assert "jsonPayload.message" not in query or events_in(query) <= EVENTS


def test_the_page_of_the_deployment_has_the_roles_that_check_asks_for() -> None:
    roles = {role.strip("`"): reason for role, _, reason in table(DEPLOY, header="role")}
    asked = (READER, *ROLES, ACTS, DATABASE_ROLE, *GIVEN_ROLES)
    assert roles.keys() == {role.name for role in asked}
    for role in asked:
        assert roles[role.name].startswith(role.reason)
