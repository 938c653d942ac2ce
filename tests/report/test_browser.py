"""The page in a real browser: it is drawn, wide and narrow, light and dark, and nothing sticks out at 360 pixels."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from preceptor.report.page import build_report


@pytest.fixture(scope="module")
def browser() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None and "CI" in os.environ:
        pytest.fail("no chromium here, and CI must look at the page")
    if found is None:
        pytest.skip("there is no chromium to draw the page with")
    return found


def _run(browser: str, profile: Path, *arguments: str) -> str:
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               f"--user-data-dir={profile}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_is_drawn(make_run: Callable[..., Path], browser: str, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    _run(browser, tmp_path / "profile", f"--screenshot={picture}", "--window-size=1000,1400",
         f"{build_report(make_run()).as_uri()}#light-en")
    assert len(picture.read_bytes()) > 30_000  # an empty page of this size takes 6 kB


# Measured inside frames of 360 pixels: a headless window itself is never narrower than 500.
PROBE = """<iframe src="{page}#light-en" style="width:360px;height:9000px;border:0"></iframe>
<iframe src="{page}#dark-zh" style="width:360px;height:9000px;border:0"></iframe><pre id="out"></pre><script>
onload = () => {{
  const found = [...document.querySelectorAll("iframe")].map(frame => {{
    const inner = frame.contentDocument, root = inner.documentElement;
    const shown = element => element.offsetParent !== null;
    const wide = [...inner.querySelectorAll("main *, header *")].filter(e => !e.closest(".scroll, pre, svg"))
      .filter(e => shown(e) && e.getBoundingClientRect().right > 361).map(e => e.className);
    const languages = [...new Set([...inner.querySelectorAll("span.en, span.zh")].filter(shown).map(e => e.lang))];
    const paper = frame.contentWindow.getComputedStyle(inner.body).backgroundColor;
    return {{scroll: root.scrollWidth, wide, languages, paper}};
  }});
  document.getElementById("out").textContent = JSON.stringify(found);
}};
</script>"""


def test_it_fits_a_phone_and_each_switch_works(make_run: Callable[..., Path], browser: str, tmp_path: Path) -> None:
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE.format(page=build_report(make_run()).as_uri()), encoding="utf-8")
    shown = _run(browser, tmp_path / "profile", "--allow-file-access-from-files", "--virtual-time-budget=4000",
                 "--dump-dom", probe.as_uri())
    light, dark = json.loads(re.search(r'<pre id="out">(.*?)</pre>', shown).group(1))
    assert light == {"scroll": 360, "wide": [], "languages": ["en"], "paper": "rgb(253, 252, 250)"}
    assert dark == {"scroll": 360, "wide": [], "languages": ["zh-CN"], "paper": "rgb(22, 24, 27)"}
