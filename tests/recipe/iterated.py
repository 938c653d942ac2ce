"""Iterated RLHF in a world of seven words: a judge who likes the word `good`, models of a few thousand weights."""

from pathlib import Path

from preceptor.data.jsonl import write_jsonl
from preceptor.data.records import Prompt
from preceptor.models.causal import save_model
from preceptor.run.files import hash_path, write_json
from tests.rlhf.tiny import WORDS, tiny_policy, word_tokenizer

JUDGE = "def liking(prompt, response):\n    return float(response.text.split().count('good'))\n"


def iterated_recipe(folder: Path, labelers: str = "judge", rounds: int = 2) -> Path:
    """A recipe of two rounds and a ladder, with all that it needs, in a folder; returns its file."""
    save_model(tiny_policy(), word_tokenizer(), folder / "start" / "model")
    (folder / "judge").mkdir(exist_ok=True)
    (folder / "judge" / "judging.py").write_text(JUDGE)
    write_json(folder / "judge" / "reward.json", {"kind": "program", "function": "judging:liking",
                                                  "code": "judging.py"})
    prompts = [Prompt(f"p{n}", [{"role": "user", "content": " ".join(WORDS[2 + n % 5:])}]) for n in range(44)]
    for name, some in (("train", prompts[:24]), ("valid", prompts[24:32]), ("test", prompts[32:])):
        write_jsonl(folder / f"prompts.{name}.jsonl", some)
    path = folder / "iterated.yaml"
    path.write_text(f"""
name: iterated
description: Rounds on folders that are there.
steps:
  - rounds: {rounds}
    begin: {{policy: {folder}/start, comparisons: null}}
    steps:
      - name: comparisons
        stage: comparisons
        needs: {{model: last.policy, earlier: before.policy, before: last.comparisons, judge: {folder}/judge,
                 prompts: {folder}/prompts.train.jsonl, heldout: {folder}/prompts.valid.jsonl}}
        options: {{labelers: {labelers}, round: round.number, k_min: 3, k_max: 4, max_tokens: 5, prompts: 12,
                   heldout_prompts: 4}}
      - name: reward
        stage: reward
        needs: {{model: {folder}/start, comparisons: comparisons}}
        options: {{rows: 2, epochs: 3, learning_rate: 2e-2}}
      - name: policy
        stage: rlhf
        needs: {{policy: last.policy, reward: reward, prompts: {folder}/prompts.train.jsonl}}
        options: {{iterations: 6, episodes: 16, minibatches: 2, max_tokens: 5, learning_rate: 1e-2, ema: 0.0,
                   missing_end_penalty: 0.0, checkpoint_every: 3, value_learning_rate: 1e-2}}
  - name: ladder
    stage: ladder
    needs: {{model: last.policy, earlier: before.policy, comparisons: last.comparisons, judge: {folder}/judge,
             prompts: {folder}/prompts.test.jsonl}}
    options: {{labelers: {labelers}, round: round.number, max_tokens: 5, temperature: 1.0, resamples: 50}}
""")
    return path


def made(run: Path) -> dict[str, str]:
    """SHA-256 of all that an iterated run made and that another one must make alike: rankings, models, the ladder."""
    names = ("comparisons.*.jsonl", "model/model.safetensors", "results.json", "rankings.jsonl")
    return {str(path.relative_to(run)): hash_path(path) for name in names for path in sorted(run.glob(f"*/{name}"))}
