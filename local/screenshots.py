"""`make screenshots`: takes the README's picture of the page on the emulator suite."""

import os
import sys
from pathlib import Path

from emulators.batch import Batch
from local.browser import chromium, find_chromium

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "page.png"
WIDTH, HEIGHT = 1440, 1000
STORY = ("Order delivered", "Flight delayed", "Push of another back end", "New message")


def main() -> int:
    program = find_chromium()
    if program is None:
        print("Chromium is missing: apt-get install chromium fonts-noto-color-emoji")
        return 2
    batch = Batch(os.environ["BATCH_EMULATOR_URL"])
    with chromium(program) as browser:
        page = browser.new_page(
            viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce"
        )
        page.goto(batch.url)
        rows = page.get_by_role("row")
        for number, example in enumerate(STORY, start=1):
            page.get_by_label("Example").select_option(label=example)
            page.get_by_role("button", name="Write it").click()
            rows.get_by_text("SENT", exact=True).nth(number - 1).wait_for()
        page.get_by_label("What it does").select_option(label="loses the answer (504)")
        page.get_by_label("To requests of").select_option("android")
        page.get_by_role("button", name="Begin it").click()
        page.get_by_text("Batch loses the answer").wait_for()
        page.get_by_role("button", name="Write it").click()
        rows.get_by_text("RETRY", exact=True).wait_for()
        page.screenshot(path=PICTURE, full_page=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
