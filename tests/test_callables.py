"""Functions that apps call: as the framework serves them, and `notify` on the emulator suite."""

import asyncio
import json
import os
import re
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.cloud.firestore import Client

import batchpush.events.callables
from batchpush.environment import Settings
from batchpush.events.callables import MAX_BODY, CallRefused, read_call, run
from batchpush.events.change import delivery_id
from emulators.batch import Batch
from handlers.app_to_app import MAX_PER_PAIR
from tests.servers import serving

PROJECT = "demo-batchpush"
MARKER = "marker-8f3a"  # what an attacker sends, and what must be seen nowhere
NOW = datetime(2026, 5, 4, 10, 20, 30, tzinfo=UTC)


# A call, of what was sent


@pytest.mark.parametrize(
    ("caller", "data", "code"),
    [
        (None, {"request_id": "12345678"}, "unauthenticated"),
        ("a/b", {"request_id": "12345678"}, "permission-denied"),
        ("ann", None, "invalid-argument"),
        ("ann", [MARKER], "invalid-argument"),
        ("ann", MARKER, "invalid-argument"),
        ("ann", {}, "invalid-argument"),
        ("ann", {"request_id": None}, "invalid-argument"),
        ("ann", {"request_id": 12345678}, "invalid-argument"),
        ("ann", {"request_id": "1234567"}, "invalid-argument"),
        ("ann", {"request_id": "1" * 65}, "invalid-argument"),
        ("ann", {"request_id": f"{MARKER}/.."}, "invalid-argument"),
        ("ann", {"request_id": "12345678\n"}, "invalid-argument"),
        ("ann", {"request_id": "١٢٣٤٥٦٧٨"}, "invalid-argument"),
    ],
)
def test_what_no_function_could_use_is_refused(caller: str | None, data: Any, code: str) -> None:
    with pytest.raises(CallRefused) as raised:
        read_call("notify", caller, data, NOW)
    assert raised.value.code == code
    assert MARKER not in str(raised.value)


def test_a_request_is_one_delivery_of_its_caller() -> None:
    """Whatever else it says, and whatever others call theirs."""

    def delivery(caller: str, request_id: str, **rest: str) -> str:
        request = read_call("notify", caller, {"request_id": request_id, **rest}, NOW)
        return request.change.delivery_id

    assert delivery("ann", "request-1") == delivery("ann", "request-1", to="bob")
    assert delivery("ann", "request-1") != delivery("bob", "request-1")
    assert delivery("ann", "request-1") != delivery("ann", "request-2")


# Served by the framework, with ID tokens that are signed and checked as in production


SOURCE = """
from batchpush import CallRefused, on_call
from batchpush.errors import LookUpFailed

ERRORS = {
    "refuse": CallRefused("permission-denied", "this cannot be sent"),
    "wait": LookUpFailed("Firestore: Unavailable"),
    "crash": ValueError("secret-of-ours"),
}

@on_call
async def greet(call):
    assert call.caller == "ann"
    if "do" in call.data:
        raise ERRORS[call.data["do"]]
"""


@dataclass(frozen=True)
class Issuer:
    """Signs ID tokens as Google does, with a key that Google does or does not vouch for."""

    key: str
    certificate: str

    @classmethod
    def new(cls) -> "Issuer":
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "securetoken")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        public = certificate.public_bytes(serialization.Encoding.PEM)
        return cls(private.decode(), public.decode())

    def token(self, header: Mapping[str, str] = {}, **claims: Any) -> str:
        from google.auth import crypt, jwt

        now = int(time.time())
        payload = {
            "iss": f"https://securetoken.google.com/{PROJECT}",
            "aud": PROJECT,
            "sub": "ann",
            "iat": now - 10,
            "exp": now + 3600,
        }
        signer = crypt.RSASigner.from_string(self.key, "key-1")
        return str(jwt.encode(signer, payload | claims, header=dict(header)).decode())


