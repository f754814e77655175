"""Google's own description of its APIs: which requests there are, and what may stand in them.

`discovery.json` has the methods of `METHODS` with the schemas that they use, and the schemas of
`SCHEMAS`, without the prose, out of Google's public discovery documents. To take newer ones, and
after a change of these:

    pip download --no-deps google-api-python-client
    python -m emulators.google_cloud.discovery google_api_python_client-*.whl
"""

import json
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from emulators.google_errors import Refused

FILE = Path(__file__).with_name("discovery.json")
DOCUMENTS = "googleapiclient/discovery_cache/documents/"

# What the Firebase CLI, `python -m batchpush check` and the functions ask. With the API's version,
# since v1 and v2 of an API have methods of the same id.
METHODS = {
    "artifactregistry.v1": (
        "projects.locations.repositories.get",
        "projects.locations.repositories.patch",
    ),
    "cloudfunctions.v1": ("projects.locations.functions.list",),
    "cloudfunctions.v2": (
        "projects.locations.functions.create",
        "projects.locations.functions.delete",
        "projects.locations.functions.generateUploadUrl",
        "projects.locations.functions.get",
        "projects.locations.functions.list",
        "projects.locations.functions.patch",
        "projects.locations.operations.get",
    ),
    "cloudresourcemanager.v1": (
        "projects.get",
        "projects.getIamPolicy",
        "projects.setIamPolicy",
        "projects.testIamPermissions",
    ),
    "cloudscheduler.v1": (
        "projects.locations.jobs.create",
        "projects.locations.jobs.delete",
        "projects.locations.jobs.get",
        "projects.locations.jobs.patch",
    ),
    "cloudtasks.v2": (
        "projects.locations.queues.create",
        "projects.locations.queues.get",
        "projects.locations.queues.patch",
        "projects.locations.queues.purge",
        "projects.locations.queues.tasks.create",
    ),
    "compute.v1": ("projects.get",),
    "firebase.v1beta1": ("projects.getAdminSdkConfig",),
    "firebasedatabase.v1beta": ("projects.locations.instances.list",),
    "firestore.v1": (
        "projects.databases.collectionGroups.fields.get",
        "projects.databases.collectionGroups.fields.list",
        "projects.databases.collectionGroups.fields.patch",
        "projects.databases.collectionGroups.indexes.create",
        "projects.databases.collectionGroups.indexes.delete",
        "projects.databases.collectionGroups.indexes.list",
        "projects.databases.get",
        "projects.databases.list",
    ),
    "iam.v1": (
        "projects.serviceAccounts.get",
        "projects.serviceAccounts.getIamPolicy",
        "projects.serviceAccounts.testIamPermissions",
    ),
    "iamcredentials.v1": ("projects.serviceAccounts.getAllowedLocations",),
    "run.v1": (
        "projects.locations.services.getIamPolicy",
        "projects.locations.services.setIamPolicy",
    ),
    "run.v2": ("projects.locations.services.getIamPolicy",),
    "runtimeconfig.v1beta1": ("projects.configs.list",),
    "secretmanager.v1": (
        "projects.secrets.get",
        "projects.secrets.getIamPolicy",
        "projects.secrets.versions.access",
        "projects.secrets.versions.get",
    ),
    "serviceusage.v1": ("services.batchGet", "services.enable", "services.get"),
    "serviceusage.v1beta1": ("services.generateServiceIdentity",),
}

# What the files in ops/ hold: schemas without a method, since nothing here answers for them.
SCHEMAS = {
    "logging.v2": ("LogMetric",),
    "monitoring.v1": ("Dashboard",),
    "monitoring.v3": ("AlertPolicy",),
}

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Method:
    """`key` is the API with its version and the method's id: `cloudfunctions.v2:projects...`."""

    key: str
    host: str
    verb: str
    path: re.Pattern[str]
    query: frozenset[str]
    request: str | None
    response: str | None

    @property
    def api(self) -> str:
        return self.key.partition(":")[0]


@cache
def methods() -> tuple[Method, ...]:
    return tuple(
        Method(
            key=key,
            host=each["host"],
            verb=each["verb"],
            path=re.compile(each["path"]),
            query=frozenset(each["query"]),
            request=each["request"],
            response=each["response"],
        )
        for key, each in _read()["methods"].items()
    )


@cache
def schemas(api: str) -> Mapping[str, Schema]:
    read: Mapping[str, Schema] = _read()["schemas"][api]
    return read


@cache
def _read() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return read


def find(host: str, verb: str, path: str) -> tuple[Method, dict[str, str]] | None:
    """The method that a request calls, and what stands in its path."""
    for method in methods():
        if method.host == host and method.verb == verb and (found := method.path.fullmatch(path)):
            return method, found.groupdict()
    return None


# --- Values --------------------------------------------------------------------------------------


def check(api: str, name: str, value: Any, where: str = "") -> None:
    """Refuse what Google's JSON parser refuses: unknown fields, other types, unknown words."""
    _check_object(api, schemas(api)[name], value, where)


def _check(api: str, schema: Schema, value: Any, where: str) -> None:
    if value is None:
        return  # as if the field was not there
    if "$ref" in schema:
        check(api, schema["$ref"], value, where)
        return
    match schema.get("type"):
        case "object":
            _check_object(api, schema, value, where)
        case "array":
            _expect(isinstance(value, list), where, "a list", value)
            for index, each in enumerate(value):
                _check(api, schema["items"], each, f"{where}[{index}]")
        case "boolean":
            _expect(isinstance(value, bool), where, "true or false", value)
        case "integer" | "number":
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            _expect(is_number, where, "a number", value)
        case "string":
            _check_string(schema, value, where)


