"""An emulator of the parts of Google Cloud that a deployment of this project talks to."""

from emulators.google_cloud.handle import GoogleCloud, running
from emulators.google_cloud.project import Project

__all__ = ["GoogleCloud", "Project", "running"]
