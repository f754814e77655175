"""Parses the `source` of a CloudEvent, which records store too.

The service account's token is sent to a host name built from the source. Every part of it is
therefore validated twice: when the event is decoded, and before connecting.
"""

import re
from dataclasses import dataclass

from batchpush.environment import known_instance
from batchpush.errors import MalformedEvent

PROJECT = r"[A-Za-z0-9_.:-]+"
# The Firestore emulator writes `projects/projects/P`.
FIRESTORE = re.compile(
    rf"//firestore\.googleapis\.com/projects/(?:projects/)?{PROJECT}/databases/([^/]+)"
)
DATABASE = re.compile(
    rf"//firebasedatabase\.googleapis\.com/projects/{PROJECT}"
    r"/locations/([a-z]+-[a-z]+[0-9]+)/instances/([a-z0-9-]+)"
)
NAME = re.compile(r"\(default\)|[a-z][a-z0-9-]{0,62}")  # of a Firestore database
CALLABLE = "//firebase.callable/"  # starts the source of a callable request: then function, caller


@dataclass(frozen=True)
class Instance:
    """A Realtime Database instance."""

    name: str
    location: str

    @property
    def host(self) -> str:
        if self.location == "us-central1":
            return f"{self.name}.firebaseio.com"
        return f"{self.name}.{self.location}.firebasedatabase.app"


def check_database(source: str) -> None:
    """Raises `MalformedEvent` unless the source is an instance: the watched one, if that is set."""
    name = instance_of(source).name
    if known_instance() not in (name, None):
        raise MalformedEvent(f"the source is the instance {name}, not the one that is watched")


def instance_of(source: str) -> Instance:
    """The instance that the source names. Raises `MalformedEvent` if it names none.

    It need not be the one watched now: a record may be older than that setting.
    """
    found = DATABASE.fullmatch(source)
    if not found:
        raise MalformedEvent("the source is not an instance of the Realtime Database")
    location, name = found.groups()
    return Instance(name, location)


def check_firestore(source: str) -> None:
    """Raises `MalformedEvent` unless the source is a Firestore database."""
    found = FIRESTORE.fullmatch(source)
    if not found or not NAME.fullmatch(found[1]):
        raise MalformedEvent("the source is not a Firestore database")


def firestore_database_of(source: str) -> str:
    """The database id in a source; the source of a callable request has one too."""
    name = source.rpartition("/databases/")[2]
    if not NAME.fullmatch(name):
        raise MalformedEvent("the source is not a Firestore database")
    return name


def without_caller(source: str) -> str:
    """The same for the requests of all callers; the source of any other event as it is."""
    if not source.startswith(CALLABLE):
        return source
    return CALLABLE + source.rpartition("/databases/")[2]
