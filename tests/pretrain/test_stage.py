"""The pretraining stage: each kind learns a known answer, goes on from its checkpoint, and resumes to the same bits."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Document
from preceptor.data.token_shards import write_token_shards
from preceptor.models.causal import context_length, load_causal
from preceptor.pretrain import stage
from preceptor.pretrain.options import PretrainOptions
from preceptor.run.errors import UserError
from preceptor.run.files import hash_path, read_json
from preceptor.run.log import Log, read_log
from preceptor.run.step import Step
from preceptor.tokenizer.chat import encode_document, load_tokenizer
from preceptor.tokenizer.fingerprint import fingerprint
from preceptor.tokenizer.train import train_bpe

ALPHABET = "abcdefghijklmnopqrstuvwxyz"
TINY = {"width": 32, "layers": 1, "heads": 2, "feed_forward": 64, "context": 32, "rows": 8, "initialisation": "xavier",
        "checkpoint_every": 20, "evaluate_every": 50, "log_every": 1, "learning_rate": 1e-2, "precision": "fp32"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Stretches of the alphabet, round and round: what is hidden can be known from what is not."""
    folder = tmp_path_factory.mktemp("alphabet")
    documents = [Document((ALPHABET * 2)[n % 26:n % 26 + 18], id=f"d{n}", source=("one", "two")[n % 2])
                 for n in range(52)]
    write_jsonl(folder / "corpus.jsonl", documents)
    train_bpe([], 261, 1).save_pretrained(folder / "tokenizer" / "model")  # bytes alone: a letter is a token
    return {"corpus": folder / "corpus.jsonl", "validation": folder / "corpus.jsonl", "tokenizer": folder / "tokenizer"}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Step]:
    def step(name: str, inputs: dict[str, Path], **options: Any) -> Step:
        own = {key: value for key, value in {**TINY, **options}.items() if value is not ...}
        (tmp_path / name).mkdir()
        return Step(name, tmp_path / name, inputs, PretrainOptions(**own), 3, Log(tmp_path / f"{name}.jsonl", name, 1))
    return step


def logged(step: Step) -> dict[int, dict[str, Any]]:
    return read_log(step.log.path)[step.name]


@pytest.mark.parametrize("family, steps", [("gpt2", 120), ("mamba2", 120), ("bert", 240), ("t5", 240), ("bart", 300)])
def test_each_kind_learns_the_alphabet_and_goes_on_from_its_checkpoint(
        family: str, steps: int, inputs: dict[str, Path], make: Callable[..., Step]) -> None:
    torch.manual_seed(0)
    step = make("base", inputs, family=family, steps=steps, layers=2 if family == "bart" else 1,
                feed_forward=... if family == "mamba2" else 64, initialisation="family" if family == "t5" else "xavier")
    stage.run(step)
    last = logged(step)[steps]
    assert last["validation_accuracy"] > (0.85 if family == "bert" else 0.9)  # a replaced letter misleads BERT
    assert "scale" in logged(step)[0]
    again = make("again", {"corpus": inputs["corpus"], "validation": inputs["corpus"], "model": step.folder},
                 **{name: ... for name in ("width", "layers", "heads", "feed_forward", "initialisation")},
                 steps=1, learning_rate=1e-9)
    stage.run(again)
    assert logged(again)[1]["validation_bits_per_byte"] == pytest.approx(last["validation_bits_per_byte"], rel=1e-4)
    assert "scale" not in logged(again)[0]


def test_figures_by_source_add_up(inputs: dict[str, Path], make: Callable[..., Step]) -> None:
    step = make("base", inputs, steps=1)
    stage.run(step)
    found = logged(step)[1]
    for figure in ("bits_per_byte", "accuracy"):  # both sources have as many bytes and targets
        parts = [found[f"validation_{figure}.{source}"] for source in ("one", "two")]
        assert found[f"validation_{figure}"] == pytest.approx(sum(parts) / 2, rel=1e-5)
    nats_per_byte = found["validation_bits_per_byte"] * torch.log(torch.tensor(2.0)).item()
    assert found["validation_perplexity"] == pytest.approx(torch.tensor(nats_per_byte * 18 / 19).exp().item(), rel=1e-4)


@pytest.mark.parametrize("options", [{"family": "roberta"}, {"family": "t5", "denoising": "infilling"},
                                     {"family": "bloom", "feed_forward": ...}], ids=str)
def test_a_killed_run_goes_on_to_the_same_bits(options: dict[str, Any], inputs: dict[str, Path],
                                               make: Callable[..., Step]) -> None:
    hashes = []
    for name, stops in (("whole", ()), ("killed", (13,))):
        step = make(name, inputs, steps=20, checkpoint_every=5, **options)
        for stop in (*stops, None):
            torch.manual_seed(0)
            _run_until(step, stop)
        hashes.append(hash_path(step.folder / "model"))
    assert hashes[0] == hashes[1]


def _run_until(step: Step, stop: int | None) -> None:
    """Run the stage; at optimiser step `stop` the power fails."""
    class PowerCut(Exception):
        pass

    def write(self: Log, at: int, **metrics: Any) -> None:
        if at == stop and "loss" in metrics:
            raise PowerCut
        before(self, at, **metrics)

    before = Log.write
    Log.write = write
    try:
        stage.run(step)
    except PowerCut:
        pass
    finally:
        Log.write = before


@pytest.mark.parametrize("options, said", [
    ({"masking": "static"}, "masking"), ({"family": "bert", "span": 2.0}, "span"),
    ({"hidden_share": 0.2}, "hidden_share"),
    ({"denoising": "spans"}, "encoder-decoders"), ({"expert_balance": 0.1}, "mixtures"),
    ({"family": "bert", "unlikelihood": 1.0}, "unlikelihood"), ({"family": "gpt2", "norm": "rmsnorm"}, "cannot have"),
], ids=str)
def test_an_option_that_means_nothing_here_is_refused(options: dict[str, Any], said: str, inputs: dict[str, Path],
                                                      make: Callable[..., Step]) -> None:
    with pytest.raises(UserError, match=said):
        stage.run(make("base", inputs, steps=1, **options))


