"""The recipes `own` and `own_from_model`: the whole loop on a user's files, from scratch and from foreign models."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from preceptor.cli.main import main
from preceptor.recipe.load import shipped
from preceptor.run import machine
from preceptor.run.files import read_json
from preceptor.run.log import read_log

WORDS = [f"{a}{b}" for a in "bdfgkl" for b in ("ado", "emi", "iru", "ona")]
TINY = ["sft.epochs=2", "sft.rows=1", "sft.log_every=1", "sft.learning_rate=0.01", "reward.rows=4",
        "select.prompts=4", "select.max_tokens=8", "ppo_ptx.iterations=1", "ppo_ptx.episodes=4",
        "ppo_ptx.minibatches=2", "ppo_ptx.max_tokens=8", "ppo_ptx.ptx_rows=2", "evaluate.prompts=4",
        "evaluate.max_tokens=8"]
FROM_SCRATCH = ["tokenizer.vocabulary=300", "base.width=16", "base.layers=1", "base.heads=2", "base.feed_forward=32",
                "base.context=64", "base.rows=4", "base.steps=4"]


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 1)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Settings that name a user's files: a Chinese and an English text, instructions, and comparisons."""
    folder, draw = tmp_path_factory.mktemp("own"), random.Random(0)

    def some(count: int) -> str:
        return " ".join(draw.choices(WORDS, k=count))

    (folder / "text").mkdir()
    (folder / "text/en.txt").write_text("\n\n".join(some(60) for _ in range(80)), encoding="utf-8")
    (folder / "text/zh.jsonl").write_text("".join(
        json.dumps({"text": "".join(draw.choices("春眠不觉晓处闻啼鸟夜来风雨声", k=60)), "lang": "zh"}) + "\n"
        for _ in range(20)), encoding="utf-8")
    rows = {"demonstrations": [{"instruction": some(8), "output": draw.choice(WORDS)} for _ in range(60)],
            "comparisons": [{"prompt": some(8), "chosen": some(4), "rejected": some(1)} for _ in range(40)]}
    for name, some_rows in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some_rows), encoding="utf-8")
    return [f"data.needs.text={folder / 'text'}", "data.passage=500", "data.held_out=0.2",
            *(f"data.needs.{name}={folder / name}.jsonl" for name in rows)]


def _run(recipe: str, out: Path, *settings: str) -> None:
    assert main(["run", recipe, "--out", str(out), *(part for text in settings for part in ("--set", text))]) == 0


def _check(run: Path) -> None:
    """Every model that the run wrote opens by its family's own class, and everything was measured."""
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    steps = {path.name[3:]: path / "model" for path in run.glob("[0-9][0-9]-*")}
    for name in ("sft", "select", "ppo_ptx"):
        AutoModelForCausalLM.from_pretrained(steps[name])
        assert AutoTokenizer.from_pretrained(steps[name]).chat_template
    assert AutoModelForSequenceClassification.from_pretrained(steps["reward"]).config.num_labels == 1
    assert "same_labelers" in read_json(steps["reward"].parent / "results.json")["reward_accuracy"]
    results = read_json(steps["evaluate"].parent / "results.json")
    assert set(results["perplexity"]) == {"base", "sft", "ppo_ptx"}
    assert set(results["reward"]) == {"base", "base_prompted", "sft", "ppo_ptx"}
    assert set(results["perplexity_by_language"]["sft"]) == {"unknown", "zh"}


def test_own_runs_from_scratch(sources: list[str], tmp_path: Path) -> None:
    _run("own", tmp_path / "run", *sources, *FROM_SCRATCH, *TINY)
    _check(tmp_path / "run")


def _foreign_tokenizer(texts: list[str]) -> Any:
    """As GPT-2's: an end-of-text token, no padding token, no chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    bpe.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=320, special_tokens=["<|endoftext|>"],
                                                       initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>")


def _foreign_model(family: str, vocabulary: int) -> torch.nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel, Qwen2Config, Qwen2ForCausalLM
    torch.manual_seed(0)
    if family == "gpt2":  # its own dropout of 0.1 must be off, its biases and learned positions must be kept
        return GPT2LMHeadModel(GPT2Config(vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=2, n_positions=128,
                                          bos_token_id=0, eos_token_id=0))
    return Qwen2ForCausalLM(Qwen2Config(vocab_size=vocabulary + 9, hidden_size=32, intermediate_size=64,
                                        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                                        max_position_embeddings=128, bos_token_id=0, eos_token_id=0))


def _foreign_folder(family: str, folder: Path) -> Path:
    tokenizer = _foreign_tokenizer([" ".join(WORDS)] * 20)
    _foreign_model(family, len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _sft_losses(run: Path) -> list[float]:
    return [line["loss"] for line in read_log(run / "log.jsonl")["sft"].values() if "loss" in line]


def test_own_runs_from_a_saved_gpt2(sources: list[str], tmp_path: Path) -> None:
    model = _foreign_folder("gpt2", tmp_path / "foreign")
    _run("own_from_model", tmp_path / "run", f"base.needs.model={model}", *sources, *TINY)
    _check(tmp_path / "run")
    losses = _sft_losses(tmp_path / "run")
    assert losses[-1] < 0.8 * losses[0], losses


def test_a_saved_qwen2_is_fine_tuned(sources: list[str], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM
    model = _foreign_folder("qwen2", tmp_path / "foreign")
    steps = yaml.safe_load(shipped()["own_from_model"].read_text(encoding="utf-8"))
    recipe = tmp_path / "sft.yaml"
    recipe.write_text(yaml.safe_dump({"steps": steps["steps"][:3]}), encoding="utf-8")
    _run(str(recipe), tmp_path / "run", f"base.needs.model={model}", *sources, *TINY[:4])
    before, after = (AutoModelForCausalLM.from_pretrained(folder)
                     for folder in (model, next((tmp_path / "run").glob("*-sft")) / "model"))
    assert type(after) is type(before)
    for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True):
        assert not torch.equal(old, new), f"{name} was not trained"
    losses = _sft_losses(tmp_path / "run")
    assert losses[-1] < 0.8 * losses[0], losses


def test_a_model_must_be_named_once(sources: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", "own_from_model", "--out", str(tmp_path / "run")]
    for text in [*sources, "base.needs.model=null"]:
        command += ["--set", text]
    assert main(command) == 2
    assert "--set base.needs.model=FOLDER or --set base.hub=NAME" in capsys.readouterr().err
    assert main([*command, "--set", "base.hub=some/model", "--set", f"base.needs.model={tmp_path}"]) == 2
    assert "either a model folder or the name" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main([*command, "--set", f"base.needs.model={tmp_path / 'empty'}"]) == 2
    assert "cannot be loaded" in capsys.readouterr().err
