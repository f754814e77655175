"""Where an event comes from: the `source` of its CloudEvent, which the records keep too.

A token of the service account goes to the host that is made of a source, so each part of it is
checked: by the decoder of events, and again by whoever connects.
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
NAME = re.compile(r"\(default\)|[a-z][a-z0-9-]{0,62}")  # of a database of Firestore


@dataclass(frozen=True)
class Instance:
    """An instance of the Realtime Database."""

    name: str
    location: str

    @property
    def host(self) -> str:
        if self.location == "us-central1":
            return f"{self.name}.firebaseio.com"
        return f"{self.name}.{self.location}.firebasedatabase.app"


def check_database(source: str) -> None:
    """Raises `MalformedEvent` for what is not the source of an event of the watched instance."""
    name = instance_of(source).name
    if known_instance() not in (name, None):
        raise MalformedEvent(f"the source is the instance {name}, not the one that is watched")


def instance_of(source: str) -> Instance:
    """The Realtime Database instance of a source; raises `MalformedEvent` for any other source.

    A record may be of another one than is watched now.
    """
    found = DATABASE.fullmatch(source)
    if not found:
        raise MalformedEvent("the source is not an instance of the Realtime Database")
    location, name = found.groups()
    return Instance(name, location)


def check_firestore(source: str) -> None:
    """Raises `MalformedEvent` for what is not the source of an event of Firestore."""
    found = FIRESTORE.fullmatch(source)
    if not found or not NAME.fullmatch(found[1]):
        raise MalformedEvent("the source is not a Firestore database")


def firestore_database_of(source: str) -> str:
    """The name of the Firestore database of a source; a call by an app has one, too."""
    name = source.rpartition("/databases/")[2]
    if not NAME.fullmatch(name):
        raise MalformedEvent("the source is not a Firestore database")
    return name
