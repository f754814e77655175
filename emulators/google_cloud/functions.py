"""Cloud Functions (2nd gen), their archives and container images."""

import hashlib
import io
import re
import secrets
import zipfile
from typing import Any

from emulators.google_cloud.call import Call, answers, changed, existing, patched, text
from emulators.google_cloud.project import Cloud, Resource, Upload
from emulators.google_errors import Refused

FUNCTION = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
RUNTIME = re.compile(r"python31[0-4]")
MEMORY = re.compile(r"\d+(\.\d+)?(Ki|Mi|Gi|k|M|G)?")
LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}")
LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
# https://cloud.google.com/functions/docs/configuring/env-var: set by the platform.
TAKEN = {"K_CONFIGURATION", "K_REVISION", "K_SERVICE", "PORT"}
MAX_ARCHIVE = 100 * 1024 * 1024
MAX_SECONDS = 3600
MAX_EVENT_SECONDS = 540

# The filters of each kind of event, and those that may have a pattern
# (https://cloud.google.com/eventarc/docs/event-types).
EVENTS = {
    "google.cloud.firestore.document.v1.": ({"database", "namespace", "document"}, "document"),
    "google.firebase.database.ref.v1.": ({"instance", "ref"}, "ref"),
}
WRITES = {"created", "updated", "deleted", "written"}


@answers("cloudfunctions.v1:projects.locations.functions.list")
def list_first_generation(cloud: Cloud, call: Call) -> Resource:
    cloud.own(call.place["parent"])
    return {}


@answers("cloudfunctions.v2:projects.locations.functions.list")
def list_functions(cloud: Cloud, call: Call) -> Resource:
    beginning = cloud.own(call.place["parent"]).removesuffix("/-") + "/"
    if call.query.get("filter", 'environment="GEN_2"') != 'environment="GEN_2"':
        raise Refused(400, "This emulator lists the functions of the 2nd generation only.")
    return {"functions": [f for name, f in cloud.functions.items() if name.startswith(beginning)]}


@answers("cloudfunctions.v2:projects.locations.functions.get")
def get_function(cloud: Cloud, call: Call) -> Resource:
    return existing(cloud.functions, cloud.own(call.place["name"]))


@answers("cloudfunctions.v2:projects.locations.operations.get")
def get_operation(cloud: Cloud, call: Call) -> Resource:
    name = cloud.own(call.place["name"])
    if name not in cloud.operations:
        raise Refused(404, f"Operation {name} was not found")
    return cloud.operations[name].as_json()


# --- Archives


@answers("cloudfunctions.v2:projects.locations.functions.generateUploadUrl")
def generate_upload_url(cloud: Cloud, call: Call) -> Resource:
    """An address that is signed, so that whoever has it may upload without a credential."""
    region = cloud.location(call.place["parent"])
    bucket = f"gcf-v2-uploads-{cloud.project.number}.{region}.cloudfunctions.appspot.com"
    object_ = f"{secrets.token_hex(16)}.zip"
    upload = Upload(f"{bucket}/{object_}", secrets.token_urlsafe(32))
    cloud.uploads[upload.name] = upload
    agent = f"service-{cloud.project.number}@gcf-admin-robot.iam.gserviceaccount.com"
    signed = f"GoogleAccessId={agent}&Expires=1900000000&Signature={upload.signature}"
    return {
        "uploadUrl": f"https://storage.googleapis.com/{upload.name}?{signed}",
        "storageSource": {"bucket": bucket, "object": object_},
    }


def receive(cloud: Cloud, name: str, signature: str, kind: str, data: bytes) -> None:
    """What is put at such an address (`upload` of gcp/storage.js)."""
    upload = cloud.uploads.get(name)
    if upload is None or not secrets.compare_digest(upload.signature, signature):
        raise Refused(403, "The request signature we calculated does not match.")
    if kind != "application/zip":  # it is part of what was signed
        raise Refused(403, f"The content type {kind} is not the one that was signed.")
    if len(data) > MAX_ARCHIVE:
        raise Refused(400, f"The archive is over {MAX_ARCHIVE} bytes.")
    upload.data = data


