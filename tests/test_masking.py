"""No answer shows the REST key, however it is spelled, and what has no key in it stays as it is."""

import html
import json
from urllib.parse import unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from batchpush.batch_api.masking import MASK, masked, masked_text
from batchpush.batch_api.outcome import Reply

KEYS = st.text("0123456789abcdefABCDEFxyz._~+/=-", min_size=8, max_size=40)
OTHERS = st.text(max_size=20)

# Ways to write a character, in JSON and inside of what stands in JSON.
INSIDE = (
    lambda char: char,
    lambda char: f"%{ord(char):02x}",
    lambda char: f"%{ord(char):02X}",
    lambda char: f"&#{ord(char)};",
    lambda char: f"&#x{ord(char):x};",
    lambda char: f"\\u{ord(char):04x}",
)
JSON = (
    lambda char: json.dumps(char)[1:-1],
    lambda char: f"\\u{ord(char):04x}",
    lambda char: f"\\u{ord(char):04X}",
    lambda char: "\\/" if char == "/" else json.dumps(char)[1:-1],
)


@st.composite
def spelled(draw: st.DrawFn, text: str) -> str:
    """A text in a JSON string: each character in a way of its own, in up to three layers."""
    for _ in range(draw(st.integers(0, 2))):
        text = "".join(draw(st.sampled_from(INSIDE))(char) for char in text)
    return "".join(draw(st.sampled_from(JSON))(char) for char in text)


def layers(text: str) -> set[str]:
    """What a reader may make of it, one layer after the other."""
    found = {text}
    for _ in range(4):
        text = html.unescape(unquote(text))
        found.add(text)
        for part in (text, f'"{text}"'):
            try:
                text = str(json.loads(part))
            except ValueError:
                continue
            found.add(text)
    return found


@given(st.data(), KEYS, OTHERS, OTHERS)
def test_an_error_never_shows_the_key(
    data: st.DataObject, key: str, before: str, after: str
) -> None:
    assume(key not in before + after)
    message = f"{json.dumps(before)[1:-1]}{data.draw(spelled(key))}{json.dumps(after)[1:-1]}"
    body = f'{{"code": 10, "type": "AUTHENTICATION_INVALID", "message": "{message}"}}'
    for answer in (body, body[:-2], f"<html>{message}</html>"):
        reply = Reply(401, masked(answer.encode(), key))
        shown = {repr(reply), reply.body.decode(), str(reply.json()), str(reply.said())}
        for text in shown | {str(value) for value in reply.json().values()}:
            assert not any(key in layer for layer in layers(text))
    assert Reply(401, masked(body.encode(), key)).json()["code"] == 10


@given(KEYS, st.binary(max_size=200) | OTHERS.map(lambda text: json.dumps({"a": text}).encode()))
def test_an_answer_without_the_key_stays_as_it_is(key: str, answer: bytes) -> None:
    assume(not any(key in layer for layer in layers(answer.decode("utf-8", "replace"))))
    assume(answer.count(b"\\") + answer.count(b"%") + answer.count(b"&") < 5)
    assert masked(answer, key) == answer


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_nor_does_an_answer_in_another_encoding(encoding: str) -> None:
    answer = '{"code": 10, "message": "the-key"}'.encode(encoding)
    assert Reply(401, masked(answer, "the-key")).json() == {"code": 10, "message": MASK}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no key the-key here", f"no key {MASK} here"),
        ("the%2Dkey", MASK),
        ("the key", "the key"),
        ("50 % of \\ & so on", "50 % of \\ & so on"),
        ("%25" + "25" * 200, MASK),  # too many layers to look into
    ],
)
def test_what_is_left_of_a_text(text: str, shown: str) -> None:
    assert masked_text(text, "the-key") == shown


@pytest.mark.parametrize(
    "answer",
    [
        b'{"a": "the\\u002dkey", "a": 1}',  # whoever takes the first of two
        b"[" * 900 + b'"the\\u002dkey"' + b"]" * 900,
        b"[" * 100_000 + b"the\\u002dkey",
        b'{"a": ' + b"1" * 5000 + b', "b": "the\\u002dkey"}',
    ],
)
def test_an_answer_that_is_hard_to_read_does_not_show_it_either(answer: bytes) -> None:
    assert b"u002d" not in masked(answer, "the-key")
