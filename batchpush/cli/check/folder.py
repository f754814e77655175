"""Checks the files of this folder, without using the network."""

import difflib
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchpush.cli.check.categories import FILE as CATEGORIES
from batchpush.cli.check.categories import categories
from batchpush.cli.check.channel import channels, event_names
from batchpush.cli.check.environment import of_files
from batchpush.cli.check.findings import Finding, error, line_of, ok, warning
from batchpush.cli.check.indexes import FILE as INDEXES
from batchpush.cli.check.indexes import indexes
from batchpush.cli.check.packages import FILE as REQUIREMENTS
from batchpush.cli.check.packages import normalized, packages, requirements_in, wheels_in
from batchpush.cli.check.upload import BY_DEFAULT, ignores, upload, uploaded
from batchpush.cli.discovery import Discovery, watch_of
from batchpush.cli.env_files import Project, Variable, environment_of
from batchpush.cli.firebase_files import Unreadable, codebases, named_file, parse, root
from batchpush.cli.installation import adding, deploy, setup
from batchpush.cli.terminal import masked
from batchpush.environment import (
    DEFAULT_DATABASE,
    VARIABLES,
    Settings,
    is_loopback,
    problems_in,
    with_defaults,
)
from batchpush.pushes.wording import Text, Wording, plural_problems, wording
from batchpush.tracing import ENDPOINT, PACKAGE

PYTHONS = ("python311", "python312", "python313")
IGNORED = ("venv", ".git", "tests", "emulators")  # large and useless to a function


@dataclass(frozen=True)
class Folder:
    """The content of the files shared by all projects; None for missing files.

    `root` is the folder of `firebase.json`.
    """

    firebase_json: str | None
    indexes_json: str | None
    pyvenv: str | None
    texts: Mapping[str, str]
    categories: str | None = None
    handlers: Mapping[str, str] = field(default_factory=dict)
    has_package_json: bool = False
    has_functions_yaml: bool = False
    firebaserc: str | None = None
    requirements: str | None = None
    root: Path = Path()

    @classmethod
    def here(cls) -> "Folder":
        at = root()
        firebase_json = _text(at / "firebase.json")
        return cls(
            firebase_json=firebase_json,
            indexes_json=_text(at / indexes_file(firebase_json)),
            pyvenv=_text("venv/pyvenv.cfg"),
            texts={
                str(file): file.read_text(encoding="utf-8", errors="replace")
                for file in sorted(Path("handlers/texts").glob("*.toml"))
            },
            categories=_text(CATEGORIES),
            handlers={
                str(file): file.read_text(encoding="utf-8", errors="replace")
                for file in sorted(Path("handlers").rglob("*.py"))
            },
            has_package_json=Path("package.json").exists(),
            has_functions_yaml=Path("functions.yaml").exists(),
            firebaserc=_text(at / ".firebaserc"),
            requirements=_text(REQUIREMENTS),
            root=at,
        )

    @property
    def file(self) -> str:
        """`firebase.json`, which is above this folder in a monorepo."""
        return str(self.root / "firebase.json")

    @property
    def codebase(self) -> Mapping[str, Any]:
        """The entry of `firebase.json` for this folder; empty if there is none."""
        try:
            return codebases(parse(self.file, self.firebase_json or ""), self.root, Path())[0]
        except (Unreadable, LookupError):
            return {}

    @property
    def ignore(self) -> Sequence[str]:
        """The patterns of files that a deployment does not upload."""
        ignore = self.codebase.get("ignore")
        return (
            [each for each in ignore if isinstance(each, str)]
            if isinstance(ignore, list)
            else BY_DEFAULT
        )

    def where(self, key: str, value: object = None) -> str:
        """The line of `firebase.json` with the key, and with this value if given."""
        text = self.firebase_json or ""
        wanted = rf'"{key}"\s*:' + (rf"\s*{re.escape(json.dumps(value))}" if value else "")
        found = re.search(wanted, text)
        if not found or "\n" not in text:
            return self.file
        return f"{self.file}:{text.count(chr(10), 0, found.start()) + 1}"


@dataclass(frozen=True)
class Deployment:
    """What would be deployed to one project: the variables of its `.env` files, and functions."""

    project: Project | None
    files: Sequence[str]
    variables: Sequence[Variable]
    discovery: Discovery

    @property
    def environment(self) -> Mapping[str, str]:
        return environment_of(self.variables)

    @property
    def settings(self) -> Settings:
        """The settings, with defaults instead of invalid values."""
        return Settings.from_environment(with_defaults(self.environment))

    def where(self, variable: str) -> str:
        """The line that sets the variable: the last one, if there are several."""
        found = [each.where for each in self.variables if each.name == variable]
        return found[-1] if found else ".env"


