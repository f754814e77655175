"""Cloud Tasks brings a task to its function, Cloud Scheduler calls one when its time has come.

Both as an account that the task or the job names, which needs the invoker's role.
"""

import base64
import time
from datetime import datetime

from emulators.google_cloud.call import existing
from emulators.google_cloud.cloud_run import FrontEnd, Sent
from emulators.google_cloud.deliveries import Deliveries, Delivery, Retries
from emulators.google_cloud.project import Cloud, Resource

DEFAULTS = {"maxAttempts": 100, "minBackoff": 0.1, "maxBackoff": 3600.0}  # of a queue


class Dispatch:
    def __init__(self, cloud: Cloud, front_end: FrontEnd, deliveries: Deliveries) -> None:
        self._cloud, self._front_end, self._deliveries = cloud, front_end, deliveries

    def task(self, task: Resource) -> None:
        """https://cloud.google.com/tasks/docs/creating-http-target-tasks#handler"""
        queue, _, name = task["name"].partition("/tasks/")
        request = task["httpRequest"]
        body = base64.b64decode(request.get("body", ""))

        def attempt(before: int) -> Sent:
            headers = {
                **request.get("headers", {}),
                "X-CloudTasks-QueueName": queue.rpartition("/")[2],
                "X-CloudTasks-TaskName": name,
                "X-CloudTasks-TaskRetryCount": str(before),
                "X-CloudTasks-TaskExecutionCount": str(before),
                "X-CloudTasks-TaskETA": f"{time.time():.6f}",
                "User-Agent": "Google-Cloud-Tasks",
            }
            return Sent(body, headers, request.get("httpMethod", "POST"))

        token = request["oidcToken"]
        self._deliveries.begin(
            Delivery("task", name, self._function(request["url"]), token["serviceAccountEmail"]),
            audience=token.get("audience") or request["url"],
            attempt=attempt,
            retries=_retries(self._cloud.queues[queue]),
            delay=_until(task.get("scheduleTime")) + self._deliveries.late(),
        )

    def job(self, name: str) -> None:
        """What the method `jobs.run` does too: the job's time has come."""
        job = existing(self._cloud.jobs, name)
        target, token = job["httpTarget"], job["httpTarget"]["oidcToken"]
        headers = {
            "X-CloudScheduler": "true",
            "X-CloudScheduler-JobName": name.rpartition("/")[2],
            "X-CloudScheduler-ScheduleTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "User-Agent": "Google-Cloud-Scheduler",
            "Content-Type": "application/octet-stream",
        }
        sent = Sent(b"", headers, target.get("httpMethod", "POST"))
        retries = job.get("retryConfig") or {}
        function, account = self._function(target["uri"]), token["serviceAccountEmail"]
        self._deliveries.begin(
            Delivery("schedule", name.rpartition("/")[2], function, account),
            audience=token.get("audience") or target["uri"],
            attempt=lambda _: sent,
            retries=Retries(max_attempts=1 + retries.get("retryCount", 0), min_backoff=5),
        )

    def _function(self, url: str) -> str:
        host, _, path = url.removeprefix("https://").partition("/")
        return self._front_end.function_at(host, f"/{path}") or url


def _retries(queue: Resource) -> Retries:
    config = queue.get("retryConfig") or {}
    return Retries(
        max_attempts=config.get("maxAttempts", DEFAULTS["maxAttempts"]),
        min_backoff=_seconds(config.get("minBackoff"), DEFAULTS["minBackoff"]),
        max_backoff=_seconds(config.get("maxBackoff"), DEFAULTS["maxBackoff"]),
    )


def _seconds(duration: str | None, default: float) -> float:
    """Of a `google-duration` such as `10s`."""
    return float(duration.removesuffix("s")) if duration else default


def _until(moment: str | None) -> float:
    if moment is None:
        return 0.0
    return max(0.0, datetime.fromisoformat(moment).timestamp() - time.time())
