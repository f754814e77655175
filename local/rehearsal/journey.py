"""What the deployed functions do, started from the archive as Cloud Run starts them."""

import json
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from google.cloud.firestore import Client

from batchpush.cli import firebase_files
from emulators import batch
from emulators.batch import Batch
from emulators.google_cloud import GoogleCloud
from local.rehearsal import documents
from local.rehearsal.deployments import NEW_TEXT, invokers_are_allowed
from local.rehearsal.instances import (
    DidNotServe,
    Instance,
    Instances,
    build,
    firestore_emulator,
    memory_of,
)
from local.rehearsal.rehearsal import (
    ACCOUNT,
    NEW_REST_KEY,
    PROJECT,
    REGION,
    REST_KEY,
    ROOT,
    SETTINGS,
    Failed,
    Rehearsal,
    refused,
)
from local.suite import firebase_config
from local.tools import CannotStart, find_python

LOCATION = f"projects/{PROJECT}/locations/{REGION}"
SECONDS = 120.0
SPEED = 100.0  # of pauses between redeliveries, which are ten seconds and more
KILL_SECONDS = 10.0  # Cloud Run's, between SIGTERM and SIGKILL
AWAY = 46  # seconds; a function waits for Batch at most 45
AN_HOUR = timedelta(hours=1)


@dataclass
class Journey:
    """The functions of a deployment, and what is around them."""

    run: Rehearsal
    instances: Instances
    batch: Batch
    firestore: Client
    running: dict[str, Instance]

    @property
    def cloud(self) -> GoogleCloud:
        return self.run.cloud

    def start(self, name: str) -> Instance:
        function = f"{LOCATION}/functions/{name}"
        instance = self.instances.start(self.cloud.state()["functions"][function])
        self.cloud.place(function, instance.url)
        self.running[name] = instance
        return instance

    def quiet(self) -> None:
        """Wait until nothing is on its way to a function.

        Firestore may not have told of the last write yet: wait for what it leads to before.
        """
        self.until("end of deliveries", lambda: not self.waiting())

    def calls_with(self, group_id: str, count: int) -> int:
        """How many calls Batch accepted once `count` of them are there and nothing is under way."""
        with suppress(DidNotServe):
            self.until("push", lambda: accepted(self.batch, group_id) >= count)
        self.quiet()
        return accepted(self.batch, group_id)

    def waiting(self) -> list[dict[str, Any]]:
        return [each for each in self.cloud.deliveries() if each["state"] == "WAITING"]

    def until(self, what: str, is_so: Callable[[], Any]) -> None:
        deadline = time.monotonic() + SECONDS
        while not is_so():
            if time.monotonic() > deadline:
                raise DidNotServe("\n".join([f"no {what} within {SECONDS:g} s", *self.trouble()]))
            time.sleep(0.05)

    def trouble(self) -> Iterator[str]:
        for each in self.waiting():
            name = each["function"].rpartition("/")[2]
            yield f"{each['kind']} {each['id']} of {name}: {each['statuses'][-5:]}"
            if name in self.running:
                yield self.running[name].part.tail(5)

    def statuses(self, name: str) -> list[list[int]]:
        """What the function answered to each delivery."""
        return [
            each["statuses"]
            for each in self.cloud.deliveries()
            if each["function"].endswith(f"/{name}")
        ]

    def write(self, path: str, fields: Mapping[str, Any]) -> None:
        self.firestore.document(path).set(dict(fields), merge=True)

    def states(self) -> dict[str, int]:
        """How many records are in each state."""
        found: dict[str, int] = {}
        for each in self.firestore.collection("batch_deliveries").stream():
            state = each.get("state")
            found[state] = found.get(state, 0) + 1
        return found


def served(run: Rehearsal) -> Iterator[str]:
    """The whole journey, as the first deployment left it."""
    apps = dict(each.split("=") for each in SETTINGS["BATCH_APPS"].split(","))
    with (
        batch.running(apps, [REST_KEY]) as local_batch,
        firestore_emulator(run.directory, run.cloud) as firestore,
        built(run, local_batch, firestore) as journey,
    ):
        run.cloud.set_pace(speed=SPEED)
        try:
            for step in STEPS:
                yield step(journey)
        except DidNotServe as why:
            raise Failed("\n".join([str(why), *refused(run.cloud)])) from None
    run.problems += refused(run.cloud)