@pytest.fixture(scope="module")
def google() -> Issuer:
    return Issuer.new()


@pytest.fixture(scope="module")
def somebody() -> Issuer:
    return Issuer.new()


@pytest.fixture
def certificates(google: Issuer, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Google's certificates, served here; the list holds the status of the answer."""
    import firebase_admin
    from firebase_admin import _token_gen

    from batchpush.google.clients import made_app

    status = [200]

    class Certificates(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"key-1": google.certificate}).encode()
            self.send_response(status[0])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def forget() -> None:
        made_app.cache_clear()
        for app in list(firebase_admin._apps.values()):
            firebase_admin.delete_app(app)

    with serving(Certificates) as host:
        monkeypatch.setattr(_token_gen, "ID_TOKEN_CERT_URI", f"http://{host}/")
        forget()
        yield status
        forget()


@pytest.fixture
def app(
    certificates: list[int],
    service_account: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """The function `greet`, as the framework serves it in production."""
    from functions_framework import create_app

    monkeypatch.delenv("FIREBASE_AUTH_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", service_account)
    monkeypatch.setenv("FUNCTION_TARGET", "greet")
    monkeypatch.setenv("FUNCTION_SIGNATURE_TYPE", "http")
    monkeypatch.setenv("THREADS", "1")
    source = tmp_path / "main.py"
    source.write_text(SOURCE, encoding="utf-8")
    return create_app("greet", str(source), "http").test_client()


def post(app: Any, token: str | None, call: Any = None, /, **options: Any) -> tuple[int, Any]:
    """The status and the JSON of the answer."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    sent = {"json": {"data": call or {"request_id": "request-1"}}} | options
    response = app.post("/", headers=headers | sent.pop("headers", {}), **sent)
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "secret-of-ours" not in response.text
    assert MARKER not in response.text
    return response.status_code, response.get_json()


def refusal(answered: tuple[int, Any]) -> str:
    """The code of a refusal."""
    status, body = answered
    assert status >= 400
    assert body["error"].keys() == {"status", "message"}
    code: str = body["error"]["status"]
    return code


def test_a_signed_in_caller_is_served(app: Any, google: Issuer) -> None:
    assert post(app, google.token()) == (200, {"result": {"ok": True}})


UNTRUSTED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "signed by somebody": ("somebody", {}, {}),
    "signed by somebody, who names an unknown key": ("somebody", {"kid": MARKER}, {}),
    "not signed": ("google", {"alg": "none"}, {}),
    "signed with another algorithm": ("google", {"alg": "HS256"}, {}),
    "expired": ("google", {}, {"exp": 1}),
    "issued in the future": ("google", {}, {"iat": 2**33}),
    "for another project": ("google", {}, {"aud": MARKER}),
    "by another issuer": ("google", {}, {"iss": f"https://{MARKER}"}),
    "of nobody": ("google", {}, {"sub": ""}),
}


@pytest.mark.parametrize("why", UNTRUSTED)
def test_a_token_that_cannot_be_trusted_is_refused(
    app: Any, why: str, capfd: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    issuer, header, claims = UNTRUSTED[why]
    token = request.getfixturevalue(issuer).token(header, **claims)
    assert refusal(post(app, token)) == "UNAUTHENTICATED"
    out, err = capfd.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["message"] for line in lines] == ["call.unverified", "call.refused"]
    assert lines[0]["data"]["kind"] in ("InvalidIdTokenError", "ExpiredIdTokenError")
    assert (MARKER in out, err) == (False, "")


@pytest.mark.parametrize("token", [MARKER, f"{MARKER}.{MARKER}.{MARKER}", "a.b.c", "."])
def test_what_is_no_token_is_refused(
    app: Any, token: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert refusal(post(app, token)) == "UNAUTHENTICATED"
    out, err = capfd.readouterr()
    assert (MARKER in out, err) == (False, "")


def test_who_is_not_signed_in_is_refused(app: Any) -> None:
    assert refusal(post(app, None)) == "UNAUTHENTICATED"
    assert refusal(post(app, None, headers={"Authorization": "Basic YTpi"})) == "UNAUTHENTICATED"


def test_nobody_is_trusted_while_the_certificates_cannot_be_had(
    app: Any, google: Issuer, certificates: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    certificates[0] = 500
    assert refusal(post(app, google.token())) == "UNAUTHENTICATED"
    first, _ = map(json.loads, capfd.readouterr().out.splitlines())
    assert first["data"]["kind"] == "CertificateFetchError"  # which an operator has to know


BAD_BODIES = {
    "empty": b"",
    "not JSON": MARKER.encode(),
    "not UTF-8": b'{"data": "\xff"}',
    "no map": b'["' + MARKER.encode() + b'"]',
    "null": b"null",
    "without data": b'{"' + MARKER.encode() + b'": 1}',
    "with more than data": b'{"data": {}, "' + MARKER.encode() + b'": "' + MARKER.encode() + b'"}',
    "data that is no map": b'{"data": ["' + MARKER.encode() + b'"]}',
    "nested deeply": b'{"data": ' + b"[" * 4000 + b"]" * 4000 + b"}",
    "too large": b'{"data": {"request_id": "request-1", "a": "' + b"m" * MAX_BODY + b'"}}',
    "far too large": b'{"data": {"params": "' + b"m" * 10_000_000 + b'"}}',
}


@pytest.mark.parametrize("body", BAD_BODIES)
def test_a_body_that_is_no_call_is_refused_and_logged_without_it(
    app: Any, google: Issuer, body: str, capfd: pytest.CaptureFixture[str]
) -> None:
    sent = {"json": None, "data": BAD_BODIES[body], "content_type": "application/json"}
    assert refusal(post(app, google.token(), **sent)) == "INVALID_ARGUMENT"
    out, err = capfd.readouterr()
    (line,) = map(json.loads, out.splitlines())
    assert (line["message"], line["function"]) == ("call.refused", "greet")
    assert (MARKER in out, err) == (False, "")


@pytest.mark.parametrize(
    "options", [{"content_type": f"text/{MARKER}"}, {"content_type": None}, {"method": MARKER}]
)
def test_a_request_that_is_no_call_is_refused(
    app: Any, google: Issuer, options: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    headers = {"Authorization": f"Bearer {google.token()}"}
    sent = {"data": b'{"data": {}}', "method": "POST", "content_type": "application/json"}
    response = app.open("/", headers=headers, **sent | options)
    assert response.status_code in (400, 405)
    out, err = capfd.readouterr()
    assert (MARKER in out + response.text, err) == (False, "")


@pytest.mark.parametrize(
    ("does", "code", "logged"),
    [
        ("refuse", "PERMISSION_DENIED", ["call.refused"]),
        ("wait", "UNAVAILABLE", ["call.unfinished", "call.refused"]),
        ("crash", "INTERNAL", ["call.crashed", "call.refused"]),
        (MARKER, "INTERNAL", ["call.crashed", "call.refused"]),
    ],
)
def test_what_goes_wrong_is_a_fixed_answer_and_no_text_of_an_error(
    app: Any,
    google: Issuer,
    does: str,
    code: str,
    logged: list[str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    data = {"request_id": "request-1", "do": does}
    assert refusal(post(app, google.token(), data)) == code
    out, err = capfd.readouterr()
    assert [json.loads(line)["message"] for line in out.splitlines()] == logged
    assert "secret-of-ours" not in out
    assert (MARKER in out, err) == (False, "")


def test_what_takes_too_long_is_unavailable_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, has_ended = threading.Event(), threading.Event()

    async def work() -> None:
        await asyncio.to_thread(may_end.wait)
        has_ended.set()

    monkeypatch.setattr(batchpush.events.callables, "ANSWER_WITHIN", 0.01)
    with pytest.raises(CallRefused) as raised:
        run(work())
    assert raised.value.code == "unavailable"
    may_end.set()
    assert has_ended.wait(10)


def test_the_lines_of_a_call_name_the_trace_of_its_request(
    app: Any, google: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of the handler, on the event loop, and those of the thread that answers."""
    headers = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    call = {"request_id": "request-1", "do": "wait"}
    assert post(app, google.token(), call, headers=headers)[0] == 503
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["message"] for line in lines] == ["call.unfinished", "call.refused"]
    assert {line["logging.googleapis.com/trace"] for line in lines} == {
        f"projects/demo-batchpush/traces/{'a' * 32}"
    }


