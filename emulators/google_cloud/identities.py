"""Projects, APIs, accounts, roles and secrets."""

import base64
import re

import google_crc32c

from emulators.google_cloud.call import Call, answers, existing
from emulators.google_cloud.project import Cloud, Resource, policy_of
from emulators.google_errors import Refused

PERMISSION = re.compile(r"[a-z]\w*(\.\w+){2,}")


@answers("cloudresourcemanager.v1:projects.get")
def get_project(cloud: Cloud, call: Call) -> Resource:
    cloud.own(f"projects/{call.place['projectId']}")
    project = cloud.project
    return {"projectId": project.id, "projectNumber": project.number, "lifecycleState": "ACTIVE"}


@answers("compute.v1:projects.get")
def get_compute(cloud: Cloud, call: Call) -> Resource:
    cloud.own(f"projects/{call.place['project']}")
    return {"name": cloud.project.id, "defaultServiceAccount": cloud.project.default_account}


@answers("firebase.v1beta1:projects.getAdminSdkConfig")
def get_config(cloud: Cloud, call: Call) -> Resource:
    cloud.own(call.place["name"])
    project = cloud.project
    config = {"projectId": project.id, "storageBucket": f"{project.id}.firebasestorage.app"}
    default = f"{project.id}-default-rtdb"
    if default in project.realtime:
        config["databaseURL"] = f"https://{default}.firebaseio.com"
    return config


@answers("runtimeconfig.v1beta1:projects.configs.list")
def list_configs(cloud: Cloud, call: Call) -> Resource:
    """What the CLI reads for functions of the first generation, in every deployment."""
    cloud.own(call.place["parent"])
    return {}


@answers("firebasedatabase.v1beta:projects.locations.instances.list")
def list_instances(cloud: Cloud, call: Call) -> Resource:
    cloud.own(call.place["parent"])
    return {
        "instances": [
            {
                "name": f"projects/{cloud.project.number}/locations/{region}/instances/{name}",
                "project": f"projects/{cloud.project.number}",
                "type": "DEFAULT_DATABASE",
                "state": "ACTIVE",
            }
            for name, region in cloud.project.realtime.items()
        ]
    }


# --- APIs


@answers("serviceusage.v1:services.get")
def get_api(cloud: Cloud, call: Call) -> Resource:
    return _api(cloud, cloud.own(call.place["name"]))


@answers("serviceusage.v1:services.batchGet")
def get_apis(cloud: Cloud, call: Call) -> Resource:
    cloud.own(call.place["parent"])
    names = call.query.get("names", "").split(",")
    return {"services": [_api(cloud, cloud.own(name)) for name in names]}


@answers("serviceusage.v1:services.enable")
def enable_api(cloud: Cloud, call: Call) -> Resource:
    name = cloud.own(call.place["name"])
    cloud.check_permitted("serviceusage.services.enable")
    cloud.enabled.add(_api_in(name))
    return {"name": "operations/acat.local", "done": True}


@answers("serviceusage.v1beta1:services.generateServiceIdentity")
def generate_identity(cloud: Cloud, call: Call) -> Resource:
    """Google's own account for the API exists only from now on: before, no role can be given it."""
    api = _api_in(cloud.own(call.place["parent"])).partition(".")[0]
    agent = f"service-{cloud.project.number}@gcp-sa-{api}.iam.gserviceaccount.com"
    cloud.accounts.add(agent)
    return {"name": "operations/finished.local", "done": True, "response": {"email": agent}}


def _api(cloud: Cloud, name: str) -> Resource:
    api = _api_in(name)
    is_off = api in cloud.project.disabled and api not in cloud.enabled
    parent = f"projects/{cloud.project.number}"
    state = "DISABLED" if is_off else "ENABLED"
    return {"name": f"{parent}/services/{api}", "parent": parent, "state": state}


def _api_in(name: str) -> str:
    api = name.rpartition("/")[2]
    if not api.endswith(".googleapis.com"):
        raise Refused(403, f"Not found or permission denied for service(s): {api}.")
    return api


# --- Roles