def served_after_changes(run: Rehearsal) -> str:
    """A function of the changed deployment, with the key that the secret's new name leads to."""
    apps = dict(each.split("=") for each in SETTINGS["BATCH_APPS"].split(","))
    with (
        batch.running(apps, [NEW_REST_KEY]) as local_batch,
        firestore_emulator(run.directory, run.cloud) as firestore,
        built(run, local_batch, firestore) as journey,
    ):
        for path, fields in documents.before().items():
            journey.write(path, fields)
        journey.start("notify").wait()
        status, answer = app_calls(journey, "bob", {"to": "ann", "template": "poke"})
        run.expect(status == 200, f"notify answers {status}: {answer}")
        said = [each["body"]["message"]["body"] for each in local_batch.calls() if each["accepted"]]
        run.expect(len(said) == 2 and all(NEW_TEXT in each for each in said), f"pushes say {said}")
    return "A function of it says the new text, with the key of the renamed secret."


@contextmanager
def built(run: Rehearsal, local_batch: Batch, firestore: Client) -> Iterator[Journey]:
    function = next(iter(run.cloud.state()["functions"].values()))
    with run.cloud.archive(function) as zipped:
        place = build(zipped, run.directory, python_of(function), run.pip)
    run.cloud.clear()
    with Instances(run.directory, place, run.cloud, local_batch, firestore) as instances:
        yield Journey(run, instances, local_batch, Client(PROJECT), {})


def python_of(function: Mapping[str, Any]) -> str:
    """Of the runtime that firebase.json names; where it is not installed, the one of `venv/`.

    The CLI needs the latter to read main.py, so it is what the rehearsal deploys.
    """
    try:
        return find_python(firebase_files.codebases(firebase_config(), ROOT)[0]["runtime"])
    except CannotStart:
        return find_python(function["buildConfig"]["runtime"])


# --- The steps -----------------------------------------------------------------------------------


def started(journey: Journey) -> str:
    """Every function; the first one alone, to see how long it takes."""
    functions = [name.rpartition("/")[2] for name in journey.cloud.state()["functions"]]
    first, *others = functions
    began = time.monotonic()
    journey.start(first).wait()
    cold = time.monotonic() - began
    for name in others:
        journey.start(name)
    for instance in journey.running.values():
        instance.wait()
    place = journey.instances.place
    return (
        f"Built from the archive in {place.seconds:.0f} s, with Python {place.python}; started all "
        f"{len(functions)} functions, the first within {cold:.1f} s."
    )


def nobody_may_call(journey: Journey) -> str:
    """Without the invoker's role, events wait outside; with it, none of them is lost."""
    run = journey.run
    journey.write("pushes/early", push_to("early", "ann"))
    journey.until("refused event", lambda: [403] in [s[:1] for s in journey.statuses("outbox")])
    run.expect(not journey.batch.calls(), "a push, and nobody may call its function")
    allowed = invokers_are_allowed(run)
    run.expect(journey.calls_with("early", 2) == 2, "the event that was refused is lost")
    return f"Events are refused (403) without the role, and redelivered. {allowed}"


def documents_of_each_kind(journey: Journey) -> str:
    """In both databases; every event twice at once, in any order."""
    run, cloud = journey.run, journey.cloud
    for path, fields in documents.before().items():
        journey.write(path, fields)
    in_database = [*documents.in_database()]
    for path, value, _ in in_database:
        if value is not None:
            cloud.write(path, value)
    journey.quiet()
    journey.batch.clear()
    cloud.set_pace(copies=2, spread=0.3, speed=SPEED)
    for event in documents.WRITES:
        journey.write(event.path, event.fields)
    for path, _, value in in_database:
        if value is not None:
            cloud.write(path, value)
    want = documents.pushes()
    with suppress(DidNotServe):
        journey.until("pushes", lambda: not want - documents.pushed(journey.batch.calls()))
    journey.quiet()
    have = documents.pushed(journey.batch.calls())
    for each in sorted((want - have).keys() | (have - want).keys()):
        run.problems.append(f"{' '.join(each)}: {have[each]} pushes instead of {want[each]}")
    again = sum(len(each["statuses"]) for each in cloud.deliveries()) // 2
    cloud.set_pace(speed=SPEED)
    return (
        f"Wrote {len(documents.WRITES)} documents to Firestore, {len(documents.EVENTS)} to the "
        f"Realtime Database: {again} events, each brought twice and in any order, became "
        f"{have.total()} pushes, each once."
    )