def _check_object(api: str, schema: Schema, value: Any, where: str) -> None:
    _expect(isinstance(value, dict), where, "an object", value)
    fields = schema.get("properties", {})
    others = schema.get("additionalProperties")
    for name, each in value.items():
        inside = f"{where}.{name}" if where else name
        if name in fields:
            _check(api, fields[name], each, inside)
        elif others is None:
            at = f" at '{where}'" if where else ""
            raise Refused(
                400,
                f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.',
            )
        else:
            _check(api, others, each, inside)


DURATION = re.compile(r"-?\d{1,12}(\.\d{1,9})?s")


def _check_string(schema: Schema, value: Any, where: str) -> None:
    if schema.get("format") in ("int64", "uint64"):  # JavaScript has no such numbers
        _expect(str(value).lstrip("-").isdecimal(), where, "a whole number", value)
        return
    _expect(isinstance(value, str), where, "a string", value)
    if schema.get("format") == "google-duration":
        _expect(bool(DURATION.fullmatch(value)), where, "a duration such as 10s", value)
    if words := schema.get("enum"):
        _expect(value in words, where, f"one of {', '.join(words)}", value)


def _expect(is_so: bool, where: str, what: str, value: Any) -> None:
    if not is_so:
        text = json.dumps(value)[:80]
        raise Refused(400, f"Invalid value at '{where}': {text} is not {what}.")


def check_mask(api: str, name: str, mask: str) -> list[str]:
    """The paths of an `updateMask`; each has to lead to a field."""
    paths = [path for path in mask.split(",") if path]
    for path in paths:
        schema: Schema = schemas(api)[name]
        for part in path.split("."):
            schema = _field(api, schema, _camel(part), path)
    return [".".join(map(_camel, path.split("."))) for path in paths]


def _field(api: str, schema: Schema, part: str, path: str) -> Schema:
    fields = schema.get("properties", {})
    inner: Schema | None = fields.get(part, schema.get("additionalProperties"))
    if inner is None:
        raise Refused(400, f"Invalid field path '{path}' in update_mask.")
    return schemas(api)[inner["$ref"]] if "$ref" in inner else inner


def _camel(part: str) -> str:
    """Masks may have either spelling."""
    first, *others = part.split("_")
    return first + "".join(word.capitalize() for word in others) if "_" in part else part


# --- Making discovery.json -----------------------------------------------------------------------


def make(wheel: Path) -> dict[str, Any]:
    made: dict[str, Any] = {"source": wheel.name, "revisions": {}, "methods": {}, "schemas": {}}
    with zipfile.ZipFile(wheel) as archive:
        for api, ids in METHODS.items():
            document = json.loads(archive.read(f"{DOCUMENTS}{api}.json"))
            named = {each["id"].partition(".")[2]: each for each in _methods_in(document)}
            described = {f"{api}:{id_}": _described(document, named[id_]) for id_ in ids}
            used = {ref for each in described.values() for ref in _refs_of(each) if ref}
            made["revisions"][api] = document["revision"]
            made["methods"] |= described
            made["schemas"][api] = _closed(document["schemas"], used)
        for api, names in SCHEMAS.items():
            document = json.loads(archive.read(f"{DOCUMENTS}{api}.json"))
            made["revisions"][api] = document["revision"]
            made["schemas"][api] = _closed(document["schemas"], set(names))
    return made


def _methods_in(resource: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from resource.get("methods", {}).values()
    for each in resource.get("resources", {}).values():
        yield from _methods_in(each)


def _described(document: Mapping[str, Any], method: Mapping[str, Any]) -> dict[str, Any]:
    parameters = method.get("parameters", {})
    common = document["parameters"]
    in_query = [name for name, each in parameters.items() if each["location"] == "query"]
    return {
        "host": urlsplit(document["rootUrl"]).hostname,
        "verb": method["httpMethod"],
        "path": _pattern("/" + document["servicePath"] + method["path"], parameters),
        "query": sorted([*in_query, *common]),
        "request": method.get("request", {}).get("$ref"),
        "response": method.get("response", {}).get("$ref"),
    }


def _pattern(path: str, parameters: Mapping[str, Any]) -> str:
    """A path such as `/v1/{+name}:purge` as a regular expression with groups."""
    parts = re.split(r"\{\+?(\w+)\}", path)
    return "".join(
        f"(?P<{part}>{_of_parameter(parameters[part])})" if index % 2 else re.escape(part)
        for index, part in enumerate(parts)
    )


def _of_parameter(parameter: Mapping[str, Any]) -> str:
    pattern: str = parameter.get("pattern", "[^/]+").removeprefix("^").removesuffix("$")
    return pattern.replace("[^/]+", "[^/:]+")  # what follows a colon is a custom verb


def _refs_of(described: Mapping[str, Any]) -> tuple[str | None, str | None]:
    return described["request"], described["response"]


def _closed(all_schemas: Mapping[str, Any], used: set[str]) -> dict[str, Any]:
    """The schemas that are used, with those that they use."""
    found: dict[str, Any] = {}
    waiting = sorted(used)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = _without_prose(all_schemas[name])
            waiting += _refs_in(found[name])
    return dict(sorted(found.items()))


KEPT = {"$ref", "additionalProperties", "enum", "format", "items", "properties", "type"}


def _without_prose(schema: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in schema.items() if name in KEPT}
    for name in ("additionalProperties", "items"):
        if name in kept:
            kept[name] = _without_prose(kept[name])
    if "properties" in kept:
        kept["properties"] = {
            name: _without_prose(each) for name, each in kept["properties"].items()
        }
    return kept


def _refs_in(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name == "$ref":
                yield value
            else:
                yield from _refs_in(value)


if __name__ == "__main__":
    FILE.write_text(json.dumps(make(Path(sys.argv[1])), indent=1) + "\n", encoding="utf-8")
