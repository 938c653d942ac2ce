"""`preceptor measure repetition`: every measure of repetition, of texts in a file or of a model."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from preceptor.data.batches import IGNORE, Example, collate
from preceptor.data.jsonl import read_jsonl, read_rows
from preceptor.data.packing import pack
from preceptor.data.records import Prompt
from preceptor.evaluate.judged_texts import Judge, quality
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.generate.onnx import load_for_decoding
from preceptor.learn.language import total_nats
from preceptor.metrics.diversity import distinct_n, self_bleu, uniq_seq, zipf
from preceptor.metrics.geometry import isotropy
from preceptor.metrics.language import perplexity
from preceptor.metrics.loops import loop_rate
from preceptor.metrics.prediction import prediction
from preceptor.metrics.repetition import repetition, text_tokens
from preceptor.metrics.sameness import four_kinds
from preceptor.models.causal import context_length, hidden_states, load_causal, model_folder
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import load_tokenizer

ROWS = 16
Figures = dict[str, dict[str, float]]


def read_answers(path: Path) -> list[list[str]]:
    """The texts of a file, those of one prompt together.

    JSON Lines: `text` (a Document or Response), `response` or `responses` (texts or Responses; a Comparison), or
    `messages` (the last assistant's); rows with the same `prompt` belong together. Any other file: texts between blank
    lines.

    Raises:
        UserError: the file cannot be read, a line has none of these, or there is no text.
    """
    groups: dict[str, list[str]] = {}
    if ".jsonl" in path.suffixes:
        for number, row in read_rows(path):
            key = str(row["prompt"]) if "prompt" in row else f"line {number}"
            groups.setdefault(key, []).extend(_texts(path, number, row))
    else:
        try:
            whole = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"'{path}' cannot be read: {getattr(error, 'strerror', None) or error}.",
                            "Give a .jsonl file, a text file in UTF-8, or a model folder.") from None
        groups = {str(number): [text.strip()] for number, text in enumerate(whole.split("\n\n")) if text.strip()}
    answers = [texts for texts in groups.values() if texts]
    if not any(text.strip() for texts in answers for text in texts):
        raise UserError(f"'{path}' holds no text.", "Give a file with answers in it.")
    return answers


def _texts(path: Path, number: int, row: dict[str, Any]) -> list[str]:
    found = row.get("responses", [row["response"]] if "response" in row else [row["text"]] if "text" in row else None)
    if found is None and isinstance(row.get("messages"), list):
        said = [message.get("content") for message in row["messages"]
                if isinstance(message, dict) and message.get("role") == "assistant"]
        found = said[-1:] or None
    texts = [one.get("text") if isinstance(one, dict) else one for one in found or [None]]
    if not all(isinstance(text, str) for text in texts):
        raise UserError(f"Line {number} of '{path}' holds no text to measure.",
                        "Give each line 'text', 'response', 'responses', or 'messages' with an answer.")
    return texts


def measure_texts(answers: Sequence[Sequence[str]]) -> Figures:
    """Every measure that needs the texts alone; tokens are words, and characters for Chinese and Japanese."""
    texts = [text_tokens(text) for some in answers for text in some]
    found: Figures = four_kinds(answers)
    distinct, tokens = uniq_seq(texts)
    more = {"loop_rate": loop_rate(texts), "distinct_1": distinct_n(texts, 1), "distinct_2": distinct_n(texts, 2),
            "self_bleu_4": self_bleu(texts), "zipf": zipf(texts), "uniq_seq": distinct, "tokens": tokens}
    found["words"] |= {name: value for name, value in more.items() if value is not None}
    return found


def measure_answers(folder: Path, prompts: Path, sampling: Sampling, seed: int = 0, rows: int = 64, *,
                    reference: Path | None = None, human: Path | None = None) -> Figures:
    """The measures of a model's answers to the prompts of a file, on their texts and on its own tokens; with a
    `reference` model also their quality under it, beside the texts of the file `human`.

    Raises:
        UserError: there is no model in a folder, or the file has no prompts.
    """
    source = model_folder(folder)
    tokenizer = load_tokenizer(source)
    decoder = LocalDecoder(load_for_decoding(source), tokenizer, rows=rows)
    asked = read_jsonl(prompts, Prompt)
    requests = [Request(prompt, sampling, seed + number) for number, prompt in enumerate(asked)]
    responses = [answer.response for answer in decoder.answers(requests)]
    tokens = [response.token_ids for response in responses]
    distinct, total = uniq_seq(tokens)
    found = measure_texts([[response.text] for response in responses])
    found["model_tokens"] = {**repetition(tokens), "loop_rate": loop_rate(tokens), "uniq_seq": distinct,
                             "tokens": total}
    if decoder.truncated:
        found["model_tokens"]["prompts_cut"] = decoder.truncated
    if reference:
        beside = [text for some in read_answers(human) for text in some] if human else []
        found["quality"] = quality(Judge(reference), asked, [response.text for response in responses], beside)
    return found


def measure_predictions(folder: Path, texts: Path) -> Figures:
    """What the model would say next at each place of the texts of a file, beside what the texts say; its isotropy.

    Texts longer than the context are cut into pieces, each read on its own.
    """
    source = model_folder(folder)
    model, tokenizer = load_causal(source), load_tokenizer(source)
    length = context_length(model)
    whole = [Example.of_text(str(number), tokenizer(text)["input_ids"]) for number, text in
             enumerate(text for some in read_answers(texts) for text in some)]
    pieces = [piece for example in whole for piece in example.pieces(length) if len(piece.tokens) > 1]
    pad = tokenizer.pad_token_id
    nats, count = total_nats(model, pieces, rows=ROWS, length=length, pad=pad)
    places, spreads = _predictions(model, pieces, length, pad)
    return {"predictions": {"perplexity": perplexity(nats, count), **prediction(places),
                            "isotropy": math.fsum(spreads) / len(spreads)},
            "the_text_itself": prediction([(tokens, tokens) for tokens, _ in places])}


@torch.no_grad()
def _predictions(model: nn.Module, pieces: Sequence[Example], length: int,
                 pad: int) -> tuple[list[tuple[list[int], list[int]]], list[float]]:
    """(tokens from the second on, most likely tokens there) of each piece, and the isotropy of its hidden states."""
    model.eval()
    places, spreads = [], []
    packed = pack([len(piece.tokens) for piece in pieces], length)
    for first in range(0, len(packed), ROWS):
        rows = [[pieces[index] for index in row] for row in packed[first:first + ROWS]]
        batch = collate(rows, pad).to(str(next(model.parameters()).device))
        states_BTD = hidden_states(model, batch)
        for r, row in enumerate(rows):
            for segment, _ in enumerate(row, start=1):
                mine = batch["segments"][r] == segment
                targets = batch["targets"][r][mine]
                guesses = model.get_output_embeddings()(states_BTD[r][mine]).argmax(-1)
                counted = targets != IGNORE
                places.append((targets[counted].tolist(), guesses[counted].tolist()))
                spread = isotropy(states_BTD[r][mine].float().cpu().numpy())
                spreads += [] if spread is None else [spread]
    return places, spreads
