"""Quality, mixing and the choice of a threshold, against brute force and closed forms."""

import random
from collections import Counter
from pathlib import Path

import pytest
from sklearn.metrics import f1_score

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Annotated
from preceptor.metrics.calibration import Sureness
from preceptor.run.errors import UserError
from preceptor.run.log import Log
from preceptor.run.step import Step
from preceptor.understand.annotations import run
from preceptor.understand.options import AnnotationsOptions
from preceptor.understand.router import ALWAYS, NEVER, Router, choose_threshold, mixed
from preceptor.understand.scores import details, difference, halves, quality
from preceptor.understand.task import Reading, Task


def test_quality_is_accuracy_for_labels_and_f1_for_spans_and_fields() -> None:
    labels = [Annotated("t", str(n), label="ab"[n % 2]) for n in range(6)]
    guesses = [Reading(0.0, label=label) for label in "abaabb"]
    task = Task("classify", ("a", "b"))
    assert quality(task, labels, guesses).mean == pytest.approx(4 / 6)
    gold, said = [one.label for one in labels], [one.label for one in guesses]
    found = details(task, labels, guesses)
    assert found["macro"]["f1"] == pytest.approx(f1_score(gold, said, average="macro"))
    text = Annotated("Nora and Nora", "r", spans=[["PER", 0, 4], ["PER", 9, 13]])
    reading = Reading(0.0, marks=[("PER", 0, 4), ("LOC", 9, 13)])
    assert Task("tag", ("PER", "LOC")).counts(text, reading) == (1, 2, 2)
    assert Task("extract", ("PER", "LOC")).counts(text, reading) == (1, 2, 1)  # a field's value, wherever it stands
    assert not Task("extract", ("PER",)).right(text, reading)
    assert Task("tag", ("PER", "LOC")).shown("Nora and Nora", reading)["spans"][0]["text"] == "Nora"
    assert Task("extract", ("PER", "LOC")).shown("Nora and Nora", reading) == {"facts": {"PER": ["Nora"],
                                                                                         "LOC": ["Nora"]}}
    both = details(Task("tag", ("PER", "LOC")), [text], [reading])
    assert both["by_label"]["PER"]["recall"] == 0.5 and both["by_label"]["LOC"]["precision"] == 0


def outcomes(seed: int, count: int = 60) -> tuple[list[float], tuple, tuple]:
    """Probabilities, and for both models 2 right and read + wanted of each text."""
    draw = random.Random(seed)
    sure = [draw.choice([0.1, 0.4, 0.7, 0.9, draw.random()]) for _ in range(count)]
    cheap, dear = [], []
    for value in sure:
        wanted = draw.randint(0, 3)
        for counts, chance in ((cheap, value), (dear, draw.choice([0.5, 0.85]))):
            right = sum(draw.random() < chance for _ in range(wanted))
            counts.append((2.0 * right, float(wanted + right + draw.randint(0, 1))))
    return sure, tuple(map(list, zip(*cheap))), tuple(map(list, zip(*dear)))


def ratio(pairs: list[tuple[float, float]]) -> float:
    return sum(top for top, _ in pairs) / sum(bottom for _, bottom in pairs)


@pytest.mark.parametrize("seed", range(12))
def test_the_threshold_is_the_least_of_all_that_are_good_enough(seed: int) -> None:
    sure, cheap, dear = outcomes(seed)
    best = max(ratio(list(zip(*cheap))), ratio(list(zip(*dear))))

    def by_hand(threshold: float) -> tuple[float, float]:
        ask = [value < threshold for value in sure]
        picked = [two if asks else one for asks, one, two in zip(ask, zip(*cheap), zip(*dear))]
        return ratio(picked), sum(ask) / len(ask)

    for tolerance in (0.0, 0.01, 0.2):
        found = choose_threshold(sure, cheap, dear, tolerance)
        counts, asked = mixed(sure, found, cheap, dear)
        assert (ratio(list(zip(*counts))), asked) == pytest.approx(by_hand(found))
        assert by_hand(found)[0] >= (1 - tolerance) * best - 1e-12
        smaller = [by_hand(value + 1e-9) for value in {0.0, *sure} if value + 1e-9 < found]
        assert all(value < (1 - tolerance) * best for value, _ in smaller)
    assert difference(dear, dear).high == 0 == difference(cheap, cheap).low


def test_who_is_better_alone_is_never_or_always_asked() -> None:
    good, bad = ([2.0, 2.0, 2.0], [2.0, 2.0, 2.0]), ([0.0, 0.0, 0.0], [2.0, 2.0, 2.0])
    assert choose_threshold([0.2, 0.5, 0.9], good, bad, 0.0) == NEVER
    assert mixed([0.2, 0.5, 0.9], choose_threshold([0.2, 0.5, 0.9], bad, good, 0.0), bad, good) == (good, 1.0)


class Fixed:
    """Reads each text as its own name, as surely as the text is long."""

    kind, cut = "fixed", 0

    def __init__(self, name: str) -> None:
        self.name, self.asked = name, []

    def read(self, texts: list[str]) -> list[Reading]:
        self.asked += texts
        return [Reading(float(len(text)), label=self.name) for text in texts]


