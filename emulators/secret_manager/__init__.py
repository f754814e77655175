"""An emulator of Secret Manager's REST API, enough to read and rotate a secret locally."""

from emulators.secret_manager.handle import SecretManager, running, secret_place
from emulators.secret_manager.server import create_app

__all__ = ["SecretManager", "create_app", "running", "secret_place"]
