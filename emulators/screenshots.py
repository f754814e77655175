"""`make screenshots`: the pictures of the page in docs/, made on the emulator suite."""

import os
import sys
from pathlib import Path

from emulators.batch import Batch
from emulators.browser import chromium, find_chromium

DOCS = Path(__file__).resolve().parent.parent / "docs"
SIZE = {"width": 1440, "height": 960}
STORY = ("Order delivered", "Flight delayed", "Push of another back end", "New message")


def main() -> int:
    program = find_chromium()
    if program is None:
        print("Chromium is missing: apt-get install chromium fonts-noto-color-emoji")
        return 2
    batch = Batch(os.environ["BATCH_EMULATOR_URL"])
    with chromium(program) as browser:
        page = browser.new_page(viewport=SIZE, reduced_motion="reduce")
        page.goto(batch.url)
        rows = page.get_by_role("row")
        for number, example in enumerate(STORY, start=1):
            page.get_by_label("Example").select_option(label=example)
            page.get_by_role("button", name="Write it").click()
            rows.get_by_text("SENT", exact=True).nth(number - 1).wait_for()
        page.get_by_label("What it does").select_option(label="loses the answer (504)")
        page.get_by_label("To calls of").select_option("android")
        page.get_by_role("button", name="Begin it").click()
        page.get_by_text("Batch loses the answer").wait_for()
        page.get_by_role("button", name="Write it").click()
        rows.get_by_text("RETRY", exact=True).wait_for()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=DOCS / f"page-{scheme}.png")
    print(f"docs/page-light.png and docs/page-dark.png are made from {batch.url}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
