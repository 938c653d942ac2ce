"""Drawing under watch: what the guard sees while answers are written."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from preceptor.generate.drawing import Drawing
from preceptor.generate.local import LocalDecoder, evaluating
from preceptor.generate.processors import Shaper
from preceptor.generate.rows import Rows, read_states
from preceptor.metrics.meaning import Limits, MeaningWatch, calibrated
from preceptor.metrics.watch import Loop, Unit, Watch, unit_of
from preceptor.models.soft_prompt import refuse_soft_prompt


class Watched(Drawing):
    """Drawing under watch: a row that loops ends, and its loop is kept by the number of its request.

    Rows of requests that are not watched are drawn as they are everywhere. `table` are the units of all tokens.
    """

    def __init__(self, decoder: LocalDecoder, shaper: Shaper, table: Sequence[Unit],
                 meaning: Limits | None = None) -> None:
        super().__init__(decoder.model, shaper, decoder.tokenizer.eos_token_id)
        self.decoder, self.table, self.limits = decoder, table, meaning
        self.loops: dict[int, Loop] = {}
        self.kept: dict[int, list[int]] = {}
        self.stops: dict[int, tuple[str, ...]] = {}
        self.watches: dict[int, Watch] = {}
        self.meaning: dict[int, MeaningWatch] = {}
        self.sentences: dict[int, list[np.ndarray]] = {}  # hidden states of the unfinished sentences

    def watch(self, number: int, kept: list[int], stops: tuple[str, ...]) -> None:
        """Watch a request whose answer begins with tokens that were kept, and ends with any of these texts."""
        self.kept[number], self.stops[number], self.watches[number] = kept, stops, Watch()
        for token in kept:
            self.watches[number].add(self.table[token])
        if self.limits is not None:
            self.meaning[number], self.sentences[number] = MeaningWatch(self.limits), []

    def forget(self, number: int) -> Loop | None:
        """Watch a request no more, if it was watched; returns its loop, if it had one."""
        for known in (self.kept, self.stops, self.watches, self.meaning, self.sentences):
            known.pop(number, None)
        return self.loops.pop(number, None)

    @torch.inference_mode()
    def read(self, rows: Rows) -> None:
        """Run the model over the last token of each row, and look at the meaning of sentences that it ends."""
        if not self.meaning:
            super().read(rows)
            return
        lasts_N1 = rows.last_tokens()
        states_ND = read_states(self.model, rows.cache, rows.cached_N, lasts_N1)
        rows.cached_N = rows.cached_N + 1
        rows.logits_NV = self.model.get_output_embeddings()(states_ND)
        states, lasts = states_ND.float().cpu().numpy(), lasts_N1[:, 0].tolist()
        for row, number in self._watched(rows):
            sentence = self.sentences[number]
            sentence.append(states[row])
            if self.table[lasts[row]].ends_sentence and len(sentence) > 1:
                length = len(self.kept[number]) + int(rows.made_N[row])
                began = self.meaning[number].add(np.mean(sentence, axis=0), length - len(sentence))
                if began is not None:
                    self.loops[number] = Loop("meaning", began, length - began)
                self.sentences[number] = []

    def write(self, rows: Rows) -> list[int]:
        """Draw each row's next token; returns the rows that ended with it, or with a loop, or with a stop text."""
        ended = super().write(rows)
        live = self._watched(rows)
        lasts = rows.last_tokens()[:, 0].tolist() if live else []
        over = []
        for row, number in live:
            loop = self.watches[number].add(self.table[lasts[row]])
            if loop is not None:
                self.loops[number] = loop
            if number in self.loops or (self.stops[number] and self._stopped(rows, row, number)):
                over.append(row)
        return ended + rows.end(over) if over else ended

    def _watched(self, rows: Rows) -> list[tuple[int, int]]:
        """(row, number) of the answers under watch that go on."""
        return [one for one in rows.live_requests() if one[1] in self.watches] if self.watches else []

    def _stopped(self, rows: Rows, row: int, number: int) -> bool:
        """A stop text may begin in what was kept and end in what is new, so the whole answer is looked at."""
        text = self.decoder.text(self.kept[number] + rows.written(row))
        return any(stop in text for stop in self.stops[number])


def token_units(tokenizer: Any) -> list[Unit]:
    """Every token of a vocabulary as a unit of the watch; pieces of characters stand for themselves."""
    pieces = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    return [unit_of(piece.lower(), token if "\ufffd" in piece else None) for token, piece in enumerate(pieces)]


@torch.inference_mode()
def calibrate(model: nn.Module, tokenizer: Any, texts: Sequence[str], context: int) -> Limits:
    """Limits for the repetition of meaning, from honest texts (cut to `context` tokens) as this model reads them."""
    refuse_soft_prompt(model, "Calibration")
    table = token_units(tokenizer)
    found = []
    with evaluating(model):
        for text in texts:
            tokens = tokenizer(text, add_special_tokens=False)["input_ids"][:context]
            if not tokens:
                continue
            device = model.device
            states_TD = model.base_model(input_ids=torch.tensor([tokens], device=device)).last_hidden_state[0]
            vectors, sentence = [], []
            for token, state in zip(tokens, states_TD.float().cpu().numpy()):
                sentence.append(state)
                if table[token].ends_sentence and len(sentence) > 1:
                    vectors.append(np.mean(sentence, axis=0))
                    sentence = []
            found.append(vectors)
    return calibrated(found)
