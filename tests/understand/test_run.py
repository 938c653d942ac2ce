"""Both kinds of models on one task from the same records: what they learn, what they say, and what is measured."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.cli.main import main
from preceptor.data.jsonl import read_jsonl, read_rows
from preceptor.data.records import Annotated, Conversation, Prompt
from preceptor.evaluate.suites.examinee import continuation_likelihoods
from preceptor.metrics.intervals import Interval
from preceptor.run.errors import UserError
from preceptor.run.files import read_json, write_json
from preceptor.tokenizer.chat import encode_answer, encode_prompt
from preceptor.understand import compare
from preceptor.understand.answerers import load_answerer
from preceptor.understand.options import CompareOptions
from preceptor.understand.router import load_router
from preceptor.understand.task import Task, read_task
from tests.understand.conftest import folder_of


def side(run: Path, name: str) -> list[Annotated]:
    return read_jsonl(folder_of(run, "data") / f"{name}.jsonl", Annotated)


def answerer(run: Path, step: str, rows: int = 8) -> Any:
    return load_answerer(folder_of(run, step), read_task(folder_of(run, "data")), rows, 24)


def test_both_learn_to_label_from_the_same_records(classified: Path) -> None:
    results = read_json(folder_of(classified, "compare") / "results.json")
    assert all(model["quality"]["low"] > 0.6 for model in results["models"].values()), results["models"]
    assert [model["kind"] for model in results["models"].values()] == ["encoder", "language_model"]
    shown = read_jsonl(folder_of(classified, "data") / "demonstrations.train.jsonl", Conversation)
    assert [(one.messages[0]["content"], one.messages[1]["content"]) for one in shown] == [
        (one.text, one.label) for one in side(classified, "train")]
    texts = [one.text for name in ("train", "validation", "test") for one in side(classified, name)]
    assert len(set(texts)) == len(texts)


def test_an_encoder_learns_entities_in_both_languages(tagged: Path) -> None:
    results = read_json(folder_of(tagged, "compare") / "results.json")
    encoder = results["models"]["encoder"]
    assert encoder["quality"]["mean"] > 0.8 and min(
        one["f1"] for one in encoder["details"]["by_label"].values()) > 0.6
    rows = dict(read_rows(folder_of(tagged, "compare") / "answers.jsonl")).values()
    for row in rows:
        for model in ("gold", "encoder", "language_model"):
            assert all(span["text"] == row["text"][span["start"]:span["end"]] for span in row[model]["spans"])
    chinese = [row for row in rows if any(span["text"] in ("诺拉", "北京") for span in row["gold"]["spans"])]
    right = sum(span in row["encoder"]["spans"] for row in chinese for span in row["gold"]["spans"])
    assert right / sum(len(row["gold"]["spans"]) for row in chinese) > 0.7


def test_a_language_models_label_is_the_likeliest_of_all_and_its_probability_theirs(classified: Path) -> None:
    model = answerer(classified, "language")
    texts = [one.text for one in side(classified, "test")[:5]]
    for text, found in zip(texts, model.read(texts), strict=True):
        asked = Prompt("p", [{"role": "user", "content": text}])
        pairs = [(encode_prompt(model.tokenizer, asked), encode_answer(model.tokenizer, asked, label))
                 for label in model.task.labels]
        apart = [value for value, _ in continuation_likelihoods(model.model, pairs, model.tokenizer.pad_token_id)]
        wanted = torch.tensor(apart, dtype=torch.double).log_softmax(0)
        assert found.label == model.task.labels[int(wanted.argmax())]
        assert found.log_probability == pytest.approx(float(wanted.max()), abs=1e-4)


@pytest.mark.parametrize("step", ["encoder", "language"])
@pytest.mark.parametrize("run", ["classified", "tagged"])
def test_a_reading_depends_on_its_text_alone(run: str, step: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(run)
    texts = [*(one.text for one in side(folder, "test")[:4]), "诺拉 went to York and to Oslo " * 2]
    together, alone = answerer(folder, step, rows=3).read(texts), answerer(folder, step, rows=1)
    for text, found in zip(texts, together):
        [single] = alone.read([text])
        assert (single.label, list(single.marks)) == (found.label, list(found.marks))
        assert single.log_probability == pytest.approx(found.log_probability, abs=1e-3)
    assert alone.read(["   "])[0].marks == [] or run == "classified"


def test_long_texts_are_read_in_parts_by_taggers_and_counted_by_others(classified: Path, tagged: Path) -> None:
    long = " ".join(["went"] * 90 + ["Nora"])
    [reading] = answerer(tagged, "encoder").read([long])
    assert reading.log_probability < 0 and all(end <= len(long) for _, _, end in reading.marks)
    for step in ("encoder", "language"):
        model = answerer(classified, step)
        assert model.read([long])[0].label in model.task.labels and model.cut == 1


def test_the_router_of_a_run_does_what_was_measured(classified: Path) -> None:
    """At the threshold that the validation records chose, and at one of the curve's, on the test texts."""
    folder = folder_of(classified, "compare")
    results, records = read_json(folder / "results.json"), side(classified, "test")
    router, task = load_router(folder)
    points = [results["router"], results["router"]["curve"][len(results["router"]["curve"]) // 2]]
    for point in points:
        router.threshold, router.asked = point["threshold"], 0
        found = router.read([record.text for record in records])
        assert router.asked / len(records) == pytest.approx(point["asked"])
        right = sum(task.right(record, one.reading) for record, one in zip(records, found))
        assert right / len(records) == pytest.approx(point["quality"])
        assert all((one.sure is None) == (one.model != results["cheaper"]) for one in found)


def test_what_is_said_of_cost_is_one_arithmetic(classified: Path) -> None:
    results = read_json(folder_of(classified, "compare") / "results.json")
    models, router = results["models"], results["router"]
    for model in models.values():
        assert model["cost_per_thousand"]["mean"] == pytest.approx(1000 / 3600 / model["requests_per_second"]["mean"])
        assert model["latency_ms"]["low"] <= model["latency_ms"]["mean"] <= model["latency_ms"]["high"]
    cheap = models[results["cheaper"]]
    [dear] = [model for name, model in models.items() if name != results["cheaper"]]
    assert results["faster"] == pytest.approx(
        dear["cost_per_thousand"]["mean"] / cheap["cost_per_thousand"]["mean"]) and results["faster"] >= 1
    never, always = router["curve"][0], router["curve"][-1]
    assert (never["asked"], always["asked"]) == (0, 1)
    assert never["quality"] == pytest.approx(cheap["quality"]["mean"])
    assert always["quality"] == pytest.approx(dear["quality"]["mean"])
    assert never["cost_per_thousand"] == pytest.approx(cheap["cost_per_thousand"]["mean"])
    assert always["cost_per_thousand"] == pytest.approx(dear["cost_per_thousand"]["mean"])


def test_compare_and_route_on_the_command_line(classified: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "memory", lambda *arguments: Interval(100.0, 90.0, 110.0, 2))
    models = [str(folder_of(classified, step)) for step in ("encoder", "language")]
    records = str(folder_of(classified, "data"))
    assert main(["compare", *models, "--records", records, "--out", str(tmp_path / "out"), "--price", "3.6"]) == 0
    said = capsys.readouterr().out
    assert "accuracy (%)" in said and "Recommended: " in said and "Router: asks " in said
    assert read_json(tmp_path / "out" / "results.json")["price"] == 3.6
    monkeypatch.setattr(sys, "stdin", io.StringIO("the good bees\n\n坏 bees\n"))
    assert main(["route", str(tmp_path / "out")]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == ["the good bees", "坏 bees"]
    assert all(line["label"] in ("yes", "no") and ("sure" in line) <= (0 <= line.get("sure", 0) <= 1) for line in lines)
    assert main(["route", str(tmp_path / "out"), str(tmp_path / "none.txt")]) == 2
    assert main(["route", records]) == 2
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"gr\xfcn\n"), encoding="utf-8"))
    assert main(["route", str(tmp_path / "out")]) == 2 and "not UTF-8" in capsys.readouterr().err
    for wrong, cause in ((["--rows", "0"], "rows 0"), (["--price", "nan"], "price of nan")):
        assert main(["compare", *models, "--records", records, "--out", str(tmp_path / "no"), *wrong]) == 2
        assert cause in capsys.readouterr().err and not (tmp_path / "no").exists()
    with pytest.raises(UserError, match="repeats 1"):
        compare.check_options(CompareOptions(repeats=1))
    assert main(["compare", models[0], records, "--records", records, "--out", str(tmp_path / "no")]) == 2


