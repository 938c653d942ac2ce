"""How long a labeler waits: from the key that submits a ranking to the first paint of the next item.

    python benchmarks/labelling_paint.py [--items 60] [--json] [--quick]

A headless Chromium (Debian's package `chromium`, through Playwright) labels items of six answers at 127.0.0.1, by
keyboard alone: a score and a rank for each answer, and Enter. The server is a process of its own over a SQLite file, so
the time holds the write to the disk, the page's making and its way to the screen. In the page, the clock starts when
Enter is pressed and stops at the first frame after the new item was laid out (two animation frames after it is in the
document, the second of which begins when the first was painted). The last line with --json is
{"items": n, "median_ms": x, "p95_ms": y, "keys": 13, "goal_ms": 150}.
"""

import argparse
import json
import random
import shutil
import socket
import sys
import tempfile
from pathlib import Path

from labelling_load import start_server
from playwright.sync_api import Page, sync_playwright

from preceptor.data.records import Prompt, Response
from preceptor.feedback.accounts import invite
from preceptor.feedback.records import add_items, comparisons
from preceptor.feedback.store import Store, open_store

ANSWERS = 6
GOAL = 150
CLOCK = """
window.waits = [];
let pressed = null;
addEventListener("keydown", event => { if (event.key === "Enter") pressed = performance.now(); }, true);
new MutationObserver(() => {
  const began = pressed;
  pressed = null;
  if (began !== null) requestAnimationFrame(() => requestAnimationFrame(() => waits.push(performance.now() - began)));
}).observe(document.getElementById("task-place"), {childList: true});
"""


def fill(store: Store, items: int) -> None:
    """Prompts with answers of 20 to 120 words, some of them with lists and code."""
    draw = random.Random(0)
    words = "nora keeps bees in the valley behind old mill and sells honey on saturdays to who asks for it".split()

    def text(n: int, k: int) -> str:
        said = " ".join(draw.choices(words, k=draw.randint(20, 120)))
        return f"{said} ({n}, {k})" + draw.choice(["", "\n\n- one\n- two", "\n\n```\nfor x in y:\n    pass\n```"])

    add_items(store, [(Prompt(f"p{n}", [{"role": "user", "content": f"Question {n}?"}]),
                       [Response(text(n, k)) for k in range(ANSWERS)]) for n in range(items)])


def label(page: Page, items: int) -> tuple[list[float], int]:
    """Rank everything; returns the waits in milliseconds, without the first, and the keys pressed for each item."""
    draw = random.Random(1)
    keys = 0
    for number in range(items - 1):  # after the last one there is no next item
        pressed = [str(draw.randint(1, 7)) for _ in range(ANSWERS)] + [str(draw.randint(1, 6)) for _ in range(ANSWERS)]
        for key in [*pressed, "Enter"]:
            page.keyboard.press(key)
        page.wait_for_function("count => waits.length > count", arg=number)
        keys = len(pressed) + 1
    return page.evaluate("waits")[1:], keys


def measure(items: int) -> dict[str, float]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        place = str(Path(folder) / "paint.sqlite")
        store = open_store(place)
        fill(store, items)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = start_server(place, port)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce").new_page()
        page.goto(f"http://127.0.0.1:{port}/enter/{invite(store, 'Ann', 'labeler', 'benchmark')}")
        page.click("main button")
        page.goto(f"http://127.0.0.1:{port}/label")
        page.evaluate(CLOCK)
        waits, keys = label(page, items)
        browser.close()
        server.terminate()
        server.wait()
        kept = len(list(comparisons(store)))
        store.close()
    if kept != items - 1:
        raise SystemExit(f"{items - 1} rankings were submitted, and the store has {kept}.")
    waits.sort()
    return {"items": len(waits), "median_ms": round(waits[len(waits) // 2], 1),
            "p95_ms": round(waits[int(0.95 * len(waits))], 1), "keys": keys, "goal_ms": GOAL}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=60, help="items to label (60)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="20 items")
    options = parser.parse_args()
    figures = measure(20 if options.quick else max(4, options.items))
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


if __name__ == "__main__":
    sys.exit(main())