def campaigns(journey: Journey) -> str:
    """Of an editor and of an article, in each app."""
    found = [each["body"]["name"] for each in journey.batch.campaigns()]
    names = sorted(set(found))
    journey.run.expect(
        (len(found), len(names)) == (4, 2), f"Batch has the campaigns {', '.join(found)}"
    )
    return f"Campaigns at Batch, in each app: {', '.join(names)}."


def tasks(journey: Journey) -> str:
    """A large audience, and a message that waits for others."""
    run = journey.run
    everybody = [f"user-{number}" for number in range(documents.LARGE)]
    journey.batch.clear()
    journey.write("pushes/many", push_to("many", *everybody))
    for number, (path, fields) in enumerate(documents.BURST, 1):
        journey.write(path, fields)
        told = journey.calls_with("new_message", 2 * number)
    have = documents.pushed(journey.batch.calls())
    run.expect(
        sum(have[app, "many", person] for app in documents.APPS for person in everybody)
        == 2 * documents.LARGE,
        f"a large audience got {have.total()} pushes",
    )
    begun = [each for each in journey.cloud.deliveries() if each["kind"] == "task"]
    by = {name: len(journey.statuses(name)) for name in ("sendchunk", "sendlater")}
    run.expect(all(by.values()), f"tasks: {by}")
    run.expect(told == 4, f"two messages of a conversation are {told} calls")
    return (
        f"{len(begun)} tasks were brought by Cloud Tasks: {by['sendchunk']} of an audience of "
        f"{documents.LARGE:,}, {by['sendlater']} of a message that waited for others."
    )


def batch_is_away(journey: Journey) -> str:
    """For longer than a function waits, so that the event is redelivered."""
    journey.batch.clear()
    journey.cloud.clear()
    journey.batch.fault(status=503, headers={"Retry-After": str(AWAY)}, times=2)
    journey.write("pushes/outage", push_to("outage", "ann"))
    journey.until("refused event", lambda: [503] in [s[:1] for s in journey.statuses("outbox")])
    return f"Batch is away, for {AWAY} seconds."


def schedules(journey: Journey) -> str:
    jobs = journey.cloud.state()["jobs"]
    for name in jobs:
        journey.cloud.run_job(name)
    reminded = journey.calls_with("abandoned_cart", 2)
    ran = [each for each in journey.cloud.deliveries() if each["kind"] == "schedule"]
    failed = [each["id"] for each in ran if each["state"] != "TAKEN"]
    journey.run.expect(not failed, f"schedules that failed: {failed}")
    journey.run.expect(reminded == 2, f"a cart that was left became {reminded} calls")
    return f"{len(jobs)} schedules ran; a cart that was left became a push."


def callers(journey: Journey) -> str:
    """Who may call what: an app's user only the callable function, a stranger nothing."""
    cloud, run = journey.cloud, journey.run
    url = cloud.state()["functions"][f"{LOCATION}/functions/sendchunk"]["url"]
    stranger = ACCOUNT.replace("batchpush@", "stranger@", 1)
    for who, token, status in (
        ("nobody", "", 403),
        ("a stranger", cloud.id_token(stranger, url), 403),
        ("a token for another function", cloud.id_token(ACCOUNT, f"{url}-other"), 401),
        ("a user of the app", cloud.sign_in("ann"), 401),
    ):
        found, _ = cloud.call(url, b'{"data": {}}', token)
        run.expect(found == status, f"sendchunk answers {found} to {who}, not {status}")
    status, said = app_calls(journey, "", {"to": "bob", "template": "poke"})
    run.expect(status == 401 and "UNAUTHENTICATED" in said, f"notify answers {status}: {said}")
    status, said = app_calls(journey, "ann", {"to": "bob", "template": "poke"})
    run.expect(status == 200, f"notify answers {status} to Ann: {said}")
    run.expect(accepted(journey.batch, "poke") == 2, "Ann's request is not a push")
    return "A user of the app called notify. Nobody else gets in: 403, and 401 for a wrong token."


