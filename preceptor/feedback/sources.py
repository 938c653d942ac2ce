"""Prompts and answers to be labelled, from wherever they are: a run's folder, or a file of any model's answers."""

from collections import Counter
from pathlib import Path

from preceptor.data.foreign import comparison_of
from preceptor.data.jsonl import read_jsonl, read_rows
from preceptor.data.records import Comparison, Prompt, Response
from preceptor.data.sources import read_records
from preceptor.feedback.records import SPLITS, add_comparisons, add_items
from preceptor.feedback.store import Store
from preceptor.run.errors import UserError

Asked = list[tuple[Prompt, list[Response]]]


def run_rankings(run: Path) -> dict[str, list[Comparison]]:
    """The rankings that a run's `comparisons` step made, by split: programs rank there, under names of their own."""
    found = {}
    for split in SPLITS:
        for path in sorted(run.glob(f"[0-9][0-9]-*/comparisons.{split}.jsonl")):
            found[split] = read_jsonl(path, Comparison)
    return found


def fill_from_run(store: Store, run: Path, overlap: int, who: str) -> int:
    """Add a run's answers to the store, to be ranked by `overlap` people each, with the rankings there are already.

    Returns:
        How many prompts wait for people.
    """
    waiting = 0
    for split, rankings in run_rankings(run).items():
        add_comparisons(store, rankings, split=split, who=who)
        asked = [(one.prompt, one.responses) for one in rankings]
        waiting += len(set(add_items(store, asked, overlap=overlap, split=split, who=who)))
    return waiting


def read_answers(path: Path) -> Asked:
    """Prompts with their answers from a JSONL file.

    Rows are {prompt, response} or {prompt, model, response}, one answer each (as the evaluation writes them; rows of
    one prompt belong together), or any shape in which comparisons come, whose order is then disregarded.

    Raises:
        UserError: a row has no such shape, or a prompt has fewer than two different answers.
    """
    first = next((row for _, row in read_rows(path)), None)
    if first is None or "response" not in first:
        return [(one.prompt, one.responses) for one in read_records(path, comparison_of, Counter())]
    found: dict[str, tuple[Prompt, dict[str, Response]]] = {}
    for number, row in read_rows(path):
        try:
            prompt, response = Prompt.from_dict(row.get("prompt")), Response.from_dict(row.get("response"))
        except UserError as error:
            raise UserError(f"Line {number} of '{path}': {error.cause}", error.cure) from None
        if response.model is None and isinstance(row.get("model"), str):
            response = Response.from_dict(response.to_dict() | {"model": row["model"]})
        found.setdefault(prompt.id, (prompt, {}))[1].setdefault(response.text, response)
    asked = [(prompt, list(said.values())) for prompt, said in found.values() if len(said) > 1]
    if not asked:
        raise UserError(f"No prompt of '{path}' has two different answers.", "Give several answers to each prompt.")
    return asked
