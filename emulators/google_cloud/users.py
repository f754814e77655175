"""Firebase Authentication: the ID tokens of an app's users, and what they are checked with.

https://firebase.google.com/docs/auth/admin/verify-id-tokens
"""

import time
from functools import cached_property

from emulators.google_cloud.certificates import self_signed
from emulators.google_cloud.project import Project
from emulators.google_cloud.signing import KEY_ID, Key

# Where the Admin SDK looks (ID_TOKEN_CERT_URI of its _token_gen.py).
CERTIFICATES = (
    "www.googleapis.com",
    "/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com",
)
SECONDS = 3600


class Users:
    def __init__(self, project: Project) -> None:
        self._project = project
        self._key = Key()

    @cached_property
    def certificates(self) -> dict[str, str]:
        """By the key's id."""
        return {KEY_ID: self_signed(self._key.private)}

    def sign_in(self, uid: str) -> str:
        now = int(time.time())
        return self._key.sign(
            {
                "iss": f"https://securetoken.google.com/{self._project.id}",
                "aud": self._project.id,
                "sub": uid,
                "user_id": uid,
                "auth_time": now,
                "iat": now,
                "exp": now + SECONDS,
                "firebase": {"identities": {}, "sign_in_provider": "custom"},
            }
        )