def test_what_a_checkpoint_settles_is_refused(inputs: dict[str, Path], make: Callable[..., Step]) -> None:
    step = make("base", inputs, steps=1)
    stage.run(step)
    own = {"corpus": inputs["corpus"], "model": step.folder}
    with pytest.raises(UserError, match="settled by the model"):
        stage.run(make("wider", own, steps=1))
    free = {name: ... for name in ("width", "layers", "heads", "feed_forward", "initialisation")}
    with pytest.raises(UserError, match="do not fit the model's context of 32"):
        stage.run(make("longer", own, steps=1, **{**free, "context": 64}))
    with pytest.raises(UserError, match="whose tokenizer is its own"):
        stage.run(make("twice", {**own, "tokenizer": inputs["tokenizer"]}, steps=1, **free))


FREE: dict[str, Any] = {name: ... for name in ("width", "layers", "heads", "feed_forward", "initialisation")}


def test_a_model_goes_on_at_a_longer_length(inputs: dict[str, Path], make: Callable[..., Step]) -> None:
    step = make("base", inputs, steps=1)
    stage.run(step)
    own = {"corpus": inputs["corpus"], "model": step.folder}
    longer = make("longer", own, steps=2, context=128, extend="yarn", **FREE)
    stage.run(longer)
    model = load_causal(longer.folder / "model")
    assert context_length(model) == 128 and model.config.rope_parameters["factor"] == 4.0
    for wrong in ({"context": 32, "extend": "yarn"}, {"context": 64, "extend": "as_is"}):
        with pytest.raises(UserError):
            stage.run(make(str(wrong), own, steps=1, **{**FREE, **wrong}))
    with pytest.raises(UserError, match="goes on from"):
        stage.run(make("fresh", inputs, steps=1, extend="yarn"))


def test_replay_keeps_what_going_on_alone_forgets(inputs: dict[str, Path], make: Callable[..., Step],
                                                  tmp_path: Path) -> None:
    """The alphabet backwards is learned; without replay the alphabet forwards is forgotten, with replay less so."""
    backwards = [Document((ALPHABET * 2)[n:n + 18][::-1], id=f"b{n}", source="backwards") for n in range(26)]
    forwards = [Document((ALPHABET * 2)[n:n + 18], id=f"f{n}", source="forwards") for n in range(26)]
    write_jsonl(tmp_path / "backwards.jsonl", backwards)
    write_jsonl(tmp_path / "both.jsonl", backwards + forwards)
    torch.manual_seed(0)
    base = make("base", inputs, family="gpt2", steps=120)
    stage.run(base)
    changes = {}
    for name, more in (("alone", {}), ("replayed", {"replay": inputs["corpus"]})):
        needs = {"corpus": tmp_path / "backwards.jsonl", "validation": tmp_path / "both.jsonl", "model": base.folder}
        step = make(name, {**needs, **more}, steps=60, **FREE)
        stage.run(step)
        changes[name] = read_json(step.folder / "learned.json")["bits_per_byte"]
        assert logged(step)[0]["validation_bits_per_byte.forwards"] == changes[name]["forwards"]["before"]
    assert all(found["backwards"]["change"] < -0.5 for found in changes.values())
    assert changes["alone"]["forwards"]["change"] > 1.0
    assert changes["replayed"]["forwards"]["change"] < changes["alone"]["forwards"]["change"] / 3
    assert "replay_loss" in logged(step)[1]
    with pytest.raises(UserError, match="replay"):
        stage.run(make("none", inputs, steps=1, replay_share=0.5))


def test_token_shards_train_to_the_bits_that_documents_train_to_and_resume_there(
        inputs: dict[str, Path], make: Callable[..., Step], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from preceptor.learn import fit as loop
    tokenizer = load_tokenizer(inputs["tokenizer"] / "model")
    documents = read_jsonl(inputs["corpus"], Document)
    for folder, given in (("shards", "own"), ("foreign", "another")):
        write_token_shards(tmp_path / folder, documents, lambda one: encode_document(tokenizer, one), len(tokenizer),
                           fingerprint(tokenizer) if given == "own" else given, shard_tokens=200)
    mapped = {**inputs, "corpus": tmp_path / "shards"}
    steps: list[Step] = []
    for name, needs in (("documents", inputs), ("shards-once", mapped)):
        torch.manual_seed(0)
        steps.append(make(name, needs, steps=12, checkpoint_every=4))
        stage.run(steps[-1])
    one_step, left = loop.take_gradients, [None] * 9

    def dying(*arguments: Any) -> Any:
        left.pop()
        return one_step(*arguments)

    stopped = make("stopped", mapped, steps=12, checkpoint_every=4)
    for expected in (pytest.raises(IndexError), contextlib.nullcontext()):
        with monkeypatch.context() as patch, expected:
            patch.setattr(loop, "take_gradients", dying if left else one_step)
            torch.manual_seed(0)
            stage.run(stopped)
    assert len({hash_path(step.folder / "model") for step in (*steps, stopped)}) == 1
    assert logged(steps[0])[0]["plan"] == logged(steps[1])[0]["plan"]
    with pytest.raises(UserError, match="another vocabulary"):
        stage.run(make("misread", {**inputs, "corpus": tmp_path / "foreign"}, steps=1))
    with pytest.raises(UserError, match="tells an empty document"):
        stage.run(make("masked", mapped, steps=1, family="bert"))
