"""The page: whole without a network, safe against the text of models, true to the numbers, in both languages."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from preceptor.cli.main import main
from preceptor.report.page import build_report
from preceptor.run.files import read_json, write_json

VOID = {"meta", "line", "circle", "rect", "polyline", "br", "img"}


class Reader(HTMLParser):
    """Checks that tags nest, and gathers scripts, addresses, anchors and the text by language."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, str]] = []
        self.scripts, self.addresses, self.anchors = 0, [], set()
        self.text = {"en": [], "zh": [], "": []}

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.scripts += tag == "script"
        self.addresses += [value for name, value in attributes if name in ("href", "src", "action", "data")]
        self.anchors |= {values["id"]} if "id" in values else set()
        if tag not in VOID:
            self.open.append((tag, values.get("class") or ""))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open and self.open[-1][0] == tag, f"</{tag}> closes {self.open[-1:]}"
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if any(tag in ("script", "style") for tag, _ in self.open):
            return
        languages = [kind for tag, kind in self.open if tag == "span" and kind in ("en", "zh")]
        self.text[languages[-1] if languages else ""].append(data)


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    reader.close()
    assert not reader.open
    return reader


@pytest.mark.parametrize("village", [True, False])
def test_the_page_needs_nothing_from_outside(make_run: Callable[..., Path], village: bool) -> None:
    page = build_report(make_run(village=village))
    reader, source = read(page), page.read_text(encoding="utf-8")
    assert all(address.startswith("#") and address[1:] in reader.anchors for address in reader.addresses)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", source)


def test_the_text_of_models_stays_text(make_run: Callable[..., Path]) -> None:
    reader = read(build_report(make_run()))
    assert reader.scripts == 1  # our own
    said = "".join(reader.text[""])
    assert said.count("</span><script>alert('x')</script>&amp; {{ 7 * 7 }}") > 3  # shown, letter by letter


@pytest.mark.parametrize(("steps", "village"), [(10, True), (10, False), (9, True), (6, True), (3, True), (0, True)])
def test_nothing_is_missing_in_words(make_run: Callable[..., Path], steps: int, village: bool) -> None:
    reader = read(build_report(make_run(steps=steps, village=village)))
    for language in ("en", "zh"):
        shown = " ".join(reader.text[language])
        assert not re.search(r"\b(null|None|nan|undefined)\b|\{\w*\}", shown)
    assert len(reader.text["en"]) == len(reader.text["zh"])
    assert re.search(r"[\u4e00-\u9fff]", "".join(reader.text["zh"]))
    assert not re.search(r"[\u4e00-\u9fff]", "".join(reader.text["en"]).replace("中文", ""))  # the switch names itself


def test_sentences_follow_the_numbers(make_run: Callable[..., Path]) -> None:
    run = make_run()
    shown = _english(run)
    assert "PPO-ptx is preferred to SFT on 64 % [60, 68] of 520 prompts: more often" in shown
    assert "PPO-ptx does not beat PPO (52 % [48, 56])" in shown
    assert "from 36 % [31, 41] with SFT to 15 % [10, 20] with PPO-ptx: 2.4 times fewer" in shown
    assert "PPO raises it to 8.44" in shown and "so recovers 148 % of what PPO lost" in shown
    path = run / "09-evaluate" / "results.json"
    results = read_json(path)
    results["win_rate"]["ppo_ptx vs sft"] |= {"mean": 0.5, "low": 0.46, "high": 0.54}
    results["false_assertions"]["ppo_ptx"] |= {"mean": 0.4, "low": 0.35, "high": 0.45}
    results["perplexity"]["ppo"] = 5.0
    write_json(path, results)
    shown = _english(run)
    assert "PPO-ptx is preferred to SFT on 50 % [46, 54] of 520 prompts: the interval holds 50 %" in shown
    assert "from 36 % [31, 41] with SFT to 40 % [35, 45] with PPO-ptx: no fewer" in shown
    assert "PPO does not raise it (5.00)" in shown


def _english(run: Path) -> str:
    shown = " ".join(read(build_report(run)).text["en"])
    return shown.replace("\u00a0", " ").replace("\u202f", " ")


def test_the_reward_model_as_judge_is_said_to_be_no_evidence(make_run: Callable[..., Path]) -> None:
    assert "no evidence" in _english(make_run(village=False))


def test_an_unfinished_run_says_so(make_run: Callable[..., Path]) -> None:
    assert "Not finished yet: select." in _english(make_run(steps=6))


def test_the_page_is_a_function_of_the_folder(make_run: Callable[..., Path]) -> None:
    run = make_run()
    first = build_report(run).read_bytes()
    assert build_report(run).read_bytes() == first


def test_the_command_writes_page_and_figures(make_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run()
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"Report: {run / 'report.html'}\n"
    assert main(["report", str(run), "--json"]) == 0
    assert capsys.readouterr().out == (run / "summary.json").read_text(encoding="utf-8")
    assert main(["report", str(run.parent)]) == 2
    assert "not the folder of a run" in capsys.readouterr().err
