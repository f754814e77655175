"""Firestore's databases, indexes and fields."""

import secrets
from urllib.parse import unquote

from emulators.google_cloud.call import Call, answers, existing
from emulators.google_cloud.project import Cloud, Resource
from emulators.google_errors import Refused


@answers("firestore.v1:projects.databases.get")
def get_database(cloud: Cloud, call: Call) -> Resource:
    name = cloud.own(call.place["name"])
    return existing({each["name"]: each for each in _databases(cloud)}, name)


@answers("firestore.v1:projects.databases.list")
def list_databases(cloud: Cloud, call: Call) -> Resource:
    cloud.own(call.place["parent"])
    return {"databases": _databases(cloud)}


def _databases(cloud: Cloud) -> list[Resource]:
    return [
        {
            "name": f"projects/{cloud.project.id}/databases/{name}",
            "locationId": location,
            "type": "FIRESTORE_NATIVE",
            "databaseEdition": "STANDARD",
        }
        for name, location in cloud.project.firestore.items()
    ]


def _in_database(cloud: Cloud, name: str) -> str:
    """The resource's full name, if its database exists."""
    name = cloud.own(name)
    database = name.split("/")[3]
    if database not in cloud.project.firestore:
        raise Refused(404, f"The database {database} does not exist for project {name}")
    return name


# --- Fields


@answers("firestore.v1:projects.databases.collectionGroups.fields.list")
def list_fields(cloud: Cloud, call: Call) -> Resource:
    parent = _in_database(cloud, call.place["parent"])
    # listFieldOverrides of firestore/api.js; without it, Google asks for one.
    if call.query.get("filter") != "indexConfig.usesAncestorConfig=false OR ttlConfig:*":
        raise Refused(400, "Only fields with a configuration of their own can be listed.")
    beginning = parent.removesuffix("/-") + "/"
    found = [each for name, each in cloud.fields.items() if name.startswith(beginning)]
    return {"fields": found} if found else {}


@answers("firestore.v1:projects.databases.collectionGroups.fields.get")
def get_field(cloud: Cloud, call: Call) -> Resource:
    name = _in_database(cloud, call.place["name"])
    inherited = {"name": name, "indexConfig": {"usesAncestorConfig": True}}
    return cloud.fields.get(name, inherited)


@answers("firestore.v1:projects.databases.collectionGroups.fields.patch")
def patch_field(cloud: Cloud, call: Call) -> Resource:
    """Without a mask, everything is replaced; without an indexConfig, the field inherits again."""
    name = _in_database(cloud, unquote(call.place["name"]))
    call.mask(required=False)
    config = call.body.get("indexConfig")
    for index in (config or {}).get("indexes", []):
        _check_field_index(name, index)
    if config is None and "ttlConfig" not in call.body:
        cloud.fields.pop(name, None)
    else:
        ttl = {"ttlConfig": {"state": "CREATING"}} if "ttlConfig" in call.body else {}
        cloud.fields[name] = {"name": name, "indexConfig": config or {}, **ttl}
    parent = "/".join(name.split("/")[:4])
    return cloud.operation(parent, cloud.fields.get(name), None)


def _check_field_index(name: str, index: Resource) -> None:
    fields = index.get("fields", [])
    path = name.rpartition("/")[2]
    if len(fields) != 1 or fields[0].get("fieldPath") not in (path, "*"):
        raise Refused(400, f"A single-field index of {path} must have that field only.")
    if ("order" in fields[0]) == ("arrayConfig" in fields[0]):
        raise Refused(400, f"An index of {path} needs an order or an array configuration.")


# --- Indexes


@answers("firestore.v1:projects.databases.collectionGroups.indexes.list")
def list_indexes(cloud: Cloud, call: Call) -> Resource:
    beginning = _in_database(cloud, call.place["parent"]).removesuffix("/-") + "/"
    found = [each for name, each in cloud.indexes.items() if name.startswith(beginning)]
    return {"indexes": found} if found else {}


@answers("firestore.v1:projects.databases.collectionGroups.indexes.create")
def create_index(cloud: Cloud, call: Call) -> Resource:
    parent = _in_database(cloud, call.place["parent"])
    if len(call.body.get("fields", [])) < 2:
        raise Refused(
            400, "this index is not necessary, configure using single field index controls"
        )
    name = f"{parent}/indexes/{secrets.token_hex(8)}"
    cloud.indexes[name] = {**call.body, "name": name, "state": "CREATING"}
    return cloud.operation("/".join(parent.split("/")[:4]), cloud.indexes[name], None)


@answers("firestore.v1:projects.databases.collectionGroups.indexes.delete")
def delete_index(cloud: Cloud, call: Call) -> Resource:
    name = _in_database(cloud, call.place["name"])
    existing(cloud.indexes, name)
    del cloud.indexes[name]
    return {}
