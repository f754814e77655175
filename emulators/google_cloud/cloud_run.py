"""The front end of Cloud Run: it lets in who may call a function, and passes the request on.

Whoever starts a function's process says where it listens. A call waits while the instance is full,
and fails as on Cloud Run where none answers: it is the caller's part to try again.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import aiohttp

from emulators.google_cloud.id_tokens import IdTokens, InvalidToken
from emulators.google_cloud.project import Cloud, Resource
from emulators.google_errors import Refused

INVOKER = "roles/run.invoker"
EVERYBODY = "allUsers"
# https://cloud.google.com/run/docs/troubleshooting: what a caller reads.
UNAUTHORIZED = "Your client does not have permission to the requested URL."
FORBIDDEN = "Your client does not have permission to get URL / from this server."
NO_INSTANCE = "The request failed because either the HTTP response was malformed or connection to "
NO_INSTANCE += "the instance had an error."


@dataclass(frozen=True)
class Sent:
    """A request to a function."""

    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    verb: str = "POST"

    def signed(self, token: str) -> "Sent":
        return replace(self, headers={**self.headers, "Authorization": f"Bearer {token}"})


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes = b""
    content_type: str = "text/plain"


@dataclass
class Invocation:
    """A request that came to the front end; `caller` is empty for somebody unknown."""

    function: str
    caller: str = ""
    status: int = 0


class FrontEnd:
    def __init__(self, cloud: Cloud, tokens: IdTokens) -> None:
        self._cloud, self._tokens = cloud, tokens
        self._instances: dict[str, str] = {}  # addresses, by the function's name
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._invocations: list[Invocation] = []

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(auto_decompress=False)

    async def close(self) -> None:
        await self._session.close()

    def invocations(self) -> list[dict[str, Any]]:
        return [asdict(each) for each in self._invocations]

    def clear(self) -> None:
        self._invocations.clear()

    def place(self, function: str, address: str | None) -> None:
        """Where the function's one instance listens from now on; None if there is none."""
        if address is None:
            self._instances.pop(function, None)
            return
        deployed = self._cloud.functions[function]
        concurrency = deployed["serviceConfig"].get("maxInstanceRequestConcurrency", 1)
        self._instances[function] = address
        self._slots[function] = asyncio.Semaphore(concurrency)

    def function_at(self, host: str, path: str) -> str | None:
        """Its name, by one of the two addresses that a function has."""
        url = f"https://{host}{path}".rstrip("/")
        for name, function in self._cloud.functions.items():
            if url in addresses_of(function):
                return name
        return None

    async def call(self, name: str, sent: Sent) -> Reply:
        invocation = Invocation(name.rpartition("/")[2])
        self._invocations.append(invocation)
        reply = await self._call(name, sent, invocation)
        invocation.status = reply.status
        return reply

    async def _call(self, name: str, sent: Sent, invocation: Invocation) -> Reply:
        function = self._cloud.functions.get(name)
        if function is None:
            return Reply(404, b"The requested URL was not found on this server.")
        try:
            let_in, invocation.caller = self._let_in(function, sent)
        except InvalidToken:
            return Reply(401, UNAUTHORIZED.encode())
        except Refused:
            return Reply(403, FORBIDDEN.encode())
        address = self._instances.get(name)
        if address is None:
            return Reply(503, NO_INSTANCE.encode())
        seconds = function["serviceConfig"].get("timeoutSeconds", 60)
        async with self._slots[name]:
            return await self._pass_on(address, let_in, seconds)

    def _let_in(self, function: Resource, sent: Sent) -> tuple[Sent, str]:
        """The request as the container gets it, and whose it is."""
        service = function["serviceConfig"]["service"]
        if self._is_open(service):
            return sent, ""
        kind, _, token = sent.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise Refused(403, FORBIDDEN)
        account = self._tokens.account_of(token, addresses_of(function))
        self._cloud.check_role(account, INVOKER, service)
        return sent.signed(f"{token.rpartition('.')[0]}.SIGNATURE_REMOVED_BY_GOOGLE"), account

    def _is_open(self, service: str) -> bool:
        bindings = self._cloud.policy(service)["bindings"]
        return any(b["role"] == INVOKER and EVERYBODY in b["members"] for b in bindings)

    async def _pass_on(self, address: str, sent: Sent, seconds: float) -> Reply:
        try:
            async with self._session.request(
                sent.verb,
                address,
                data=sent.body,
                headers=sent.headers,
                timeout=aiohttp.ClientTimeout(total=seconds),
            ) as reply:
                return Reply(reply.status, await reply.read(), reply.content_type)
        except TimeoutError:
            return Reply(504, b"upstream request timeout")
        except aiohttp.ClientError:
            return Reply(503, NO_INSTANCE.encode())


def addresses_of(function: Resource) -> set[str]:
    return {function["url"], function["serviceConfig"]["uri"]}
