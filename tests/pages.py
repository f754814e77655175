"""A page in a real browser; an error in the browser's console fails the test."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from local.browser import chromium, find_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@contextmanager
def started() -> "Iterator[Browser]":
    """Chromium; skips the test without it, or fails it where BROWSER_TESTS is `required`."""
    program = find_chromium()
    if program is None:
        missing = "Chromium is not installed"
        if os.environ.get("BROWSER_TESTS") == "required":
            pytest.fail(missing)
        pytest.skip(missing)
    with chromium(program) as browser:
        yield browser


@contextmanager
def opening(browser: "Browser", deadline: float, expected: str) -> "Iterator[Callable[..., Page]]":
    """Opens addresses. `deadline` is in milliseconds; complaints with `expected` are fine."""
    complaints: list[str] = []
    contexts = []

    def open_it(url: str, **options: Any) -> "Page":
        context = browser.new_context(**options)
        context.set_default_timeout(deadline)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert [each for each in complaints if expected not in each] == []
