"""Filtering: what says the same again goes, everything else stays to the byte; answers are written anew."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.cli.main import main
from preceptor.data.jsonl import read_rows, write_jsonl
from preceptor.data.records import Prompt, Response
from preceptor.generate.decoder import Answer, Request, Sampling
from preceptor.generate.distinct import distinct_answers
from preceptor.metrics.filtering import alike_pairs, distinct, without_repeated_sentences

LONG = "The old keeper of the tower lit the lamp every evening at six."
NEAR = "The old keeper of the tower lit the lamp every evening at six!"
OTHER = "Nobody in the village knew where the road behind the mill went."


def test_sentences_said_again_go_and_the_rest_stays_to_the_byte() -> None:
    text = f"{LONG}  {OTHER}\n\n{NEAR} Yes. Yes.\n  {LONG}"
    assert without_repeated_sentences(text) == (f"{LONG}  {OTHER}\n\nYes. Yes.\n  ", 2)


def test_chinese_sentences_need_no_spaces() -> None:
    one, other = "守塔的老人每天傍晚六点点亮那盏灯。", "村里没有人知道磨坊后面的路通向哪里。"
    text = f"{one}{other}{one}好。好。"
    found, removed = without_repeated_sentences(text)
    assert removed == 1 and found == f"{one}{other}好。好。"


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab .!?\n。…好", max_size=60))
def test_nothing_is_lost_but_what_is_counted(text: str) -> None:
    found, removed = without_repeated_sentences(text)
    assert (found == text) == (removed == 0)
    assert without_repeated_sentences(found) == (found, 0)


def test_the_first_of_like_texts_stays() -> None:
    assert distinct([LONG, OTHER, NEAR, LONG, "x"]) == [0, 1, 4] and distinct([]) == []


def test_embeddings_can_say_what_is_alike() -> None:
    vectors = {"a": [1.0, 0.0], "b": [0.9, 0.1], "c": [0.0, 1.0], "d": [0.0, 0.0]}

    def embed(texts: list[str]) -> np.ndarray:
        return np.array([vectors[text] for text in texts])

    assert alike_pairs(list("acbd"), 0.9, embed) == [(0, 2)] and alike_pairs([], 0.9, embed) == []
    assert distinct(list("acbd"), 0.9, embed) == [0, 1, 3]


class Parrot:
    """Says one sentence whatever it is asked, until its seed is large enough."""

    def answers(self, requests: list[Request]) -> list[Answer]:
        texts = [LONG if request.seed < 7000 else f"{OTHER} {request.seed} {'xyzw' * (request.seed % 97)}"
                 for request in requests]
        return [Answer(Response(text), [], []) for text in texts]


def test_like_answers_to_one_prompt_are_written_anew() -> None:
    def ask(name: str, seed: int, temperature: float = 1.0) -> Request:
        prompt = Prompt(id=name, messages=[{"role": "user", "content": name}])
        return Request(prompt, Sampling(temperature=temperature), seed)

    found = distinct_answers(Parrot(), [ask("p", 1), ask("p", 2), ask("q", 3), ask("q", 4, 0.0)])
    assert [answer.response.text[:3] for answer in found.answers] == ["The", "Nob", "The", "The"]
    assert found.rewritten == 1 and found.alike == [3], "greedy answers cannot be drawn again"


def test_the_command_filters_a_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_jsonl(source, [{"id": "a", "text": f"{LONG} {OTHER} {LONG}"}, {"id": "b", "text": OTHER * 2},
                         {"id": "c", "text": f"{LONG} {OTHER} {NEAR}"}])
    assert main(["filter", "repetition", str(source), str(target)]) == 0
    assert [row for _, row in read_rows(target)][0] == {"id": "a", "text": f"{LONG} {OTHER} "}
    assert "3 texts: 1 were near-duplicates" in capsys.readouterr().out
    source.write_text(json.dumps({"id": "a"}) + "\n")
    assert main(["filter", "repetition", str(source), str(target)]) == 2
    assert "has no 'text'" in capsys.readouterr().err
    assert main(["filter", "repetition", str(source), str(target), "--threshold", "2"]) == 2
    assert main(["filter", "repetition", str(tmp_path / "none"), str(target)]) == 2
