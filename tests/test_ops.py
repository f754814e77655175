"""The page of the logs has every event, and the files for gcloud name events that there are."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from batchpush.batch_api.outcome import Outcome
from batchpush.campaigns import state as publication
from batchpush.cli.check.cloud import ACTS, DATABASE_ROLE, GIVEN_ROLES, READER, ROLES
from batchpush.delivery.record import DeliveryState
from tests.tables import table

LOGS = Path("docs/logs.md").read_text(encoding="utf-8")
DEPLOY = Path("docs/deploy.md").read_text(encoding="utf-8")
METRICS = sorted(Path("ops/metrics").glob("*.yaml"))
ALERTS = sorted(Path("ops/alerts").glob("*.json"))
LOG_CALL = re.compile(r'\blog\(\s*[^,()]+(?:\([^()]*\))?[^,()]*,\s*f?"([^"]+)"')
# What a name with a `{...}` in it stands for. Nobody ends what is being sent.
MADE_OF = {
    "push.": [outcome.name for outcome in Outcome],
    "delivery.": [state.name for state in DeliveryState if state is not DeliveryState.CLAIMED],
    "campaign.": [state.name for state in publication.CampaignState if state.name != "CLAIMED"],
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


def test_no_call_of_log_is_overlooked() -> None:
    for file in (*Path("batchpush").rglob("*.py"), *Path("handlers").rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        calls = re.findall(r"(?<!def )\blog\(", text)
        assert len(calls) == len(LOG_CALL.findall(text)), file


def events_in(filter_: str) -> set[str]:
    """The events that a filter names: `m="a.b"` or `m=("a.b" OR "c.d")`."""
    (value,) = re.findall(r'jsonPayload\.message=("[^"]*"|\([^)]*\))', filter_)
    return set(re.findall(r'"([^"]*)"', value))


@pytest.mark.parametrize("file", METRICS, ids=lambda file: file.stem)
def test_a_metric_counts_events_that_there_are(file: Path) -> None:
    metric = yaml.safe_load(file.read_text(encoding="utf-8"))
    descriptor = metric["metricDescriptor"]
    assert events_in(metric["filter"]) <= EVENTS
    assert metric["filter"].startswith('resource.type="cloud_run_revision" AND ')
    labels = {label["key"] for label in descriptor["labels"]}
    assert labels == metric["labelExtractors"].keys()
    for label, extractor in metric["labelExtractors"].items():
        assert extractor == f"EXTRACT(jsonPayload.{label})"
    is_distribution = descriptor["valueType"] == "DISTRIBUTION"
    assert is_distribution == ("valueExtractor" in metric) == ("bucketOptions" in metric)
    assert descriptor["metricKind"] == "DELTA"


@pytest.mark.parametrize("file", ALERTS, ids=lambda file: file.stem)
def test_an_alert_looks_for_events_or_metrics_that_there_are(file: Path) -> None:
    policy: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    (condition,) = policy["conditions"]
    if match := condition.get("conditionMatchedLog"):
        assert events_in(match["filter"]) <= EVENTS
        # Cloud Monitoring wants it for alerts on log lines, and takes it for no others.
        assert policy["alertStrategy"]["notificationRateLimit"]
    else:
        named = re.findall(r"user/batchpush_([a-z]+)", condition["conditionThreshold"]["filter"])
        assert set(named) <= {metric.stem for metric in METRICS}
        assert "alertStrategy" not in policy


def test_the_page_makes_every_metric_and_alert() -> None:
    made = [names.split() for names in re.findall(r"for name in ([a-z ]+); do", LOGS)]
    assert [set(names) for names in made] == [
        {file.stem for file in METRICS},
        {file.stem for file in ALERTS},
    ]
    stated = {row[0].strip("`") for row in table(LOGS, header="metric")}
    assert stated == {f"batchpush_{file.stem}" for file in METRICS}


def test_the_queries_of_the_page_name_events_that_there_are() -> None:
    for _, query in table(LOGS, header="question"):
        assert "jsonPayload.message" not in query or events_in(query) <= EVENTS


def test_the_page_of_the_deployment_has_the_roles_that_check_asks_for() -> None:
    roles = {role.strip("`"): reason for role, _, reason in table(DEPLOY, header="role")}
    asked = (READER, *ROLES, ACTS, DATABASE_ROLE, *GIVEN_ROLES)
    assert roles.keys() == {role.name for role in asked}
    for role in asked:
        assert roles[role.name].startswith(role.reason)
