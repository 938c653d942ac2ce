"""Encoder or language model? Both learn the same records of real packs, and are measured on the same test texts.

    PRECEPTOR_DATA=... python experiments/encoder_or_llm.py [--json] [--quick] [--packs sst2 uner_zh ...] [--claim]

    sst2, banking77, waimai   classification: English films (2 labels) and bank customers (77), Chinese meals (2)
    uner_en, uner_zh          entities: English web text, Chinese Wikipedia
    snips, crosswoz           fields: English commands; what Chinese travellers say of the place they want

Each pack is a run of the shipped recipe of its task in --out: both networks have the same width, depth, vocabulary and
passes, and are pretrained on the texts of the pack alone. So this compares two ways to use a small network, not BERT
with a model of billions. `speed` is the encoder's requests a second over the language model's, `gain` its quality less
the other's, in points with their 95 % interval; `router` says how far the router stays from always asking the better
model, and at what share of its cost. A pack that is done is not done again.

--claim adds speed at other sizes, with random weights, of which it does not depend: an encoder of BERT's size and
a language model of 7 B on a GPU, of 0.9 B on a CPU, which both label the same texts of 64 tokens (the language model
writes 8 tokens each).
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from preceptor.data.jsonl import read_rows, write_jsonl
from preceptor.recipe.load import load_recipe
from preceptor.recipe.runner import run_recipe
from preceptor.run.errors import UserError
from preceptor.run.files import read_json, write_json

# pack: (recipe, records, test records or "", options)
PACKS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "sst2": ("classify", "sentiment_en_sst2.train", "sentiment_en_sst2.dev", ()),
    "banking77": ("classify", "intent_en_banking77.train", "", ("data.label_field=intent", "compare.rows=8")),
    "waimai": ("classify", "sentiment_zh_waimai.train", "", ()),
    "uner_en": ("tag", "ner_en_uner.train", "ner_en_uner.dev", ()),
    "uner_zh": ("tag", "ner_zh_uner.train", "ner_zh_uner.dev", ()),
    "snips": ("extract", "intent_slots_en_snips.train", "", ()),
    "crosswoz": ("extract", "dialog_zh_crosswoz.dev", "", ()),
}
QUICK_PACKS = ("sst2", "uner_zh")
QUICK = ("data.most=160", "tokenizer.vocabulary=800", "encoder.epochs=2", "language.epochs=1", "compare.timed=8",
         "compare.repeats=2", *(f"{base}.{option}" for base in ("encoder_base", "language_base") for option in (
             "width=48", "layers=2", "heads=2", "feed_forward=96", "steps=6")))
# Layers, width, heads and feed-forward of both kinds of networks in --claim.
CLAIMED = {"quick": ((2, 128, 2, 512), (2, 256, 4, 688)), "cpu": ((12, 768, 12, 3072), (16, 2048, 16, 5632)),
           "cuda": ((12, 768, 12, 3072), (32, 4096, 32, 11008))}


def crosswoz_rows(path: Path) -> Iterator[dict[str, Any]]:
    """What users say, with the slots that they fill with words of their own sentence."""
    for _, dialogue in read_rows(path):
        for number, message in enumerate(dialogue["messages"]):
            filled = [(slot, value) for act, _, slot, value in message["acts"] if act == "Inform"]
            facts = {slot: value for slot, value in filled if value and value in message["content"]}
            if message["role"] == "user" and len(facts) == len(filled) > 0:
                yield {"id": f"{dialogue['id']}-{number}", "lang": "zh", "text": message["content"], "facts": facts}


def run_pack(data: Path, out: Path, pack: str, quick: bool) -> dict[str, Any]:
    """Bring the run of a pack up to date; returns its row of the table."""
    recipe, records, test, options = PACKS[pack]
    paths = {"records": data / "nlu" / f"{records}.jsonl.gz"}
    if test:
        paths["test"] = data / "nlu" / f"{test}.jsonl.gz"
    if pack == "crosswoz":
        source, paths["records"] = paths["records"], out / "crosswoz.jsonl"
        write_jsonl(paths["records"], list(crosswoz_rows(source)))
    sets = [*(f"data.needs.{name}={path}" for name, path in paths.items()), "data.most=4000", *options,
            *(QUICK if quick else ())]
    run_recipe(load_recipe(recipe, sets=sets), out / pack)
    manifest = read_json(out / pack / "run.json")
    return row(read_json(out / pack / manifest["steps"]["compare"]["folder"] / "results.json"))


def row(results: dict[str, Any]) -> dict[str, Any]:
    """A pack's row: the figures of both models, their ratio and difference, and the router."""
    models = results["models"]
    rates = [models[name]["requests_per_second"]["mean"] for name in ("encoder", "language_model")]
    gain = results["recommended"]["dearer_less_cheaper"]
    if results["cheaper"] == "encoder":  # the difference is the dearer model's quality less the cheaper one's
        gain = {"mean": -gain["mean"], "low": -gain["high"], "high": -gain["low"], "n": gain["n"]}
    router = {key: results["router"][key] for key in ("asked", "quality", "against_best", "cost_share",
                                                      "best_is_cheaper", "calibration_error")}
    return {"task": results["task"], "labels": results["labels"], "test": results["test"],
            **{name: {"all_right": model["details"]["all_right"], **{key: model[key] for key in (
                "parameters", "quality", "latency_ms", "requests_per_second", "memory_mb", "cost_per_thousand")}}
               for name, model in models.items()},
            "speed": rates[0] / rates[1], "gain": gain, "recommended": results["recommended"]["model"],
            "router": router}


