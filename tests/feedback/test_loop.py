"""The loop closes: what is labelled in the store is what the next reward model learns from."""

import json
import random
from pathlib import Path

import pytest

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Comparison, Conversation, Prompt, Response
from preceptor.feedback.assign import left_to_do, next_item
from preceptor.feedback.judgements import Judgement, submit
from preceptor.feedback.labelers import add_labeler, exclude
from preceptor.feedback.machines import in_order, rank_with
from preceptor.feedback.records import add_comparisons, add_items, comparisons, set_gold
from preceptor.feedback.snapshot import fingerprint, take_snapshot
from preceptor.feedback.sources import fill_from_run, read_answers
from preceptor.feedback.store import Store, open_store
from preceptor.recipe.load import load_recipe
from preceptor.recipe.runner import run_recipe
from preceptor.run.errors import UserError
from preceptor.run.files import hash_path
from preceptor.run.log import read_log
from tests.feedback.conftest import asked

WORDS = ["bado", "demi", "firu", "gona", "kado", "lemi"]


def _rankings(count: int, start: int = 0) -> list[Comparison]:
    """Labelers who like answers with many of one word."""
    found = []
    for n in range(start, start + count):
        draw = random.Random(n)
        prompt = Prompt(f"p{n}", [{"role": "user", "content": draw.choice(WORDS)}])
        said = [Response(" ".join(draw.choices(WORDS, k=4)) + f" {n}.{k}") for k in range(3)]
        order = in_order([float(one.text.count("bado")) for one in said])
        found.append(Comparison(f"c{n}", prompt, said, order, f"l{n % 2}", "program"))
    return found


