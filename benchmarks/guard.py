"""The guard: how many loops it stops in time, how often it cries wolf, what it costs, what it saves.

    python benchmarks/guard.py --model runs/demo --json
    python benchmarks/guard.py --texts english.jsonl.gz --json

`recall` is the share of generated loops (`guard_cases.py`: six kinds, two languages) seen within three periods.
`false_alarms` is the share of honest texts in which one is seen: generated ones, and with `--texts FILE` (JSON Lines
with `text`, cut to pieces of 200 units) real ones. `overhead` is the share by which decoding takes longer under guard.
`loop_rate_before` and `loop_rate_after` are the shares of the base model's greedy answers that end in a loop by
Holtzman's rule, which is not the guard's own. The base model is that of `--model`, a run of the recipe demo, asked the
village's prompts; else one trained on the first of `--texts`, which goes on from passages that it has not seen; else
one of a small village. On real text such a small model loops in most of its greedy answers.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from guard_cases import honest_cases, loop_cases, period_of

PASSAGE = 200  # units of a piece of human text: the length of a long answer
VILLAGE = """  - {name: village, stage: village, options: {documents: 4000, train_prompts: 300}}
"""
TRAINING = """
name: base
description: A base model of a small village, or of real text.
seed: 0
steps:
VILLAGE  - {name: tokenizer, stage: tokenizer, needs: {corpus: CORPUS}}
  - name: base
    stage: pretrain
    needs: {corpus: CORPUS, tokenizer: tokenizer}
    options: {rows: 4, steps: STEPS}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--quick", action="store_true", help="fewer cases and prompts, a base model of 100 steps")
    parser.add_argument("--model", type=Path, help="a finished run of the recipe demo")
    parser.add_argument("--texts", type=Path, action="append", default=[], help="human texts (may be repeated)")
    options = parser.parse_args()
    figures = watch_figures(400 if options.quick else 4000, options.texts)
    with tempfile.TemporaryDirectory() as folder:
        decoder, asked = base_model(options, Path(folder), 100 if options.quick else 800)
        count = 32 if options.quick else 256
        figures |= decoding_figures(decoder, asked[::max(1, len(asked) // count)][:count], 3 if options.quick else 7)
    print(json.dumps(figures) if options.json else json.dumps(figures, indent=2))


def watch_figures(count: int, files: list[Path]) -> dict[str, float]:
    """Recall on loops, and false alarms on honest and on human texts."""
    from preceptor.metrics.watch import first_loop, units
    cases = loop_cases(count, seed=7)
    found = [(first_loop(units(text)), lead, period) for text, lead, period in cases]
    in_time = sum(loop is not None and loop[1] <= lead + period_of(period) for loop, lead, period in found)
    honest = [units(text) for text in honest_cases(count, seed=7)]
    human = [passage for path in files for passage in passages(path)]
    alarms = sum(first_loop(text) is not None for text in honest + human)
    say(f"{in_time} of {count} loops in time; {alarms} alarms in {len(honest)} generated and {len(human)} human texts")
    return {"recall": in_time / count, "false_alarms": alarms / len(honest + human)}


def passages(path: Path) -> list[Any]:
    """The texts of a file in pieces of 200 units."""
    from preceptor.data.jsonl import read_rows
    from preceptor.metrics.watch import units
    whole = [units(row["text"]) for _, row in read_rows(path)]
    return [text[start:start + PASSAGE] for text in whole for start in range(0, len(text), PASSAGE)]


def base_model(options: argparse.Namespace, folder: Path, steps: int) -> tuple[Any, list[Any]]:
    """A decoder of the base model that the options name, and what it is asked."""
    from preceptor.data.jsonl import read_jsonl
    from preceptor.data.records import Prompt
    from preceptor.generate.local import LocalDecoder
    from preceptor.models.causal import load_causal
    from preceptor.run.manifest import step_folder
    from preceptor.tokenizer.chat import load_tokenizer
    real = bool(options.texts) and options.model is None
    passages: list[str] = []
    if real:
        passages = split_text(options.texts[0], folder / "corpus.jsonl")
    run = options.model or trained(folder, steps, f"{folder}/corpus.jsonl" if real else "village/corpus.jsonl")
    source = step_folder(run, "base") / "model"
    if not real:
        return (LocalDecoder(load_causal(source), load_tokenizer(source)),
                read_jsonl(step_folder(run, "village") / "prompts.train.jsonl", Prompt))

    class Plain(LocalDecoder):
        """Goes on from plain text: a base model knows no chat."""

        def prompt_tokens(self, request: Any) -> list[int]:
            return self.tokenizer(request.prompt.messages[0]["content"])["input_ids"][-64:]

    return (Plain(load_causal(source), load_tokenizer(source)),
            [Prompt(str(number), [{"role": "user", "content": text}]) for number, text in enumerate(passages)])


def split_text(path: Path, corpus: Path) -> list[str]:
    """Write seven eighths of a file's texts as documents; returns beginnings of passages of the others."""
    from preceptor.data.jsonl import read_rows, write_jsonl
    from preceptor.data.records import Document
    texts = [row["text"] for _, row in read_rows(path)]
    write_jsonl(corpus, (Document(text, f"text-{number}") for number, text in enumerate(texts) if number % 8))
    return [" ".join(words[start:start + 24]) for text in texts[::8] for words in [text.split()]
            for start in range(0, len(words) - 24, 200)]


def trained(folder: Path, steps: int, corpus: str) -> Path:
    """The run folder of a base model of a corpus: the small village's, or a file."""
    from preceptor.recipe.load import load_recipe
    from preceptor.recipe.runner import run_recipe
    recipe = folder / "base.yaml"
    village = VILLAGE if corpus.startswith("village/") else ""
    recipe.write_text(TRAINING.replace("VILLAGE", village).replace("CORPUS", corpus).replace("STEPS", str(steps)),
                      encoding="utf-8")
    run_recipe(load_recipe(str(recipe), [], []), folder / "run", None)
    return folder / "run"


def decoding_figures(decoder: Any, asked: list[Any], pairs: int) -> dict[str, float]:
    """What the guard costs on the base model's answers, and how many of its greedy ones loop, before and after."""
    from preceptor.generate.decoder import Request, Sampling
    from preceptor.generate.guard import GuardedDecoder
    from preceptor.metrics.loops import loop_rate
    guarded = GuardedDecoder(decoder)
    greedy = [Request(prompt, Sampling(temperature=0, max_tokens=128), number) for number, prompt in enumerate(asked)]
    before = loop_rate([answer.response.token_ids for answer in decoder.answers(greedy)])
    after = loop_rate([answer.response.token_ids for answer in guarded.answers(greedy)])
    say(f"actions: {dict(guarded.counts())}")
    # Sampled answers hardly loop, so that both write the same tokens.
    drawn = [Request(prompt, Sampling(max_tokens=96), number) for number, prompt in enumerate(asked)]
    ratios = []
    for _ in range(pairs):
        spent = []
        for one in (decoder, guarded):
            started = time.process_time()
            one.answers(drawn)
            spent.append(time.process_time() - started)
        ratios.append(spent[1] / spent[0] - 1)
    return {"overhead": statistics.median(ratios), "loop_rate_before": before, "loop_rate_after": after}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