def test_a_browser_may_ask_first(app: Any) -> None:
    asks = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    response = app.options("/", headers=asks)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == asks["Origin"]
    assert "authorization" in response.headers["Access-Control-Allow-Headers"]


FORGED_APP = {"X-Firebase-AppCheck": MARKER}


def test_with_app_check_a_call_needs_an_app_that_is_vouched_for(
    certificates: list[int],
    google: Issuer,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    enforced = Settings.from_environment(dict(os.environ) | {"ENFORCE_APP_CHECK": "true"})
    monkeypatch.setattr(batchpush.events.callables, "settings", lambda: enforced)
    app = request.getfixturevalue("app")
    assert refusal(post(app, google.token())) == "UNAUTHENTICATED"
    assert refusal(post(app, google.token(), headers=FORGED_APP)) == "UNAUTHENTICATED"


def test_without_app_check_nobody_fetches_keys_for_what_an_app_claims(
    app: Any, google: Issuer, capfd: pytest.CaptureFixture[str]
) -> None:
    assert post(app, google.token(), headers=FORGED_APP)[0] == 200
    assert capfd.readouterr().out == ""


def test_the_server_takes_as_many_calls_at_once_as_it_is_sent() -> None:
    code = "import os, main; print(os.environ.get('THREADS'))"
    for target, threads in (("notify", "40"), ("new_message", "None")):
        environment = {"FUNCTION_TARGET": target, "CONCURRENCY": "40", "PYTHONPATH": "."}
        said = subprocess.run(
            ["venv/bin/python", "-W", "ignore", "-c", code],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout.strip() == threads


# `notify`, as apps call it


@dataclass(frozen=True)
class User:
    id: str
    email: str
    password: str
    token: str


def sign_up() -> User:
    email, password = f"{uuid.uuid4().hex}@example.com", uuid.uuid4().hex
    host = os.environ["FIREBASE_AUTH_EMULATOR_HOST"]
    response = httpx.post(
        f"http://{host}/identitytoolkit.googleapis.com/v1/accounts:signUp?key=local",
        json={"email": email, "password": password, "returnSecureToken": True},
    )
    made = response.raise_for_status().json()
    return User(made["localId"], email, password, made["idToken"])


@pytest.fixture(scope="session")
def firestore() -> Client:
    return Client()


@pytest.fixture
def batch() -> Batch:
    batch = Batch(os.environ["BATCH_EMULATOR_URL"])
    batch.clear_faults()
    batch.clear()
    return batch


@pytest.fixture
def ann(firestore: Client) -> User:
    user = sign_up()
    firestore.document(f"users/{user.id}").set({"display_name": "Ann"})
    return user


@pytest.fixture
def bob(firestore: Client, ann: User) -> str:
    """The id of a friend of hers."""
    user_id = uuid.uuid4().hex
    firestore.document(f"users/{user_id}").set({"display_name": "Bob"})
    firestore.document(f"users/{ann.id}/friends/{user_id}").set({})
    return user_id


def poke(to: str, **more: Any) -> dict[str, Any]:
    return {"to": to, "template": "poke", "request_id": uuid.uuid4().hex} | more


def by_app(user: User | None, *calls: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What an app gets for each of its calls, which Firebase's JavaScript client makes."""
    who = user and {"email": user.email, "password": user.password}
    done = subprocess.run(
        ["node", "tests/js/call.mjs"],
        input=json.dumps({"user": who, "calls": calls}),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def by_http(
    token: str | None, data: Any = None, *, method: str = "POST", **options: Any
) -> httpx.Response:
    url = f"{os.environ['FUNCTIONS_EMULATOR_URL']}/{PROJECT}/us-central1/notify"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    sent: dict[str, Any] = {"json": {"data": data}} | options
    return httpx.request(method, url, headers=headers | sent.pop("headers", {}), timeout=60, **sent)


def status(response: httpx.Response) -> str:
    return str(response.json()["error"]["status"]) if response.is_error else "OK"


def calls_to(batch: Batch, user_id: str) -> list[dict[str, Any]]:
    return [call for call in batch.pushes() if user_id in json.dumps(call)]


DONE = {"data": {"ok": True}}


@pytest.mark.suite
def test_an_app_has_a_friend_told_once_however_often_it_asks(
    batch: Batch, firestore: Client, ann: User, bob: str
) -> None:
    request = poke(bob)
    assert by_app(ann, request, request, request | {"template": "call_me"}) == [DONE] * 3
    calls = calls_to(batch, bob)
    assert sorted(call["app"] for call in calls) == ["android", "ios", "web"]
    assert {call["reply"]["status"] for call in calls} == {201}
    assert calls[0]["body"]["message"] == {"title": "Ann", "body": "👋 Is thinking of you"}
    assert calls[0]["body"]["recipients"] == {"custom_ids": [bob]}

    path = f"notify/{ann.id}/{request['request_id']}"
    source = f"//firebase.callable/notify/{ann.id}/databases/(default)"
    delivery = delivery_id("notify", source, request["request_id"])
    record = firestore.document(f"batch_deliveries/{delivery}").get().to_dict()
    assert record is not None
    assert (record["state"], record["document"]) == ("SENT", path)
    assert "report_to" not in record


@pytest.mark.suite
def test_an_app_learns_the_code_and_the_field(batch: Batch, ann: User, bob: str) -> None:
    answers = by_app(
        ann,
        poke(uuid.uuid4().hex),
        poke(bob, template=MARKER),
        poke(bob, request_id="short"),
        poke(bob, sender=MARKER),
        {"params": "m" * 10_000},
    )
    assert [answer["code"] for answer in answers] == ["functions/permission-denied"] + [
        "functions/invalid-argument"
    ] * 4
    assert [answer["message"].split()[0] for answer in answers[1:]] == [
        "template",
        "request_id",
        "data",
        "the",
    ]
    (signed_out,) = by_app(None, poke(bob))
    assert signed_out["code"] == "functions/unauthenticated"
    assert MARKER not in json.dumps(answers)
    assert batch.pushes() == []


@pytest.mark.suite
def test_what_is_unfinished_is_finished_by_the_same_request(
    batch: Batch, ann: User, bob: str
) -> None:
    batch.fault(app="ios", status=504)
    request = poke(bob)
    first, second, third = by_app(ann, request, request, request)
    assert first["code"] == "functions/unavailable"
    assert (second, third) == (DONE, DONE)
    apps = [call["app"] for call in calls_to(batch, bob)]
    assert sorted(apps) == ["android", "ios", "ios", "web"]


@pytest.mark.suite
def test_members_of_a_conversation_may_write_and_who_is_muted_is_left_alone(
    batch: Batch, firestore: Client, ann: User
) -> None:
    talk, zoe, tom = (uuid.uuid4().hex for _ in range(3))
    firestore.document(f"conversations/{talk}").set({"member_ids": [ann.id, zoe, tom]})
    firestore.document(f"users/{tom}").set({"push_muted": True})
    firestore.document(f"users/{zoe}").set({})
    params = {"conversation_id": talk}
    for user_id in (tom, zoe):
        assert status(by_http(ann.token, poke(user_id, params=params))) == "OK"
    assert status(by_http(ann.token, poke(zoe))) == "PERMISSION_DENIED"
    assert calls_to(batch, tom) == []
    calls = calls_to(batch, zoe)
    assert len(calls) == 3
    assert calls[0]["body"]["deeplink"] == f"myapp://conversations/{talk}"


@pytest.mark.suite
def test_a_stranger_and_nobody_get_the_very_same_answer(
    batch: Batch, firestore: Client, ann: User
) -> None:
    stranger = sign_up()
    firestore.document(f"users/{stranger.id}").set({"display_name": "Eve"})
    answers = [by_http(ann.token, poke(to)) for to in (stranger.id, uuid.uuid4().hex)]
    assert answers[0].content == answers[1].content
    assert {status(answer) for answer in answers} == {"PERMISSION_DENIED"}
    assert batch.pushes() == []


@pytest.mark.suite
def test_a_burst_is_limited_and_a_replay_is_not_part_of_it(
    batch: Batch, ann: User, bob: str
) -> None:
    requests = [poke(bob) for _ in range(2 * MAX_PER_PAIR + 2)]  # too many even for two minutes
    with ThreadPoolExecutor(len(requests)) as threads:
        answers = list(threads.map(lambda request: by_http(ann.token, request), requests))
    said = [status(answer) for answer in answers]
    assert set(said) == {"OK", "RESOURCE_EXHAUSTED"}
    assert said.count("OK") in range(MAX_PER_PAIR, 2 * MAX_PER_PAIR + 1)
    assert len(calls_to(batch, bob)) == 3 * said.count("OK")
    again = by_http(ann.token, requests[said.index("OK")])
    assert status(again) == "OK"
    assert len(calls_to(batch, bob)) == 3 * said.count("OK")


ATTACKS: dict[str, tuple[dict[str, Any], str]] = {
    "no token": ({"token": None}, "UNAUTHENTICATED"),
    "what is no token": ({"token": MARKER}, "UNAUTHENTICATED"),
    "another scheme": ({"headers": {"Authorization": f"Basic {MARKER}"}}, "UNAUTHENTICATED"),
    "the id of another": ({"data": {"from": MARKER, "uid": MARKER}}, "INVALID_ARGUMENT"),
    "words of one's own": ({"data": {"message": {"body": MARKER}}}, "INVALID_ARGUMENT"),
    "a name of one's own": ({"data": {"params": {"sender": MARKER}}}, "INVALID_ARGUMENT"),
    "an unknown template": ({"data": {"template": MARKER}}, "INVALID_ARGUMENT"),
    "a path": ({"data": {"to": f"{MARKER}/friends/x"}}, "INVALID_ARGUMENT"),
    "10 MB of params": ({"data": {"params": {"m": MARKER * 1_000_000}}}, "INVALID_ARGUMENT"),
    "keys beside data": ({"json": {"data": {}, MARKER: MARKER}}, "INVALID_ARGUMENT"),
    "no data": ({"json": {MARKER: MARKER}}, "INVALID_ARGUMENT"),
    "not JSON": ({"json": None, "content": MARKER}, "INVALID_ARGUMENT"),
    "not by POST": ({"method": "PUT"}, "INVALID_ARGUMENT"),
}


@pytest.mark.suite
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_and_shows_nowhere(
    batch: Batch, ann: User, bob: str, attack: str
) -> None:
    options, code = ATTACKS[attack]
    sent = {"token": ann.token} | options
    log = Path(os.environ["SUITE_LOG"])
    begins = log.stat().st_size
    response = by_http(sent.pop("token"), poke(bob) | sent.pop("data", {}), **sent)
    assert status(response) == code
    assert response.json()["error"].keys() == {"status", "message"}
    assert len(response.content) < 300
    assert MARKER not in response.text
    assert batch.pushes() == []
    logged = log.read_bytes()[begins:].decode(errors="replace")
    assert MARKER not in logged
    assert not re.search(r"Traceback|Request body|Error validating token", logged)