def test_labels_given_on_the_page_change_the_next_reward_model(
        corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = [Conversation(f"d{n}", [{"role": "user", "content": "bado"}, {"role": "assistant", "content": word}])
             for n, word in enumerate(WORDS)]
    write_jsonl(tmp_path / "shown.jsonl", shown)
    labels = tmp_path / "feedback.sqlite"
    store = open_store(labels)
    add_comparisons(store, _rankings(24))
    recipe = tmp_path / "loop.yaml"
    recipe.write_text(f"""
steps:
  - {{name: tokenizer, stage: tokenizer, needs: {{corpus: {corpus}}}, options: {{vocabulary: 300}}}}
  - name: base
    stage: pretrain
    needs: {{corpus: {corpus}, tokenizer: tokenizer}}
    options: {{width: 16, layers: 1, heads: 2, feed_forward: 32, context: 64, rows: 4, steps: 4}}
  - name: reward
    stage: reward
    needs: {{model: base, comparisons: {labels}, demonstrations: {tmp_path / "shown.jsonl"}}}
    options: {{rows: 4}}
""")

    def run(again_from: str | None = None) -> str:
        run_recipe(load_recipe(str(recipe)), tmp_path / "run", again_from)
        assert read_log(tmp_path / "run" / "log.jsonl")["reward"]
        return hash_path(tmp_path / "run" / "02-reward" / "model" / "model.safetensors")

    first = run()
    read = {side: read_jsonl(tmp_path / f"run/02-reward/comparisons-snapshot/comparisons.{side}.jsonl", Comparison)
            for side in ("train", "valid")}
    assert len(read["train"]) + len(read["valid"]) == 24 and {one.labeler for one in read["train"]} == {"l0", "l1"}
    assert run() == first and "reward         done" in capsys.readouterr().err  # nothing new, nothing redone
    add_items(store, [(one.prompt, one.responses) for one in _rankings(12, start=24)])
    add_labeler(store, "ann")
    while held := next_item(store, "ann"):
        submit(store, "ann", held.item, Judgement(in_order([one.text.count("bado") for one in held.responses])))
    capsys.readouterr()
    assert run("reward") != first
    said = capsys.readouterr().err
    assert "base           done" in said and "reward         redone" in said and "labels: " in said
    train = read_jsonl(tmp_path / "run/02-reward/comparisons-snapshot/comparisons.train.jsonl", Comparison)
    assert sum(one.labeler == "ann" for one in train) >= 8
    exclude(store, "ann", True, "root")
    assert run() == first  # and without them it is again what it was
    store.close()


def test_a_snapshot_holds_each_label_once_and_keeps_held_out_prompts_apart(small_store: Store, tmp_path: Path) -> None:
    place = tmp_path / "small.sqlite"
    held = _rankings(6)
    add_comparisons(small_store, held[:4], split="valid")
    heard = [Comparison(f"h{n}", one.prompt, one.responses, one.ranking[::-1], "stranger", "person")
             for n, one in enumerate(held[:4])]
    add_comparisons(small_store, heard, split="heldout")
    leaked = Comparison("leak", held[0].prompt, held[0].responses, held[0].ranking, "l9", "person")
    add_comparisons(small_store, [*held[4:], leaked])
    counts = take_snapshot(place, tmp_path / "snapshot")
    assert counts == {"train": 2, "valid": 4, "heldout": 4, "left_out": 1}
    assert read_jsonl(tmp_path / "snapshot/comparisons.heldout.jsonl", Comparison) == heard
    assert read_jsonl(tmp_path / "snapshot/comparisons.train.jsonl", Comparison) == held[4:]


def test_the_fingerprint_follows_the_labels_and_nothing_else(small_store: Store, tmp_path: Path) -> None:
    place = tmp_path / "small.sqlite"
    before = fingerprint(place)
    keys = add_items(small_store, asked(3), overlap=2)
    add_labeler(small_store, "ann")
    held = next_item(small_store, "ann")
    assert fingerprint(place) == before
    submit(small_store, "ann", held.item, Judgement([[0, 1, 2]]))
    after = fingerprint(place)
    assert after != before and len(keys) == 3
    exclude(small_store, "ann", True, "root")
    assert fingerprint(place) == before
    with pytest.raises(UserError, match="no rankings to train on"):
        take_snapshot(place, tmp_path / "none")
    with pytest.raises(UserError, match="no store"):
        fingerprint(tmp_path / "nothing.sqlite")


class Longest:
    """A judge who likes long answers."""

    def score(self, prompts: list[Prompt], responses: list[Response]) -> list[float]:
        return [float(len(response.text)) for response in responses]


def test_a_judge_ranks_in_the_same_store_under_its_own_name(small_store: Store) -> None:
    said = [Response("aa"), Response("a"), Response("bb")]
    add_items(small_store, [(asked(1)[0][0], said)], overlap=1)
    assert rank_with(small_store, Longest(), "longest", "program") == 1
    assert rank_with(small_store, Longest(), "longest", "program") == 0
    [one] = comparisons(small_store)
    assert [{one.responses[i].text for i in group} for group in one.ranking] == [{"aa", "bb"}, {"a"}]
    assert (one.labeler, one.kind) == ("longest", "program") and left_to_do(small_store, "ann") == 1
    assert rank_with(small_store, Longest(), "also", "model") == 1
    set_gold(small_store, [one])
    with pytest.raises(UserError, match="not a 'person'"):
        rank_with(small_store, Longest(), "x", "person")


def test_a_run_fills_the_store_once(small_store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "04-comparisons"
    write_jsonl(folder / "comparisons.train.jsonl", _rankings(5))
    write_jsonl(folder / "comparisons.valid.jsonl", _rankings(2, start=5))
    for _ in range(2):
        assert fill_from_run(small_store, tmp_path / "run", overlap=2, who="test") == 7
    assert len(list(comparisons(small_store))) == 7 and left_to_do(small_store, "ann") == 7
    assert len(list(comparisons(small_store, split="valid"))) == 2


@pytest.mark.parametrize("shape", ["single", "ranked"])
def test_answers_of_any_model_are_read(tmp_path: Path, shape: str) -> None:
    [(prompt, said)] = asked(1)
    single = [{"prompt": prompt.to_dict(), "model": f"m{n}", "response": {"text": one.text}} for n, one in
              enumerate(said)]
    rows = {"single": single, "ranked": [{"prompt": "What is 0?", "candidates": [one.text for one in said]}]}[shape]
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    [(asked_for, answers)] = read_answers(path)
    assert asked_for.messages == prompt.messages and [one.text for one in answers] == [one.text for one in said]
    assert shape == "ranked" or [one.model for one in answers] == ["m0", "m1", "m2"]
    path.write_text(json.dumps(single[0]) + "\n")
    with pytest.raises(UserError, match="two different answers"):
        read_answers(path)
