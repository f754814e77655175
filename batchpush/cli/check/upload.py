"""Checks what `firebase deploy` uploads: everything that "ignore" does not exclude."""

import fnmatch
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from batchpush.cli.check.findings import Finding, error, ok, warning
from batchpush.cli.check.globs import matcher

BY_DEFAULT = ("node_modules", ".git")
ALWAYS = ("firebase-debug.log", "firebase-debug.*.log", ".runtimeconfig.json")

NEEDED = (
    *("main.py", "requirements.txt", "batchpush/**/*.py"),
    *("handlers/categories.toml", "handlers/texts/*.toml"),
)
NOT_RUNNING = ("batchpush/cli/*", "batchpush/testing/*")  # for terminals, and for tests
USUAL = (*NEEDED, "handlers/**/*.py")
SECRETS = (
    *(".env*", ".netrc", ".npmrc", ".pypirc", "id_*", "*credential*", "*secret*", "*adminsdk*"),
    *("*service*account*", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore"),
)
PRIVATE_KEY = b"PRIVATE KEY"
SHOWN = 10
TO_KEEP_OUT = "\nmove it elsewhere, or take `ignore` from the firebase.json of batchpush"


def ignores(patterns: Iterable[str], path: str) -> bool:
    """Whether the CLI excludes an absolute path."""
    return any(matcher(pattern)(path) for pattern in (*patterns, *ALWAYS))


def uploaded(folder: Path, patterns: Sequence[str]) -> Iterator[str]:
    """The paths, relative to the folder, of the files that the Firebase CLI uploads."""
    yield from _files(folder.resolve(), "", patterns, frozenset())


def _files(
    folder: Path, prefix: str, patterns: Sequence[str], above: frozenset[str]
) -> Iterator[str]:
    above |= {os.path.realpath(folder)}
    for entry in sorted(os.scandir(folder), key=lambda each: each.name):
        if ignores(patterns, Path(entry.path).as_posix()):
            continue
        if not entry.is_dir():
            yield prefix + entry.name
        elif os.path.realpath(entry.path) not in above:  # otherwise a link to a parent folder
            yield from _files(Path(entry.path), f"{prefix}{entry.name}/", patterns, above)


def upload(
    folder: Path,
    patterns: Sequence[str],
    where: str,
    imported: Collection[str],
    told: Collection[str] = (),
) -> Iterator[Finding]:
    """`imported` are the files that `main.py` imports, and wheels that are installed there; `told`
    are folders already reported.
    """
    going = {file for file in uploaded(folder, patterns) if file.partition("/")[0] not in told}
    found = _found(folder, NEEDED)
    not_running = {file for each in NOT_RUNNING for file in fnmatch.filter(found, each)}
    needed = set(imported) | found - not_running
    for file in sorted(needed - going):
        yield error(f"ignore: {file} is needed, and would not be uploaded: {_let_in(file)}", where)
    others = going - needed - _found(folder, USUAL)
    secrets = {file for file in others if is_secret(folder / file)}
    if secrets:
        says = f"ignore: {_listed(secrets)} would be uploaded with every deployment: a secret?"
        yield error(says + TO_KEEP_OUT, where)
    if others - secrets:
        says = f"ignore: {_listed(others - secrets)} would be uploaded with every deployment"
        yield warning(says + TO_KEEP_OUT, where)
    if needed <= going and not others:
        size = sum((folder / file).stat().st_size for file in going)
        yield ok(f"{len(going)} files would be uploaded, {size / 1000:,.0f} kB", where)


def _found(folder: Path, patterns: Iterable[str]) -> set[str]:
    return {
        file.relative_to(folder).as_posix()
        for pattern in patterns
        for file in folder.glob(pattern)
        if file.is_file()
    }


def _let_in(file: str) -> str:
    path = Path(file)
    if path.parent == Path("."):
        return "move it into handlers/"
    folder = path.parent.as_posix()
    return f"let in **/{folder} and **/{folder}/*{path.suffix}"


def is_secret(file: Path) -> bool:
    """Whether its name suggests a secret, or it contains a private key."""
    is_text_for_all = file.suffix in (".py", ".example", ".md")
    if not is_text_for_all and any(
        fnmatch.fnmatch(file.name.lower(), pattern) for pattern in SECRETS
    ):
        return True
    try:
        with file.open("rb") as opened:
            return PRIVATE_KEY in opened.read(100_000)
    except OSError:
        return False


def _listed(files: Collection[str]) -> str:
    """The names of the files; one name for a folder with many of them."""
    names: dict[str, None] = {}
    for file in sorted(files):
        top, slash, _ = file.partition("/")
        is_one_of_many = slash and sum(each.startswith(top + slash) for each in files) > 3
        names[top + slash if is_one_of_many else file] = None
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(list(names)[:SHOWN]) + more
