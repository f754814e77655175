"""What a version left in Firestore and Cloud Tasks, as a file, and today's project around it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from google.protobuf import json_format

import main
from batchpush.events.triggers import WATCHED
from batchpush.google.protocol.firestore_pb2 import Document
from batchpush.testing import Project

FOLDER = Path(__file__).parent
SETTINGS = "settings.json"
FUNCTIONS = {name: WATCHED[name] for name in vars(main) if name in WATCHED}


@dataclass(frozen=True)
class Left:
    """`documents` are as Firestore's REST API returns them; `tasks` are function, data and time."""

    settings: Mapping[str, str]
    at: datetime
    documents: Sequence[Mapping[str, Any]]
    tasks: Sequence[tuple[str, Mapping[str, Any], datetime | None]] = ()

    @classmethod
    def of(cls, project: Project, settings: Mapping[str, str]) -> "Left":
        documents = project.memory.documents.values()
        tasks = zip(project.queue.tasks, project.queue.times, strict=True)
        return cls(
            settings,
            project.clock.now(),
            [json_format.MessageToDict(each) for each in documents],
            [(function, data, at) for (function, data), at in tasks],
        )

    def write(self, file: Path) -> None:
        file.parent.mkdir(exist_ok=True)
        text = json.dumps(vars(self), indent=1, ensure_ascii=False, default=datetime.isoformat)
        with file.open("x", encoding="utf-8") as opened:  # what a version left never changes
            opened.write(f"{text}\n")

    @classmethod
    def read(cls, file: Path) -> "Left":
        found = json.loads(file.read_text(encoding="utf-8"))
        return cls(
            found["settings"],
            datetime.fromisoformat(found["at"]),
            found["documents"],
            [
                (function, data, at and datetime.fromisoformat(at))
                for function, data, at in found["tasks"]
            ],
        )

    def project(self) -> Project:
        """The project as it was left, with today's code."""
        project = Project(None, self.at, FUNCTIONS, **self.settings)
        for each in self.documents:
            document = json_format.ParseDict(each, Document())
            version = document.update_time.seconds
            project.memory.store(document)
            document.update_time.seconds = version
        project.queue.tasks = [(function, dict(data)) for function, data, _ in self.tasks]
        project.queue.times = [at for _, _, at in self.tasks]
        return project


def plain(value: Any) -> Any:
    """The value of a setting, as JSON can hold it."""
    if isinstance(value, Mapping):
        return dict(value)
    return sorted(value) if isinstance(value, frozenset) else value