def _archive(cloud: Cloud, source: Resource) -> bytes:
    place = source.get("storageSource") or {}
    name = f"{place.get('bucket')}/{place.get('object')}"
    upload = cloud.uploads.get(name)
    if upload is None or upload.data is None:
        raise Refused(400, f"Could not find the source code gs://{name}.")
    return upload.data


def _build(data: bytes) -> str | None:
    """Why the build of a Python function fails, as far as the archive tells."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return "Build failed: the source code is not a zip file"
    missing = [name for name in ("main.py", "requirements.txt") if name not in names]
    return f"Build failed: missing {' and '.join(missing)}" if missing else None


# --- Functions


@answers("cloudfunctions.v2:projects.locations.functions.create")
def create_function(cloud: Cloud, call: Call) -> Resource:
    parent = cloud.own(call.place["parent"])
    cloud.check_permitted("cloudfunctions.functions.create")
    id_ = call.query.get("functionId", "")
    if not FUNCTION.fullmatch(id_):
        raise Refused(400, f"The function id '{id_}' is invalid.")
    name = f"{parent}/functions/{id_}"
    if cloud.own(text(call.body.get("name"))) != name:
        raise Refused(400, f"The name {call.body.get('name')} is not {name}.")
    if name in cloud.functions:
        raise Refused(409, f"Could not create Cloud Run service, {name} already exists.")
    return _deploy(cloud, name, call.body)


@answers("cloudfunctions.v2:projects.locations.functions.patch")
def patch_function(cloud: Cloud, call: Call) -> Resource:
    name = cloud.own(call.place["name"])
    have = existing(cloud.functions, name)
    now = changed(have, call.body, call.mask())
    if _trigger(have) != _trigger(now):
        raise Refused(400, f"Changing the trigger of {name} is not supported.")
    return _deploy(cloud, name, now)


def _trigger(function: Resource) -> Any:
    trigger = function.get("eventTrigger") or {}
    return trigger.get("eventType"), trigger.get("triggerRegion")


@answers("cloudfunctions.v2:projects.locations.functions.delete")
def delete_function(cloud: Cloud, call: Call) -> Resource:
    name = cloud.own(call.place["name"])
    function = existing(cloud.functions, name)
    del cloud.functions[name]
    del cloud.services[function["serviceConfig"]["service"]]
    return cloud.operation(name.rpartition("/functions/")[0], {}, None)


def _deploy(cloud: Cloud, name: str, described: Resource) -> Resource:
    build, service = described.get("buildConfig") or {}, described.get("serviceConfig") or {}
    trigger = described.get("eventTrigger")
    _check_labels(described.get("labels") or {})
    _check_build(build)
    data = _archive(cloud, build.get("source") or {})
    _check_service(cloud, service, is_event=trigger is not None)
    region = cloud.location(name)
    if trigger is not None:
        _check_event(cloud, trigger, region)
    parent = name.rpartition("/functions/")[0]
    if problem := _build(data):
        return cloud.operation(parent, None, {"code": 3, "message": problem})
    cloud.functions[name] = _deployed(cloud, name, described)
    run = cloud.functions[name]["serviceConfig"]["service"]
    cloud.services.setdefault(run, {"name": run})
    # The first function of a region makes the registry of its container images.
    images = f"{parent}/repositories/gcf-artifacts"
    cloud.repositories.setdefault(images, {"name": images, "format": "DOCKER"})
    return cloud.operation(parent, cloud.functions[name], None)


def _deployed(cloud: Cloud, name: str, described: Resource) -> Resource:
    _, _, _, region, _, id_ = name.split("/")
    # Cloud Run's names have no underscores and no capitals.
    service = id_.lower().replace("_", "-")
    mark = hashlib.sha256(f"{cloud.project.id}/{region}".encode()).hexdigest()[:10]
    return {
        **described,
        "name": name,
        "environment": "GEN_2",
        "state": "ACTIVE",
        "url": f"https://{region}-{cloud.project.id}.cloudfunctions.net/{id_}",
        "serviceConfig": {
            "serviceAccountEmail": cloud.project.default_account,
            **(described.get("serviceConfig") or {}),
            "service": f"projects/{cloud.project.id}/locations/{region}/services/{service}",
            "uri": f"https://{service}-{mark}-uc.a.run.app",
        },
    }


def _check_labels(labels: Resource) -> None:
    for key, value in labels.items():
        if not LABEL.fullmatch(key) or not LABEL_VALUE.fullmatch(value):
            raise Refused(400, f"The label {key}: {value} is invalid.")


def _check_build(build: Resource) -> None:
    if not RUNTIME.fullmatch(text(build.get("runtime"))):
        raise Refused(400, f"The runtime {build.get('runtime')} is not supported here.")
    if not text(build.get("entryPoint")).isidentifier():
        raise Refused(400, f"The entry point {build.get('entryPoint')} is invalid.")


def _check_service(cloud: Cloud, service: Resource, is_event: bool) -> None:
    longest = MAX_EVENT_SECONDS if is_event else MAX_SECONDS
    if not 1 <= service.get("timeoutSeconds", 60) <= longest:
        raise Refused(400, f"The timeout must be 1 to {longest} seconds.")
    if not MEMORY.fullmatch(service.get("availableMemory", "256Mi")):
        raise Refused(400, f"The memory {service.get('availableMemory')} is invalid.")
    concurrency = service.get("maxInstanceRequestConcurrency", 1)
    if not 1 <= concurrency <= 1000:
        raise Refused(400, "The concurrency must be 1 to 1000.")
    if concurrency > 1 and float(service.get("availableCpu") or 0.1666) < 1:
        raise Refused(400, "Total cpu < 1 is not supported with concurrency > 1.")
    if taken := TAKEN & set(service.get("environmentVariables") or {}):
        raise Refused(400, f"The environment variables {sorted(taken)} are reserved.")
    if email := service.get("serviceAccountEmail"):
        cloud.check_account(email)


def _check_event(cloud: Cloud, trigger: Resource, region: str) -> None:
    kind = text(trigger.get("eventType"))
    prefix = next((each for each in EVENTS if kind.startswith(each)), None)
    if prefix is None or kind.removeprefix(prefix) not in WRITES:
        raise Refused(400, f"The event type {kind} is not supported.")
    names, patterned = EVENTS[prefix]
    filters = {each["attribute"]: each for each in trigger.get("eventFilters", [])}
    if filters.keys() != names:
        raise Refused(400, f"{kind} needs the filters {sorted(names)}, not {sorted(filters)}.")
    for name, each in filters.items():
        _check_filter(name, each, name == patterned)
    where = _location_of(cloud, filters, region)
    if trigger.get("triggerRegion") != where:
        raise Refused(400, f"The trigger is in {trigger.get('triggerRegion')}, not in {where}.")
    cloud.check_account(trigger.get("serviceAccountEmail") or cloud.project.default_account)


def _check_filter(name: str, each: Resource, may_have_pattern: bool) -> None:
    operator = each.get("operator", "")
    if operator and (operator != "match-path-pattern" or not may_have_pattern):
        raise Refused(400, f"The operator {operator} is not supported for {name}.")
    if not each.get("value"):
        raise Refused(400, f"The filter {name} has no value.")
    if "{" in each["value"] and not operator:
        raise Refused(400, f"The filter {name} has a pattern, and no operator for it.")


def _location_of(cloud: Cloud, filters: dict[str, Resource], region: str) -> str:
    """Where the database is, which the trigger has to be in too."""
    if "database" in filters:
        database = filters["database"]["value"]
        if database not in cloud.project.firestore:
            raise Refused(400, f"The database {database} does not exist.")
        return cloud.project.firestore[database]
    instance = filters["instance"]["value"]
    if "*" not in instance:
        if instance not in cloud.project.realtime:
            raise Refused(400, f"The database instance {instance} does not exist.")
        if cloud.project.realtime[instance] != region:
            raise Refused(400, f"The database instance {instance} is not in {region}.")
    return region


# --- Artifact Registry


@answers("artifactregistry.v1:projects.locations.repositories.get")
def get_repository(cloud: Cloud, call: Call) -> Resource:
    return existing(cloud.repositories, cloud.own(call.place["name"]))


@answers("artifactregistry.v1:projects.locations.repositories.patch")
def patch_repository(cloud: Cloud, call: Call) -> Resource:
    name = cloud.own(call.place["name"])
    cloud.repositories[name] = patched(cloud.repositories, name, call)
    return cloud.repositories[name]