def redelivered(journey: Journey) -> str:
    came = journey.calls_with("outage", 2)
    (statuses,) = journey.statuses("outbox")
    journey.run.expect(came == 2, f"after an outage, {came} calls")
    return f"After that, outbox had answered {statuses}: the push came with the last one."


def terminated(journey: Journey) -> str:
    """Cloud Run ends an instance with events under way, and starts another."""
    instance, run = journey.running["outbox"], journey.run
    journey.batch.clear()
    journey.batch.fault(delay=2.0, times=10)
    journey.cloud.clear()
    names = [f"ended-{number}" for number in range(5)]
    for name in names:
        journey.write(f"pushes/{name}", push_to(name, "ann"))
    journey.until("call", lambda: len(journey.batch.calls()) >= 10)
    function = f"{LOCATION}/functions/outbox"
    journey.cloud.remove(function)
    instance.part.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    with suppress(subprocess.TimeoutExpired):
        instance.part.process.wait(KILL_SECONDS)
    ended = time.monotonic() - began
    was_killed = not instance.part.has_exited
    instance.kill()
    journey.start("outbox").wait()
    counts = {name: journey.calls_with(name, 2) for name in names}
    for name, count in counts.items():
        run.expect(2 <= count <= 4, f"{name}: {count} accepted calls")
    doubled = sum(counts.values()) - 2 * len(names)
    how = "was killed" if was_killed else f"ended {ended:.1f} s later"
    statuses = [each[0] for each in journey.statuses("outbox")]
    return (
        f"SIGTERM with {len(names)} events under way: the instance {how}, the events were answered "
        f"with {statuses}, {doubled} calls were sent again, none is lost."
    )


def frozen(journey: Journey) -> str:
    """Between requests an instance has no CPU, and an hour may pass."""
    run, instance = journey.run, journey.running["outbox"]
    instance.signal(signal.SIGSTOP)
    clock = journey.instances.clock
    clock.advance(AN_HOUR)
    journey.batch.clear()
    later = datetime.now(UTC) + 2 * AN_HOUR
    journey.write("pushes/resumed", push_to("resumed", "ann") | {"best_before": later})
    time.sleep(1.5)  # in which no function runs, and after which libfaketime looks again
    instance.signal(signal.SIGCONT)
    count = journey.calls_with("resumed", 2)
    run.expect(count == 2, f"after it was frozen, an instance makes {count} calls")
    when = "an hour later" if clock.library else "(the clock did not move: no libfaketime here)"
    return f"Frozen with SIGSTOP and resumed {when}, an instance sends what comes then."


def memory(journey: Journey) -> str:
    used = {name: memory_of(each.part.process.pid) for name, each in journey.running.items()}
    most = max(used, key=lambda name: used[name])
    journey.run.expect(used[most] < 512, f"{most} used {used[most]} MiB of 512")
    return f"The most memory that a function used was {used[most]} MiB of 512 ({most})."


def settled(journey: Journey) -> str:
    found = journey.states()
    journey.run.expect(set(found) == {"SENT"}, f"records: {found}")
    return f"Records: {', '.join(f'{count} {state}' for state, count in found.items())}."


STEPS: tuple[Callable[[Journey], str], ...] = (
    started,
    nobody_may_call,
    documents_of_each_kind,
    campaigns,
    tasks,
    batch_is_away,
    schedules,
    callers,
    redelivered,
    terminated,
    frozen,
    memory,
    settled,
)


def push_to(group_id: str, *people: str) -> dict[str, Any]:
    return {
        "group_id": group_id,
        "recipients": {"custom_ids": [*people]},
        "message": {"title": "Hello", "body": "From the archive"},
    }


def accepted(local_batch: Batch, group_id: str) -> int:
    return sum(
        each["accepted"] and (each["body"] or {}).get("group_id") == group_id
        for each in local_batch.calls()
    )


def app_calls(journey: Journey, user: str, data: Mapping[str, Any]) -> tuple[int, str]:
    """`notify`, as Firebase's SDK calls it for the user who is signed in, or for nobody."""
    url = journey.cloud.state()["functions"][f"{LOCATION}/functions/notify"]["url"]
    token = journey.cloud.sign_in(user) if user else ""
    body = {"data": {**data, "request_id": uuid.uuid4().hex}}
    return journey.cloud.call(url, json.dumps(body).encode(), token)