def claimed(quick: bool) -> dict[str, Any]:
    """Requests a second of an encoder and of a language model of the claim's sizes, and their ratio."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

    from preceptor.data.records import Prompt
    from preceptor.generate.decoder import Request, Sampling
    from preceptor.generate.local import LocalDecoder
    from preceptor.tokenizer.chat import load_tokenizer
    sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
    from sides import END, make_tokenizer, text, words
    device = "cuda" if torch.cuda.is_available() else "cpu"
    (layers, width, heads, inner), (many, wide, more, large) = CLAIMED["quick" if quick else device]
    kind = torch.bfloat16 if device == "cuda" else torch.float32
    rows, vocabulary = (256, 32000) if device == "cuda" else (16, 4096)
    torch.set_default_dtype(kind)
    with torch.device(device):
        encoder = BertForSequenceClassification(BertConfig(
            vocab_size=vocabulary, num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads,
            intermediate_size=inner)).eval()
        language = LlamaForCausalLM(LlamaConfig(
            vocab_size=vocabulary, num_hidden_layers=many, hidden_size=wide, num_attention_heads=more,
            num_key_value_heads=more, intermediate_size=large, max_position_embeddings=512, eos_token_id=END)).eval()
    torch.set_default_dtype(torch.float32)
    with tempfile.TemporaryDirectory() as folder:
        make_tokenizer(vocabulary, Path(folder))
        decoder = LocalDecoder(language, load_tokenizer(folder), rows=rows)
    asked = [words(vocabulary, 64, seed) for seed in range(rows)]
    # Nothing but the last of 8 tokens may end an answer, so that all models of this size write as many.
    requests = [Request(Prompt("", [{"role": "user", "content": text(one)}]), Sampling(temperature=0, max_tokens=8), 0,
                        lambda answer: range(5, vocabulary)) for one in asked]
    tokens = torch.tensor(asked, device=device)

    def label() -> None:
        with torch.inference_mode():
            encoder(tokens).logits.argmax(-1).tolist()

    rates = [rate(label, rows), rate(lambda: decoder.answers(requests), rows)]
    return {"device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
            "encoder_parameters": sum(one.numel() for one in encoder.parameters()),
            "language_model_parameters": sum(one.numel() for one in language.parameters()),
            "encoder_requests_per_second": rates[0], "language_model_requests_per_second": rates[1],
            "speed": rates[0] / rates[1]}


def rate(work: Callable[[], Any], requests: int, repeats: int = 3) -> float:
    """Requests a second: the best of some calls behind one that warms up."""
    work()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return requests / min(seconds)


def table(found: dict[str, Any]) -> str:
    """The packs as lines for people."""
    def cell(figure: dict[str, float], factor: float = 100) -> str:
        return f"{factor * figure['mean']:.1f} [{factor * figure['low']:.1f}, {factor * figure['high']:.1f}]"

    lines = [f"{'pack':<11}{'encoder':>20}{'language model':>20}{'speed':>8}{'gain':>20}{'asked':>8}"
             f"{'router - best':>20}{'cost':>7}"]
    for pack, one in found.items():
        router = one["router"]
        lines.append(f"{pack:<11}{cell(one['encoder']['quality']):>20}{cell(one['language_model']['quality']):>20}"
                     f"{one['speed']:>8.1f}{cell(one['gain']):>20}{router['asked']:>8.0%}"
                     f"{cell(router['against_best']):>20}{router['cost_share']:>7.0%}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", nargs="*", choices=list(PACKS), help="which packs (all; none: only --claim)")
    parser.add_argument("--out", type=Path, default=Path("runs/encoder_or_llm"))
    parser.add_argument("--claim", action="store_true", help="measure speed at BERT's and at a large model's size too")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="two packs, 160 records, tiny networks: about a minute")
    options = parser.parse_args(arguments)
    data = os.environ.get("PRECEPTOR_DATA")
    if not data:
        raise UserError("The variable PRECEPTOR_DATA names no folder of data packs.",
                        "Set it to the folder that holds nlu/.")
    out = options.out.with_name(options.out.name + "-quick") if options.quick else options.out
    packs = options.packs if options.packs is not None else QUICK_PACKS if options.quick else list(PACKS)
    found = {pack: run_pack(Path(data), out, pack, options.quick) for pack in packs}
    print(table(found), file=sys.stderr)
    figures = {"packs": found, **({"claim": claimed(options.quick)} if options.claim else {})}
    write_json(out / "encoder_or_llm.json", figures)
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"{error.cause}\n{error.cure}", file=sys.stderr)
        sys.exit(2)