def test_a_router_asks_the_other_model_only_where_the_first_is_not_sure() -> None:
    cheap, dear = Fixed("cheap"), Fixed("dear")
    router = Router(cheap, dear, ("cheap", "dear"), Sureness(1.0, -2.0), 0.5)
    found = router.read(["a", "bbbb", "ccc", ""])
    assert [one.reading.label for one in found] == [one.model for one in found] == ["dear", "cheap", "cheap", "dear"]
    assert dear.asked == ["a", ""] and router.asked == 2 and found[1].sure == pytest.approx(0.8808, abs=1e-4)
    assert found[0].sure is None
    assert [one.model for one in Router(cheap, dear, ("cheap", "dear"), Sureness(1.0, 0.0), ALWAYS).read(["d"])] == [
        "dear"] and "d" not in cheap.asked


def annotated(tmp_path: Path, rows: dict[str, list[Annotated]], **options: object) -> Step:
    for name, records in rows.items():
        write_jsonl(tmp_path / f"{name}.jsonl", [{key: value for key, value in one.to_dict().items() if key != "id"}
                                                 for one in records])
    folder = tmp_path / "data"
    folder.mkdir()
    step = Step("data", folder, {name: tmp_path / f"{name}.jsonl" for name in rows},
                AnnotationsOptions(**options), 3, Log(tmp_path / "log.jsonl", "data", 1))
    run(step)
    return step


def different(count: int, seed: int, **content: object) -> list[Annotated]:
    draw = random.Random(seed)
    return [Annotated("".join(draw.choices("abcdefghij klmnop", k=40)).strip() or "x", "x",
                      **{name: value(n) if callable(value) else value for name, value in content.items()})
            for n in range(count)]


def test_sides_keep_the_labels_share_nothing_and_hold_every_record(tmp_path: Path) -> None:
    records = different(90, 0, label=lambda n: "rare" if n % 9 == 0 else "common")
    copies = [Annotated(one.text + ".", "x", label=one.label) for one in records[:20]]
    step = annotated(tmp_path, {"records": [*records, *copies]}, task="classify", held_out=0.2)
    sides = {name: read_jsonl(step.folder / f"{name}.jsonl", Annotated) for name in ("train", "validation", "test")}
    assert sum(map(len, sides.values())) == 110
    stems = {name: {one.text.rstrip(".") for one in side} for name, side in sides.items()}
    assert not stems["train"] & stems["test"] and not stems["validation"] & stems["test"]
    for name in ("validation", "test"):
        assert 10 <= len(sides[name]) <= 30 and Counter(one.label for one in sides[name])["rare"] in range(1, 6)


def test_given_sides_stay_and_what_resembles_them_leaves_training(tmp_path: Path,
                                                                  capsys: pytest.CaptureFixture[str]) -> None:
    spans = [["X", 0, 2]]
    records, test, validation = (different(count, seed, spans=spans) for count, seed in ((30, 1), (6, 2), (5, 3)))
    odd = Annotated("Newton saw New York", "x", spans=[["Y", 0, 3], ["X", 11, 14]])
    step = annotated(tmp_path, {"records": [*records, test[0], odd], "test": test, "validation": validation},
                     task="tag")
    texts = {name: [one.text for one in read_jsonl(step.folder / f"{name}.jsonl", Annotated)]
             for name in ("train", "validation", "test")}
    assert sorted(texts["test"]) == sorted(one.text for one in test) and len(texts["train"]) == 31
    assert test[0].text not in texts["train"]
    said = capsys.readouterr().err
    assert "1 records left out of training: too like the held-out ones" in said


def test_no_more_records_of_a_file_are_used_than_asked_for(tmp_path: Path) -> None:
    records = different(40, 4, label=lambda n: str(n % 2))
    step = annotated(tmp_path, {"records": records, "test": different(9, 5, label="0")}, task="classify", most=20,
                     held_out=0.25)
    assert [len(read_jsonl(step.folder / f"{name}.jsonl", Annotated)) for name in ("train", "validation", "test")] == [
        15, 5, 9]


@pytest.mark.parametrize(("records", "said"), [
    (different(9, 1, label="a"), "are labelled 'a'"), (different(9, 1, spans=[]), "has a span"),
    (different(9, 1, spans=[["a: b", 0, 1]]), "begin a line"),
])
def test_records_that_teach_nothing_are_refused(tmp_path: Path, records: list[Annotated], said: str) -> None:
    with pytest.raises(UserError, match=said):
        annotated(tmp_path, {"records": records}, task="classify" if records[0].label else "tag")


def test_halves_count_what_each_text_adds() -> None:
    task = Task("tag", ("X",))
    records = [Annotated("ab", "r", spans=[["X", 0, 1]]), Annotated("ab", "s", spans=[])]
    assert halves(task, records, [Reading(0.0, marks=[("X", 0, 1)]), Reading(0.0)]) == ([2.0, 0.0], [2.0, 0.0])
