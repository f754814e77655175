"""Compares what the deployed functions import with what `requirements.txt` installs."""

import ast
import functools
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from batchpush.cli.check.findings import Finding, error, ok
from batchpush.cli.installation import adding, is_clone, setup

FILE = "requirements.txt"
OURS = ("main", "handlers")
NAME = re.compile(r"\s*(?P<name>[A-Za-z0-9][\w.-]*)")
WHEEL = re.compile(r"\s*(?P<file>\S*?(?P<name>[A-Za-z0-9][\w.]*)-[^\s/]*\.whl)(?=[\s;]|$)")


@dataclass(frozen=True)
class Requirement:
    """An entry of `requirements.txt`, which may be several lines long."""

    name: str
    line: int
    has_hash: bool


def requirements_in(text: str) -> list[Requirement]:
    found, first, entry = [], 0, ""
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        first = first if entry else number
        entry += re.sub(r"(^|\s)#.*", "", line)
        if entry.endswith("\\"):
            entry = entry[:-1]
            continue
        if named := WHEEL.match(entry) or NAME.match(entry):
            found.append(Requirement(named["name"], first, "--hash" in entry))
        entry = ""
    return found


def wheels_in(text: str) -> list[str]:
    """The files that `requirements.txt` names in place of packages, as paths in the folder."""
    found = (WHEEL.match(line) for line in text.splitlines())
    return [os.path.normpath(each["file"]) for each in found if each and "://" not in each["file"]]


def packages(text: str, sources: Mapping[str, str]) -> Iterator[Finding]:
    """`sources` are the deployed Python files by their paths in the folder."""
    required = requirements_in(text)
    names = {each.name for each in required}
    found = [*without_hash(required), *not_there(text), *not_required(sources, names)]
    yield from found
    if not found:
        noun = "package" if len(required) == 1 else "packages"
        yield ok(f"{len(required)} {noun}, all that the functions import", FILE)


def without_hash(required: Collection[Requirement]) -> Iterator[Finding]:
    """If one requirement has a hash, pip requires one for each."""
    if not any(each.has_hash for each in required):
        return
    for each in required:
        if not each.has_hash:
            says = f"{each.name} has no --hash, and pip then refuses all: add it to requirements.in"
            yield error(says, f"{FILE}:{each.line}", adding(each.name))


def not_there(text: str) -> Iterator[Finding]:
    """Wheel files that are not beside `requirements.txt`, from where they are uploaded with it."""
    for file in wheels_in(text):
        if not Path(file).is_file():
            yield error(f"{file} is not there: put it beside {FILE}", FILE)


def not_required(sources: Mapping[str, str], required: Collection[str]) -> Iterator[Finding]:
    """What is missing, each where it is first imported."""
    names = {normalized(name) for name in required}
    told: set[str] = set()
    for file, text in sources.items():
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError):
            continue  # the import of main.py reports the line
        for module, line in imports_in(tree):
            says, fix = _missing(module, sources, names)
            if says and says not in told:
                told.add(says)
                yield error(says, f"{file}:{line}", fix)


def _missing(
    module: str, sources: Collection[str], required: Collection[str]
) -> tuple[str | None, str]:
    """What the import of the module lacks, if anything, and the command that fixes it."""
    if _is_here(module):
        is_uploaded = _is_among(sources, module)
        return None if is_uploaded else f"imports {module}, which would not be uploaded", ""
    top, providers = module.partition(".")[0], distributions_of(module)
    # Of a namespace such as `google`, the first part says too little.
    package = module if len(_providers().get(top, ())) > 1 else top
    if not providers:
        return f"imports {package}, which is not installed: is it in {FILE}?", setup()
    if providers.isdisjoint(required):
        name = min(providers)
        return f"imports {package}, and {FILE} has no {name}", adding(name)
    return None, ""


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imports_in(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The third-party modules that the code imports anywhere, with their lines.

    Skips imports for type checkers only, and optional ones in a `try`.
    """
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{each.name}" for each in node.names]
        elif _is_optional(node):
            continue
        else:
            yield from imports_in(node)
            continue
        for name in names:
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and top not in _ours():
                yield name, node.lineno


def _ours() -> tuple[str, ...]:
    return (*OURS, "batchpush") if is_clone() else OURS


def _is_optional(node: ast.AST) -> bool:
    if isinstance(node, ast.Try):
        caught = " ".join(ast.unparse(each.type) for each in node.handlers if each.type)
        return "ImportError" in caught or "ModuleNotFoundError" in caught
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _is_here(module: str) -> bool:
    """Whether the module is in this folder."""
    top = module.partition(".")[0]
    return Path(f"{top}.py").is_file() or Path(top, "__init__.py").is_file()


def _is_among(sources: Collection[str], module: str) -> bool:
    top = module.partition(".")[0]
    return any(file == f"{top}.py" or file.startswith(f"{top}/") for file in sources)


@functools.cache
def _providers() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


@functools.cache
def distributions_of(module: str) -> frozenset[str]:
    """The installed distributions that provide a module, or a name in one."""
    top, _, rest = module.partition(".")
    providers = sorted(set(_providers().get(top, ())))
    if len(providers) < 2 or not rest:
        return frozenset(map(normalized, providers))
    # A shared namespace such as `google`: choose those with the longest part of the path.
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        beginning = tuple(parts[:length])
        if having := [each for each in providers if beginning in _modules_of(each)]:
            return frozenset(map(normalized, having))
    return frozenset()


@functools.cache
def _modules_of(distribution: str) -> frozenset[tuple[str, ...]]:
    files: Iterable[metadata.PackagePath] = metadata.files(distribution) or ()
    return frozenset(
        file.parent.parts
        if (name := file.name.partition(".")[0]) == "__init__"
        else (*file.parent.parts, name)
        for file in files
        if file.suffix in (".py", ".so", ".pyd")
    )