def _text(name: str | Path) -> str | None:
    file = Path(name)
    return file.read_bytes().decode("utf-8", errors="replace") if file.is_file() else None


# The settings of one project


def of_deployment(deployment: Deployment) -> Iterator[Finding]:
    """The findings in the order to fix them."""
    yield from env_files(deployment)
    if deployment.files and not any(variable.is_whole_file for variable in deployment.variables):
        yield from of_files(deployment.variables, deployment.settings.batch_apps.values())
        yield from settings(deployment)
        yield from app_keys(deployment)
        yield from channels(deployment.settings, deployment.where("CHANNEL"))
        yield from media_hosts(deployment)
        yield from spans(deployment, _text(REQUIREMENTS) or "")
    yield from functions(deployment)


def env_files(deployment: Deployment) -> Iterator[Finding]:
    own = [file for file in deployment.files if file != ".env"]
    if len(own) > 1:
        yield error(f"{own[0]} and {own[1]} are the same project's: keep one of them")
    for variable in deployment.variables:
        if variable.problem:
            yield error(variable.problem, variable.where, variable.fix)
        elif variable.name == "BATCH_REST_API_KEY":
            says = "the REST key would be readable in every deployed function: put it into a secret"
            yield error(says, variable.where)
        elif variable.name not in VARIABLES and (
            near := difflib.get_close_matches(variable.name, VARIABLES, n=1, cutoff=0.8)
        ):
            yield warning(f"{variable.name} is not a setting; is {near[0]} meant?", variable.where)


def spans(deployment: Deployment, requirements: str) -> Iterator[Finding]:
    """Check that what makes spans is deployed: on this machine, the tests' requirements have it."""
    names = {normalized(each.name) for each in requirements_in(requirements)}
    if deployment.environment.get(ENDPOINT) and PACKAGE not in names:
        says = f"{ENDPOINT} is set, and {REQUIREMENTS} has no {PACKAGE}"
        yield error(says, deployment.where(ENDPOINT), adding(PACKAGE))


def settings(deployment: Deployment) -> Iterator[Finding]:
    problems = problems_in(deployment.environment)
    for variable, problem in problems.items():
        yield error(problem, deployment.where(variable))
    for variable in ("BATCH_API_URL", "SECRET_MANAGER_URL"):
        if is_loopback(getattr(deployment.settings, variable.lower())):
            says = f"{variable}: a deployed function has nothing to call on its own machine"
            yield error(says, deployment.where(variable))
    if not problems:
        yield ok("settings", " + ".join(deployment.files))


def app_keys(deployment: Deployment) -> Iterator[Finding]:
    if "BATCH_APPS" in problems_in(deployment.environment):
        return
    apps, where = deployment.settings.batch_apps, deployment.where("BATCH_APPS")
    examples = [app for app, key in apps.items() if key.startswith("YOUR_")]
    if examples:
        says = f"BATCH_APPS: {', '.join(examples)} still has the example key"
        yield error(says, where)
        return
    kinds = {app: "Dev" if key.startswith("DEV") else "Live" for app, key in apps.items()}
    says = ", ".join(f"{app} {masked(key)} {kinds[app]}" for app, key in apps.items())
    if len(set(kinds.values())) > 1:
        yield warning(f"app keys: {says}: Dev keys reach only apps built with them", where)
    else:
        yield ok(f"app keys: {says}", where)
    if len(set(apps.values())) < len(apps):
        yield warning("BATCH_APPS: two apps have one key: people get a push twice", where)


def media_hosts(deployment: Deployment) -> Iterator[Finding]:
    """Advice for a project with valid settings."""
    if not (problems_in(deployment.environment) or deployment.settings.media_hosts):
        says = "MEDIA_HOSTS is empty: pictures that people write may come from any public host"
        yield warning(says, deployment.where("MEDIA_HOSTS"))


def functions(deployment: Deployment) -> Iterator[Finding]:
    discovery = deployment.discovery
    if discovery.problem:
        yield error(discovery.problem, discovery.where, discovery.fix)
        return
    rows = [
        f"{name:<20} {_called(endpoint)}" for name, endpoint in sorted(discovery.endpoints.items())
    ]
    region = deployment.settings.region
    yield ok("\n".join([f"{len(rows)} functions for {region}", *rows]), "main.py")


