"""`preceptor measure repetition`: files of every form, a model, and bad input."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.cli.main import main
from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Prompt
from preceptor.evaluate.judged_texts import Judge
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.models.causal import build_llama, save_model
from preceptor.tokenizer.chat import encode_answer, encode_prompt
from preceptor.tokenizer.train import train_bpe

LOOP = "the cat sat down and then " * 6
PLAIN = "Nothing in this line of text comes twice, or so it should be."


def measured(capsys: pytest.CaptureFixture, *arguments: Any) -> dict:
    assert main(["measure", "repetition", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("rows", [
    [{"text": LOOP}, {"text": PLAIN}], [{"response": LOOP}, {"response": {"text": PLAIN}}],
    [{"prompt": "p", "responses": [LOOP, {"text": PLAIN}]}],
    [{"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": text}]} for text in (LOOP, PLAIN)]
], ids=["text", "response", "responses", "messages"])
def test_a_file_of_answers(capsys: pytest.CaptureFixture, tmp_path: Path, rows: list[dict]) -> None:
    path = tmp_path / "answers.jsonl"
    write_jsonl(path, rows)
    found = measured(capsys, path)
    assert found["words"]["texts"] == 2 and found["words"]["loop_rate"] == 0.5
    assert found["words"]["seq_rep_4"] == pytest.approx((1 - 6 / 33) / 2)
    assert found["same_prompt"]["prompts"] == (1 if "responses" in rows[0] else 0)


def test_a_plain_file_and_the_table(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    path = tmp_path / "answers.txt"
    path.write_text(f"{LOOP}\n\n{PLAIN}\n\n好的好的好的好的好的\n", encoding="utf-8")
    assert measured(capsys, path)["words"]["texts"] == 3
    assert main(["measure", "repetition", str(path)]) == 0
    assert "loop_rate" in (shown := capsys.readouterr().out) and "across prompts" in shown


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_bpe(["the cat sat on a mat"] * 20, 300, 1000)
    torch.manual_seed(0)
    save_model(build_llama(vocabulary=len(tokenizer), width=16, layers=1, heads=2, feed_forward=32, context=64,
                           end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id), tokenizer, folder / "model")
    return folder


def test_a_model_on_prompts_and_texts(capsys: pytest.CaptureFixture, model: Path, tmp_path: Path) -> None:
    prompts, texts = tmp_path / "prompts.jsonl", tmp_path / "texts.txt"
    write_jsonl(prompts, [{"id": f"p{n}", "messages": [{"role": "user", "content": f"cat {n}"}]} for n in range(3)])
    texts.write_text("the cat sat on a mat " * 20, encoding="utf-8")
    found = measured(capsys, model, "--prompts", prompts, "--texts", texts, "--set", "max_tokens=12",
                     "--set", "no_repeat_ngram_size=2")
    assert found["model_tokens"]["texts"] == 3 and found["model_tokens"]["rep_2"] == 0
    assert found["the_text_itself"]["rep_128"] > 0.5 and found["the_text_itself"]["accuracy"] == 1
    assert found["predictions"]["perplexity"] > 1 and 0 < found["predictions"]["isotropy"] < 2
    assert found["predictions"]["places"] == found["the_text_itself"]["places"]


def test_answers_are_judged_by_another_model(capsys: pytest.CaptureFixture, model: Path, tmp_path: Path) -> None:
    """The model itself as the judge: coherence is then the mean of the log-probabilities that its answers carry."""
    prompts, texts = tmp_path / "prompts.jsonl", tmp_path / "texts.txt"
    write_jsonl(prompts, [{"id": f"p{n}", "messages": [{"role": "user", "content": f"cat {n}"}]} for n in range(20)])
    texts.write_text("\n\n".join(f"the cat sat on a mat {n}" for n in range(20)), encoding="utf-8")
    found = measured(capsys, model, "--prompts", prompts, "--texts", texts, "--reference", model, "--set",
                     "max_tokens=6")["quality"]
    judge = Judge(model)
    asked = read_jsonl(prompts, Prompt)
    answers = LocalDecoder(judge.model, judge.tokenizer).answers(
        [Request(prompt, Sampling(temperature=0, max_tokens=6), n) for n, prompt in enumerate(asked)])
    means = []
    for prompt, answer in zip(asked, answers):
        written = encode_answer(judge.tokenizer, prompt, answer.response.text)[:judge.context - 1]
        before = encode_prompt(judge.tokenizer, prompt)[-(judge.context - len(written)):]
        tokens, start = before + written, len(before)
        loss = judge.model(torch.tensor([tokens]), labels=torch.tensor([[-100] * start + tokens[start:]])).loss
        means.append(-float(loss.detach()))
    assert found["coherence"] == pytest.approx(sum(means) / len(means), abs=1e-4)
    assert 0 <= found["mauve"] < 1 and found["human_texts_read"] == 20
    write_jsonl(prompts, [asked[0]])
    few = measured(capsys, model, "--prompts", prompts, "--reference", model, "--set", "max_tokens=6")["quality"]
    assert "mauve" not in few and few["answers_read"] <= 1


@pytest.mark.parametrize("content, said", [
    ('{"words": "x"}', "Line 1 of"), ('{"text": 3}', "holds no text to measure"), ("{", "not valid JSON"),
    ('{"text": " "}', "holds no text"), ('{"responses": []}', "holds no text"), ("[]", "not a JSON object")])
def test_bad_files_are_told(capsys: pytest.CaptureFixture, tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(content + "\n", encoding="utf-8")
    assert main(["measure", "repetition", str(path)]) == 2
    assert said in capsys.readouterr().err


def test_other_bad_input_is_told(capsys: pytest.CaptureFixture, model: Path, tmp_path: Path) -> None:
    def refused(*arguments: Any) -> str:
        assert main(["measure", "repetition", *map(str, arguments)]) == 2
        return capsys.readouterr().err

    binary = tmp_path / "x.bin"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "There is no file or folder" in refused(tmp_path / "none")
    assert "cannot be read" in refused(binary)
    assert "nothing is given" in refused(model)
    assert "has no option 'top_q'" in refused(model, "--prompts", binary, "--set", "top_q=1")
    assert "name=value" in refused(model, "--prompts", binary, "--set", "top_p")
    assert "must be a number" in refused(model, "--prompts", binary, "--set", "top_p=much")
    assert "are for models" in refused(binary, "--texts", binary)
    assert "cannot be loaded as a model" in refused(tmp_path, "--texts", binary)
