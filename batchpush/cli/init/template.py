"""What `init` writes. The wheel has these files beside this one; in a clone they are its own."""

import json
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from batchpush.cli.version import VERSION

PACKED = Path(__file__).with_name("template")
CODE = ("main.py", "handlers", ".env.example")  # the files and folders beside main.py
SUFFIXES = (".py", ".toml")  # of what is deployed of a folder

REQUIREMENTS = """\
# What the functions install: batchpush by its version, or from a wheel file beside this one.
# pip takes the newest versions that it needs. It accepts hashes only if every package has them:
# to pin all, name the packages in requirements.in, and have this file written by
#   uv pip compile --universal --generate-hashes requirements.in -o requirements.txt
{batchpush}
# What handlers/ imports besides.
babel
regex
"""


def root() -> Path:
    """The folder of the template."""
    return PACKED if PACKED.is_dir() else Path(__file__).parents[3]


def text_of(name: str) -> str:
    return (root() / name).read_text(encoding="utf-8")


def requirements() -> str:
    """The text of requirements.txt, in which batchpush comes from where it came from here."""
    wheel = installed_from()
    return REQUIREMENTS.format(batchpush=f"./{wheel.name}" if wheel else f"batchpush=={VERSION}")


def installed_from() -> Path | None:
    """The wheel file that pip installed, as it notes; None if it was not a file.

    https://packaging.python.org/en/latest/specifications/direct-url/
    """
    try:
        noted = metadata.distribution("batchpush").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None
    url = urlsplit(json.loads(noted)["url"]) if noted else urlsplit("")
    file = Path(unquote(url.path))
    return file if url.scheme == "file" and file.suffix == ".whl" else None


def code() -> Iterator[str]:
    """The names of the files that go beside main.py, apart from requirements.txt."""
    for each in CODE:
        if not (root() / each).is_dir():
            yield each
            continue
        for file in sorted((root() / each).rglob("*")):
            if file.suffix in SUFFIXES:
                yield file.relative_to(root()).as_posix()
