"""A Firestore emulator of a test's own, which can be killed and keeps what it holds."""

import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

from local.suite import HOST, PROJECT
from local.tools import find_java, find_runnable_jar, free_port, packaged_java

START_SECONDS = 120.0


class Emulator:
    """The real Firestore's memory outlives its machines; the emulator's is saved for it."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.address = f"{HOST}:{port}"
        self._folder = folder
        java = find_java(shutil.which("java"), packaged_java())
        jar = find_runnable_jar(folder)
        self._command = [str(java), "-jar", str(jar), "--host", HOST, "--port", str(port)]
        self._process: subprocess.Popen[bytes] | None = None
        self._saved = 0

    def start(self) -> None:
        """Starts with what was saved last, and returns when it answers."""
        saved = self._folder / f"saved-{self._saved}"
        seed = ["--seed_from_export", f"{saved}/{saved.name}.overall_export_metadata"]
        command = self._command + (seed if self._saved else [])
        with (self._folder / "emulator.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + START_SECONDS
        while not self._answers():
            assert time.monotonic() < end, f"no answer from {self.address}"
            time.sleep(0.1)

    def save(self) -> None:
        """Call it while nobody writes."""
        self._saved += 1
        body = {
            "database": f"projects/{PROJECT}/databases/(default)",
            "export_directory": str(self._folder),
            "export_name": f"saved-{self._saved}",
        }
        path = f"/emulator/v1/projects/{PROJECT}:export"
        self._asked(path, json.dumps(body).encode())

    def clear(self) -> None:
        """Delete every document."""
        path = f"/emulator/v1/projects/{PROJECT}/databases/(default)/documents"
        self._asked(path, None, "DELETE")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            self._asked("/", None)
        except OSError:
            return False
        return True

    def _asked(self, path: str, body: bytes | None, method: str | None = None) -> None:
        headers = {"Authorization": "Bearer owner", "Content-Type": "application/json"}
        url = f"http://{self.address}{path}"
        request = urllib.request.Request(url, body, headers, method=method)
        urllib.request.urlopen(request, timeout=START_SECONDS).close()  # noqa: S310
