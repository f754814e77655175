"""Cloud Scheduler's jobs and Cloud Tasks' queues."""

import base64
import binascii
import re
import secrets

from emulators.google_cloud.call import Call, answers, existing, patched, text
from emulators.google_cloud.project import Cloud, Resource
from emulators.google_errors import Refused

# https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues: no underscore.
QUEUE = re.compile(r"[A-Za-z0-9-]{1,100}")
JOB = re.compile(r"[A-Za-z0-9_-]{1,500}")
SCHEDULE = re.compile(r"every \d+ (minutes?|mins|hours?)|(\S+ ){4}\S+|every day \d\d:\d\d")
DEADLINE = (15, 1800)  # seconds, of an HTTP target


@answers("cloudscheduler.v1:projects.locations.jobs.get")
def get_job(cloud: Cloud, call: Call) -> Resource:
    return existing(cloud.jobs, cloud.own(call.place["name"]))


@answers("cloudscheduler.v1:projects.locations.jobs.create")
def create_job(cloud: Cloud, call: Call) -> Resource:
    parent = cloud.own(call.place["parent"])
    name = cloud.own(text(call.body.get("name")))
    if name in cloud.jobs:
        raise Refused(409, f"Job {name} already exists.")
    if name.rpartition("/jobs/")[0] != parent or not JOB.fullmatch(name.rpartition("/")[2]):
        raise Refused(400, f"Job name {name} is not of {parent}.")
    cloud.jobs[name] = _checked(cloud, {**call.body, "name": name, "state": "ENABLED"})
    return cloud.jobs[name]


@answers("cloudscheduler.v1:projects.locations.jobs.patch")
def patch_job(cloud: Cloud, call: Call) -> Resource:
    name = cloud.own(call.place["name"])
    cloud.jobs[name] = _checked(cloud, patched(cloud.jobs, name, call))
    return cloud.jobs[name]


@answers("cloudscheduler.v1:projects.locations.jobs.delete")
def delete_job(cloud: Cloud, call: Call) -> Resource:
    name = cloud.own(call.place["name"])
    existing(cloud.jobs, name)
    del cloud.jobs[name]
    return {}


def _checked(cloud: Cloud, job: Resource) -> Resource:
    if not SCHEDULE.fullmatch(text(job.get("schedule"))):
        raise Refused(400, f"Schedule or time zone is invalid: {job.get('schedule')}")
    target = job.get("httpTarget")
    if not isinstance(target, dict):
        raise Refused(400, "A job needs a target.")
    # The CLI takes the `url` of a function that it has made, the `uri` of one that it updates.
    addresses = {each["url"] for each in cloud.functions.values()}
    addresses |= {each["serviceConfig"]["uri"] for each in cloud.functions.values()}
    if target.get("uri") not in addresses:
        raise Refused(400, f"HttpTarget.url {target.get('uri')} is of no function.")
    cloud.check_account(text((target.get("oidcToken") or {}).get("serviceAccountEmail")))
    shortest, longest = DEADLINE
    if not shortest <= float(text(job.get("attemptDeadline")).rstrip("s") or 180) <= longest:
        raise Refused(400, f"The attempt deadline must be {shortest} to {longest} seconds.")
    return job


@answers("cloudtasks.v2:projects.locations.queues.get")
def get_queue(cloud: Cloud, call: Call) -> Resource:
    return existing(cloud.queues, cloud.own(call.place["name"]))


@answers("cloudtasks.v2:projects.locations.queues.create")
def create_queue(cloud: Cloud, call: Call) -> Resource:
    parent = cloud.own(call.place["parent"])
    name = cloud.own(text(call.body.get("name")))
    if name in cloud.queues:
        raise Refused(409, "Queue already exists")
    if name.rpartition("/queues/")[0] != parent or not QUEUE.fullmatch(name.rpartition("/")[2]):
        raise Refused(400, f"Queue ID '{name.rpartition('/')[2]}' is invalid.")
    cloud.queues[name] = {"state": "RUNNING", **call.body, "name": name}
    return cloud.queues[name]


@answers("cloudtasks.v2:projects.locations.queues.patch")
def patch_queue(cloud: Cloud, call: Call) -> Resource:
    name = cloud.own(call.place["name"])
    cloud.queues[name] = patched(cloud.queues, name, call)
    return cloud.queues[name]


@answers("cloudtasks.v2:projects.locations.queues.purge")
def purge_queue(cloud: Cloud, call: Call) -> Resource:
    return existing(cloud.queues, cloud.own(call.place["name"]))


MAX_TASK = 1024 * 1024


@answers("cloudtasks.v2:projects.locations.queues.tasks.create")
def create_task(cloud: Cloud, call: Call) -> Resource:
    """A call of a function, which `Dispatch` makes."""
    queue = cloud.own(call.place["parent"])
    existing(cloud.queues, queue)
    cloud.check_role(call.caller, "roles/cloudtasks.enqueuer")
    task = call.body.get("task") or {}
    request = task.get("httpRequest") or {}
    addresses = {each["url"] for each in cloud.functions.values()}
    if request.get("url") not in addresses:
        raise Refused(400, f"{request.get('url')} is the address of no function.")
    account = text((request.get("oidcToken") or {}).get("serviceAccountEmail"))
    cloud.check_account(account)
    try:
        body = base64.b64decode(request.get("body", ""), validate=True)
    except binascii.Error:
        raise Refused(400, "The body must be base64.") from None
    if len(body) > MAX_TASK:
        raise Refused(400, "Task size too large")
    name = cloud.own(task["name"]) if task.get("name") else f"{queue}/tasks/{secrets.token_hex(8)}"
    if name in cloud.tasks:
        raise Refused(409, "Requested entity already exists")
    cloud.tasks[name] = {**task, "name": name}
    return cloud.tasks[name]