def _called(endpoint: Mapping[str, Any]) -> str:
    if watch := watch_of(endpoint):
        return f"{watch.database} {watch.on} {watch.path}"
    if "scheduleTrigger" in endpoint:
        return str(endpoint["scheduleTrigger"].get("schedule"))
    return "called by an app" if "callableTrigger" in endpoint else "queue of Cloud Tasks"


# The files shared by all projects


def without_env(deployments: Iterable[Deployment]) -> Iterator[Finding]:
    """One error, however many settings and projects lack the file."""
    if not all(deployment.files for deployment in deployments):
        says = "there is no .env: copy .env.example, and set BATCH_APPS in it"
        yield error(says, fix="cp .env.example .env")


def of_folder(
    folder: Folder, deployed_with: Sequence[Settings], imported: Collection[str] = ()
) -> Iterator[Finding]:
    """The findings in the order to fix them; `deployed_with` has the settings of each project.

    `imported` are the files that `main.py` imports.
    """
    yield from firebaserc(folder)
    yield from firebase_json(folder)
    yield from files(folder, imported)
    yield from databases(folder, [each.database for each in deployed_with])
    yield from indexes(
        str(folder.root / indexes_file(folder.firebase_json)),
        folder.indexes_json,
        [each.deliveries_collection for each in deployed_with],
    )
    yield from texts(folder, {each.default_language for each in deployed_with})
    languages = [Path(file).stem for file in folder.texts]
    yield from categories(folder.categories, languages, folder.handlers)
    if any(each.cep_apps for each in deployed_with):
        yield from event_names(folder.handlers)


def firebaserc(folder: Folder) -> Iterator[Finding]:
    """With a syntax error in it, the Firebase CLI still deploys, as if it named no project."""
    try:
        parse(str(folder.root / ".firebaserc"), folder.firebaserc or "{}")
    except Unreadable as why:
        yield error(why.says, why.where)


def firebase_json(folder: Folder) -> Iterator[Finding]:
    file = folder.file
    if folder.has_package_json:
        yield error("it makes the Firebase CLI expect Node.js: move it", "package.json")
    if folder.has_functions_yaml:
        says = "it makes the Firebase CLI ignore main.py: move it"
        yield error(says, "functions.yaml")
    if folder.firebase_json is None:
        yield error("is missing", file)
        return
    try:
        ours = codebases(parse(file, folder.firebase_json), folder.root, Path())
    except Unreadable as why:
        yield error(why.says, why.where)
        return
    except LookupError:
        source = os.path.relpath(".", folder.root)
        yield error(f'has no "functions" with the "source" of this folder, "{source}"', file)
        return
    runtime = ours[0].get("runtime")
    yield from _python(folder, str(runtime), folder.where("runtime", runtime))
    for entry in ours:
        if entry.get("prefix") or "kit" in entry:
            says = (
                "prefix: it would rename functions and queues, so that large audiences and quiet"
                " hours would not work: remove it, and deploy to another project instead"
            )
            name = "kit" if "kit" in entry else "prefix"
            yield error(says, folder.where(name, entry[name]))
    if left := _large(folder):
        says = f"ignore: {', '.join(left)} would be uploaded with every deployment"
        yield warning(says, folder.where("ignore"))


def _large(folder: Folder) -> list[str]:
    """Folders that "ignore" should exclude but does not; empty if there is no "ignore"."""
    if not isinstance(folder.codebase.get("ignore"), list):
        return []
    return [each for each in IGNORED if not ignores(folder.ignore, f"/any/{each}")]


def files(folder: Folder, imported: Collection[str]) -> Iterator[Finding]:
    """Check what would be uploaded, and that it can be imported there."""
    if not folder.codebase:
        return
    where = folder.where("ignore")
    wheels = [each for each in wheels_in(folder.requirements or "") if Path(each).is_file()]
    needed = {*imported, *wheels}
    yield from upload(Path(), folder.ignore, where, needed, told=_large(folder))
    if folder.requirements is not None:
        sources = [
            file
            for file in uploaded(Path(), folder.ignore)
            if file.endswith(".py") and file.startswith(("main.py", "handlers/", "batchpush/"))
        ]
        yield from packages(folder.requirements, {file: _text(file) or "" for file in sources})


