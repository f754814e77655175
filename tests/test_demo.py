from typing import Any

import pytest

from local.demo import EVENTS, what_did_not_happen

MESSAGE = EVENTS[0]
CALLED = 'i  functions: Beginning execution of "us-central1-new_message"'
SAID = '>  {"severity": "ERROR", "message": "event.refused", "function": "new_message"}'
REFUSED = {"accepted": False, "reply": {"status": 401, "body": {"code": 10}}}


@pytest.mark.parametrize(
    ("calls", "log", "step"),
    [
        ([], "", "the write did not call new_message"),
        ([], CALLED, "new_message was called and did not call Batch"),
        ([], f"{CALLED}\n{SAID}", "new_message was called and said"),
        ([REFUSED], f"{CALLED}\n{SAID}", "Batch answered {'status': 401"),
    ],
)
def test_the_step_that_did_not_happen_is_named(
    calls: list[dict[str, Any]], log: str, step: str
) -> None:
    said = what_did_not_happen(MESSAGE, ["ios"], calls, log)
    assert said.startswith("no push for ios within 60 s: ")
    assert step in said
