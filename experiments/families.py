"""What each family of networks makes of the same text, with the same options, in the same number of steps.

    PRECEPTOR_DATA=FOLDER python experiments/families.py [--json] [--quick] [--family NAME ...]

Every family of preceptor/models/families.py as its configuration has it (width 96, 2 blocks, 4 heads, rows of 128
tokens, a byte-level vocabulary of 1,024), through the pretraining stage, on English books and articles; measured on
Aesop's fables and WikiText, which no family saw. Per family the mean over three seeds with a 95 % interval. Bits per
byte compare networks of one kind only: a causal decoder predicts every byte from what stands before it, a masked
encoder the hidden bytes from both sides, T5 the missing spans, BART the whole text from a damaged copy that it reads.

`bloom_no_embedding_norm` is BLOOM without the norm right after the embedding, which its configuration cannot leave
out: the difference says what that norm does. The last line with --json is
{"bits_per_byte": {family: {"mean", "low", "high", "n"}}, "kinds": {family: kind}, "embedding_norm_gap": ...}.
"""

import argparse
import contextlib
import gzip
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ABLATION = "bloom_no_embedding_norm"
SHAPE = {"width": 96, "layers": 2, "heads": 4, "feed_forward": 256, "context": 128, "rows": 8, "log_every": 1000,
         "checkpoint_every": 100_000, "initialisation": "family"}
QUICK = ("llama", "gpt2", "mamba2", "bert", "t5", "bart", "bloom", ABLATION)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="eight networks, one seed, few steps: does it work")
    parser.add_argument("--family", action="append", help="only this one (may be given several times)")
    options = parser.parse_args()
    if not os.environ.get("PRECEPTOR_DATA"):
        sys.exit("Set PRECEPTOR_DATA to the folder of the public data (its text/en.train.jsonl.gz is read).")
    from preceptor.models.families import FAMILIES
    names = options.family or (QUICK if options.quick else [*FAMILIES, ABLATION])
    seeds, steps = (1, 30) if options.quick else (3, 300)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        inputs = prepare(Path(folder), 20_000 if options.quick else 100_000)
        for name in names:
            found[name] = [measured(name, seed, steps, inputs, Path(folder) / f"{name}-{seed}")
                           for seed in range(seeds)]
            print(f"{name:24} " + "  ".join(f"{value:.3f}" for value in found[name]), file=sys.stderr, flush=True)
    print(json.dumps(summary(found), indent=None if options.json else 2))


def prepare(folder: Path, held_out: int) -> dict[str, Path]:
    """Training and held-out documents from the public texts, and the vocabulary that all families share."""
    from preceptor.data.jsonl import write_jsonl
    from preceptor.data.records import Document
    from preceptor.tokenizer.train import train_bpe
    texts = {name: [json.loads(line) for line in gzip.open(
        Path(os.environ["PRECEPTOR_DATA"]) / "text" / f"en.{name}.jsonl.gz", "rt")] for name in ("train", "valid")}
    documents = {name: [Document(row["text"], row["id"], row["source"]) for row in rows]
                 for name, rows in texts.items()}
    by_source: dict[str, list[Document]] = {}
    for document in documents["valid"]:
        kept = by_source.setdefault(document.source, [])
        if sum(len(one.text) for one in kept) < held_out / 2:
            kept.append(Document(document.text[:5000], document.id, document.source))
    # Some of every document: 300 steps see 300,000 tokens, and all networks encode the corpus anew.
    train = [Document(document.text[:6000], document.id, document.source) for document in documents["train"]]
    write_jsonl(folder / "corpus.jsonl", train)
    write_jsonl(folder / "valid.jsonl", [document for kept in by_source.values() for document in kept])
    tokenizer = train_bpe([document.text for document in train], 1024, 2_000_000)
    tokenizer.save_pretrained(folder / "tokenizer" / "model")
    return {"corpus": folder / "corpus.jsonl", "validation": folder / "valid.jsonl", "tokenizer": folder / "tokenizer"}


def measured(name: str, seed: int, steps: int, inputs: dict[str, Path], folder: Path) -> float:
    """Bits per byte of the held-out documents after training one network."""
    import torch

    from preceptor.models.families import FAMILIES
    from preceptor.pretrain.options import PretrainOptions
    from preceptor.pretrain.stage import train
    from preceptor.pretrain.start import start
    from preceptor.run.log import Log, read_log
    from preceptor.run.step import Step
    family = name.removesuffix("_no_embedding_norm")
    shape: dict[str, Any] = {key: value for key, value in SHAPE.items() if key not in FAMILIES[family].unused}
    folder.mkdir()
    step = Step(name, folder, inputs, PretrainOptions(family=family, steps=steps, evaluate_every=steps, **shape), seed,
                Log(folder / "log.jsonl", name, 1))
    torch.manual_seed(seed)
    with contextlib.redirect_stderr(io.StringIO()):
        begun = start(step)
        if name == ABLATION:
            begun.model.transformer.word_embeddings_layernorm = torch.nn.Identity()
        train(step, begun)
    return read_log(step.log.path)[name][steps]["validation_bits_per_byte"]


def summary(found: dict[str, list[float]]) -> dict[str, Any]:
    """Means with their intervals; a single seed has none. The gap is of BLOOM's seeds, pair by pair."""
    from preceptor.metrics.intervals import interval_over_seeds
    from preceptor.models.families import FAMILIES

    def over_seeds(values: list[float]) -> Any:
        return interval_over_seeds(values).to_dict() if len(values) > 1 else {"mean": values[0], "n": 1}

    result: dict[str, Any] = {
        "bits_per_byte": {name: over_seeds(values) for name, values in found.items()},
        "kinds": {name: FAMILIES[name].kind for name in found if name in FAMILIES}}
    if ABLATION in found and "bloom" in found:
        gaps = [with_norm - without for with_norm, without in zip(found["bloom"], found[ABLATION])]
        result["embedding_norm_gap"] = over_seeds(gaps)
    return result


if __name__ == "__main__":
    main()