@answers(
    "cloudresourcemanager.v1:projects.testIamPermissions",
    "iam.v1:projects.serviceAccounts.testIamPermissions",
)
def test_permissions(cloud: Cloud, call: Call) -> Resource:
    """Whoever asks is an owner, who has all but what the project denies."""
    _resource(cloud, call)
    permissions = call.body.get("permissions", [])
    for each in permissions:
        if not PERMISSION.fullmatch(each):
            raise Refused(400, f"Permission {each} is not valid for this resource.")
    return {"permissions": [each for each in permissions if each not in cloud.project.denied]}


@answers(
    "cloudresourcemanager.v1:projects.getIamPolicy",
    "iam.v1:projects.serviceAccounts.getIamPolicy",
    "run.v1:projects.locations.services.getIamPolicy",
    "run.v2:projects.locations.services.getIamPolicy",
    "secretmanager.v1:projects.secrets.getIamPolicy",
)
def get_policy(cloud: Cloud, call: Call) -> Resource:
    return cloud.policy(_resource(cloud, call))


@answers(
    "cloudresourcemanager.v1:projects.setIamPolicy",
    "run.v1:projects.locations.services.setIamPolicy",
)
def set_policy(cloud: Cloud, call: Call) -> Resource:
    return cloud.set_policy(_resource(cloud, call), call.body.get("policy") or {})


def _resource(cloud: Cloud, call: Call) -> str:
    """What the policy is of, which has to exist."""
    resource = call.place["resource"]
    if "/" not in resource:
        cloud.own(f"projects/{resource}")
        return "project"
    name = cloud.own(resource)
    if "/serviceAccounts/" in name:
        account = name.rpartition("/")[2]
        cloud.check_account(account)
        # The functions' account acts as itself where somebody allowed it to.
        itself = {"roles/iam.serviceAccountUser": [f"serviceAccount:{account}"]}
        cloud.policies.setdefault(name, policy_of(itself))
    elif "/services/" in name:
        existing(cloud.services, name)
    elif name not in cloud.policies:
        raise Refused(404, f"Secret [{name}] not found.")
    return name


@answers("iam.v1:projects.serviceAccounts.get")
def get_account(cloud: Cloud, call: Call) -> Resource:
    name = cloud.own(call.place["name"])
    email = name.rpartition("/")[2]
    cloud.check_account(email)
    return {"name": name, "email": email, "projectId": cloud.project.id}


@answers("iamcredentials.v1:projects.serviceAccounts.getAllowedLocations")
def get_allowed_locations(cloud: Cloud, call: Call) -> Resource:
    """google-auth asks for it with every new token; "0x0" is no boundary."""
    cloud.check_account(call.place["name"].rpartition("/")[2])
    return {"locations": [], "encodedLocations": "0x0"}


@answers("secretmanager.v1:projects.secrets.get")
def get_secret(cloud: Cloud, call: Call) -> Resource:
    name = cloud.own(call.place["name"])
    if name not in cloud.policies:
        raise Refused(404, f"Secret [{name}] not found.")
    return {"name": name, "replication": {"automatic": {}}}


@answers("secretmanager.v1:projects.secrets.versions.get")
def get_secret_version(cloud: Cloud, call: Call) -> Resource:
    name = cloud.own(call.place["name"])
    secret = name.partition("/versions/")[0]
    if secret not in cloud.policies:
        raise Refused(404, f"Secret [{secret}] not found or has no versions.")
    return {"name": f"{secret}/versions/1", "state": "ENABLED"}


@answers("secretmanager.v1:projects.secrets.versions.access")
def access_secret_version(cloud: Cloud, call: Call) -> Resource:
    """What a function does with the token of its metadata server."""
    version = get_secret_version(cloud, call)["name"]
    secret = version.partition("/versions/")[0]
    cloud.check_role(call.caller, "roles/secretmanager.secretAccessor", secret)
    data = cloud.project.payloads.get(secret.rpartition("/")[2], "").encode()
    checksum = str(google_crc32c.value(data))
    payload = {"data": base64.b64encode(data).decode(), "dataCrc32c": checksum}
    return {"name": version, "payload": payload}