def databases(folder: Folder, deployed_with: Collection[str]) -> Iterator[Finding]:
    """Check that the indexes are deployed to the database of the records."""
    try:
        having = {
            each.get("database", DEFAULT_DATABASE) for each in _firestore(folder.firebase_json)
        }
    except Unreadable:
        return
    for name in sorted(set(deployed_with) - having):
        says = f"firestore: DATABASE is {name}, and its indexes would go to another: set `database`"
        yield error(says, folder.where("firestore"))


def _firestore(firebase_json: str | None) -> list[dict[str, Any]]:
    """The entries of "firestore"; raises `Unreadable`."""
    config = parse("firebase.json", firebase_json or "{}")
    found = config.get("firestore", {}) if isinstance(config, dict) else []
    entries = found if isinstance(found, list) else [found]
    return [each for each in entries if isinstance(each, dict)]


def indexes_file(firebase_json: str | None) -> str:
    """The file of the indexes, relative to `firebase.json`, which names it."""
    try:
        config = parse("firebase.json", firebase_json or "{}")
        return named_file(config, "firestore", "indexes") or INDEXES
    except Unreadable:
        return INDEXES


def _python(folder: Folder, runtime: str, where: str) -> Iterator[Finding]:
    if runtime not in PYTHONS:
        yield error(f"runtime: expected one of {', '.join(PYTHONS)}", where)
        return
    wanted = f"3.{runtime[-2:]}"
    found = re.search(r"^version\S*\s*=\s*(\d+)\.(\d+)", folder.pyvenv or "", re.MULTILINE)
    fix = setup(f"python{wanted}")
    if not found:
        yield error("the Firebase CLI needs venv/ to read main.py", "venv", fix)
        return
    version, again = f"{found[1]}.{found[2]}", f"rm -r venv && {fix}"
    if version == wanted:
        yield ok(f"runtime {runtime}, as in venv/", where)
    elif f"python{found[1]}{found[2]}" in PYTHONS:
        says = f"runtime is {runtime}, and venv/ has Python {version}"
        works = f"`{deploy()}` works all the same, and `firebase deploy` does not"
        yield warning(f"{says}: {works}", where, again)
    else:
        yield error(f"runtime is {runtime}, and venv/ has Python {version}", where, again)


# Texts


def texts(folder: Folder, default_languages: Collection[str]) -> Iterator[Finding]:
    """Check that each language has every text, with the same values and all its plural forms."""
    read = {file: wording(toml) for file, toml in folder.texts.items()}
    found = [
        error(f"{key} {problem}".strip(), line_of(file, folder.texts[file], f"[{key}]"))
        for file, of_language in read.items()
        for key, problem in of_language.problems.items()
    ]
    found += _compared(folder, read, default_languages)
    yield from found
    if read and not found:
        yield ok(f"{', '.join(Path(file).stem for file in read)}: complete", "handlers/texts")


def _compared(
    folder: Folder, read: Mapping[str, Wording], default_languages: Collection[str]
) -> Iterator[Finding]:
    """Each language beside each default one; what is broken already has a finding."""
    defaults = {file: each for file, each in read.items() if Path(file).stem in default_languages}
    known = {key for each in read.values() for key in (*each.texts, *each.problems)} - {""}
    for file, default in defaults.items():
        if "" in default.problems:
            continue
        for key in sorted(known - default.texts.keys() - default.problems.keys()):
            yield error(f"{key} is missing in the default language", file)
        for other, of_language in read.items():
            if "" in of_language.problems:
                continue
            for key, text in default.texts.items():
                where = line_of(other, folder.texts[other], f"[{key}]")
                if translated := of_language.texts.get(key):
                    yield from _outdated(key, translated, text, where)
                    for problem in plural_problems(translated, text, Path(other).stem):
                        yield warning(f"{key}: {problem}", where)
                elif key not in of_language.problems and other not in defaults:
                    yield warning(f"{key} is missing: the default language is used", other)


def _outdated(key: str, text: Text, default: Text, where: str) -> Iterator[Finding]:
    if unknown := sorted(text.values - default.values):
        says = f"{key}: the default language has no {{{unknown[0]}}}: its text is used"
        yield error(says, where)
    elif lost := sorted(default.values - text.values):
        yield warning(f"{key}: the default language also uses {{{lost[0]}}}", where)
    elif text.plural and text.plural != default.plural:
        yield error(f"{key}: the default language does not count {{{text.plural}}}", where)