def test_no_epochs_leave_the_encoder_as_it_was(classified: Path, tmp_path: Path) -> None:
    from preceptor.models.encoder import start_encoder
    from tests.vision.conftest import run_stage
    base, data = folder_of(classified, "encoder_base"), folder_of(classified, "data")
    folder = run_stage("understand", tmp_path / "none", {"model": base, "records": data}, epochs=0)
    fresh = start_encoder(base / "model", read_task(data).classes, 0, problem="single_label_classification")
    found = load_answerer(folder, read_task(data), 8, 24).model.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in fresh.state_dict().items())


def test_an_encoder_of_another_task_is_refused(classified: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not those"):
        load_answerer(folder_of(classified, "encoder"), Task("tag", ("yes", "no")), 8, 24)
    with pytest.raises(UserError, match="no annotations"):
        read_task(tmp_path)


def test_a_process_of_its_own_tells_its_memory(tagged: Path) -> None:
    given = {"folder": str(folder_of(tagged, "encoder")), "records": str(folder_of(tagged, "data")),
             "texts": ["Nora went to Oslo"], "rows": 1, "max_tokens": 8}
    done = subprocess.run([sys.executable, "-m", "preceptor.understand.costs"], input=json.dumps(given),
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 30 < float(done.stdout.splitlines()[-1]) < 20_000


def test_a_masked_checkpoint_with_a_pooler_to_be_drawn_is_taken(tmp_path: Path) -> None:
    """BERT's classifier wants a pooler, which masked pretraining does not make: it is drawn from the seed."""
    from transformers import BertConfig, BertForMaskedLM

    from preceptor.models.encoder import start_encoder
    torch.manual_seed(0)
    trained = BertForMaskedLM(BertConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                                         intermediate_size=16, max_position_embeddings=16))
    trained.save_pretrained(tmp_path)
    first, again, other = (start_encoder(tmp_path, ["a", "b"], seed, problem=None) for seed in (1, 1, 2))
    name = "bert.pooler.dense.weight"
    assert torch.equal(first.state_dict()[name], again.state_dict()[name])
    assert not torch.equal(first.state_dict()[name], other.state_dict()[name])
    word = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(first.state_dict()[word].cpu(), trained.state_dict()[word])
    with pytest.raises(UserError, match="one way of pooling"):
        start_encoder(tmp_path, ["a", "b"], 0, pooling="mean")
    tokens = start_encoder(tmp_path, ["O", "B-X", "I-X"], 0, tokens=True, problem=None)
    assert tokens(torch.zeros(1, 4, dtype=torch.long)).logits.shape == (1, 4, 3)
    write_json(tmp_path / "config.json", read_json(tmp_path / "config.json") | {"num_hidden_layers": 2})
    with pytest.raises(UserError, match="lacks"):
        start_encoder(tmp_path, ["a", "b"], 0)
