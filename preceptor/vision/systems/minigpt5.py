"""MiniGPT-5 (Zheng et al. 2023, arXiv 2310.02239): a MiniGPT-4 that writes vokens, which a frozen painter reads.

Two steps. First pictures with one text: `vokens` and `mapper` learn, and what the mapper makes is also held to what the
input `painter`, a step with a diffusion, sees of the text itself. Then conversations, in which the language model
learns by LoRA and nothing is held to a text.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from preceptor.data.batches import IGNORE, Batch, Example, collate
from preceptor.data.pictures.captions import drawn_record, is_caption, retold_record
from preceptor.data.pictures.store import Pictures
from preceptor.data.records import Conversation, Prompt
from preceptor.generate.decoder import Sampling
from preceptor.generate.local import LocalDecoder
from preceptor.losses.likelihood import selected_cross_entropy_sum
from preceptor.losses.quantisation import squared_error_sum
from preceptor.models.adapters import add_lora
from preceptor.models.causal import hidden_states
from preceptor.models.vision.diffusion import DiffusionTransformer
from preceptor.models.vision.splice import numbered, words_for
from preceptor.models.vision.vokens import Mapper, Vokens
from preceptor.run.errors import UserError
from preceptor.vision.mixed_options import MiniGpt5Options
from preceptor.vision.painting import Painting, Read
from preceptor.vision.system import Sums, in_parts
from preceptor.vision.systems.minigpt4 import MiniGpt4


class Drawn(NamedTuple):
    """Of a batch: the pictures that are shown in it, those that answer it, and the rows of these."""

    shown: Tensor
    answers_KCHW: Tensor
    rows_K: Tensor


class MiniGpt5(Painting, MiniGpt4):
    """Entries behind the vocabulary are the vokens, then the vectors of pictures."""

    options_class = MiniGpt5Options
    weights: ClassVar[dict[str, float]] = {"text": 0.01, "aligned": 0.1}

    def __init__(self, options: MiniGpt5Options, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        super().__init__(options, tokenizer, size, sources)
        table, head = self.language_model.get_input_embeddings(), self.language_model.get_output_embeddings()
        add_lora(self.language_model, options.lora_rank, options.lora_alpha)
        self.first_voken = max(self.vocabulary, len(tokenizer))  # their name in a batch, apart from the mark's
        self.vokens = Vokens(options.vokens, table.weight, head.weight)
        self.mapper = Mapper(self.width, options.painter_width, options.words, options.mapper_layers,
                             options.painter_heads)
        self.painter = DiffusionTransformer(size, options.painter_patch, options.painter_width, options.painter_layers,
                                            options.painter_heads, options.painter_width)
        self.take_levels()
        self.teacher = [_taken(sources["painter"], self) if "painter" in sources else None]  # in a list: no part
        self.captions: dict[str, str] = {}

    def told(self, records: Sequence[Conversation], pictures: Pictures, seed: int) -> list[Conversation]:
        """Captions also ask for their picture; in the second step also for both, of a picture that is shown."""
        found = []
        for record in records:
            found.append(record)
            if is_caption(record):
                found.append(drawn_record(record))
                self.captions[found[-1].id] = record.messages[-1]["content"]
                found += [] if self.teacher[0] else [retold_record(record)]
        return found

    def conversation(self, record: Conversation) -> Example:
        """Marks of pictures that are answers become vokens, which are predicted; errors as in `encode_conversation`."""
        example = self.encoded_conversation(record)
        vokens = list(range(self.first_voken, self.first_voken + len(self.vokens)))
        tokens: list[int] = []
        targets: list[int] = []
        for token, target in zip(example.tokens, example.targets):
            if token == self.mark and targets and targets[-1] == self.mark:
                targets[-1] = vokens[0]
                tokens += vokens
                targets += [*vokens[1:], target]
            else:
                count = self.vectors if token == self.mark else 1
                tokens += [token] * count
                targets += [IGNORE] * (count - 1) + [target]
        return Example(example.id, tokens, targets)

    def losses(self, batch: Batch) -> Sums:
        tokens_BT, targets_BT = batch["tokens"], batch["targets"]
        drawn = self.drawn(batch)
        states_BTD = self.states(batch, self.read_pictures(drawn.shown))
        head = self.language_model.get_output_embeddings()
        weight = torch.cat([head.weight, self.vokens.predicted])
        bias = None if head.bias is None else torch.cat([head.bias, head.bias.new_zeros(len(self.vokens))])
        vokens_BT = targets_BT - self.first_voken + self.vocabulary
        targets_BT = torch.where(targets_BT >= self.first_voken, vokens_BT, targets_BT)
        text, counted = selected_cross_entropy_sum(states_BTD, weight, targets_BT, bias)
        sums: Sums = {"text": (text, int(counted))}
        if not len(drawn.rows_K):
            return sums
        rows_K, places_K = (tokens_BT == self.first_voken).nonzero(as_tuple=True)
        states_KND = states_BTD[rows_K[:, None], places_K[:, None] - 1 + torch.arange(len(self.vokens)).to(rows_K)]
        out_K = torch.rand(len(rows_K), device=rows_K.device) < self.options.unconditional
        mapped_KLW = self.mapper(states_KND.masked_fill(out_K[:, None, None], 0))
        sums["noise"] = self.noise_sum(drawn.answers_KCHW, condition(mapped_KLW)), len(rows_K)
        return sums | self.aligned(mapped_KLW, [batch.documents[row][0] for row in rows_K.tolist()], out_K)

    def aligned(self, mapped_KLW: Tensor, records: Sequence[str], out_K: Tensor) -> Sums:
        """How far what is mapped is from what the painter sees of the captions of these records, or of no text where
        they were left out; of records that have a caption, in the first step."""
        known = [place for place, name in enumerate(records) if name in self.captions]
        if self.teacher[0] is None or not known:
            return {}
        said = ["" if out_K[place] else self.captions[records[place]] for place in known]
        return {"aligned": (squared_error_sum(mapped_KLW[known], self.seen_of(said)), len(known))}

    def drawn(self, batch: Batch) -> Drawn:
        """The pictures of a batch by what they are for, in the order of reading."""
        tokens_BT, pixels_BPCHW = batch["tokens"], batch["pixels"]
        marks_BT = tokens_BT == self.mark
        first_BT = marks_BT & ((marks_BT.cumsum(1) - 1) % self.vectors == 0)  # of the marks of a picture
        starts_BT = first_BT | (tokens_BT == self.first_voken)
        there_BP = torch.arange(pixels_BPCHW.shape[1], device=tokens_BT.device) < starts_BT.sum(1, keepdim=True)
        pictures_PCHW, answers_P = pixels_BPCHW[there_BP], ~marks_BT[starts_BT]
        return Drawn(pictures_PCHW[~answers_P], pictures_PCHW[answers_P], starts_BT.nonzero()[answers_P, 0])

    def states(self, batch: Batch, vectors_KD: Tensor) -> Tensor:
        """The language model's states over a batch in which pictures are shown by these vectors, with gradients."""
        tokens_BT = batch["tokens"]
        named_BT = numbered(tokens_BT, self.mark, self.vocabulary + len(self.vokens))
        vokens_BT = tokens_BT - self.first_voken + self.vocabulary
        tokens_BT = torch.where(tokens_BT >= self.first_voken, vokens_BT, named_BT)
        with words_for(self.language_model, torch.cat([self.vokens.read, vectors_KD])):
            return hidden_states(self.language_model, Batch(batch.tensors | {"tokens": tokens_BT}, batch.counts,
                                                            batch.documents))

    @torch.no_grad()
    def seen_of(self, texts: Sequence[str]) -> Tensor:
        """What the painter's own text tower sees of texts, (texts, L + 1, W), the whole text last: behind its end a
        text's last state goes on, cut to L."""
        words_TLW, whole_TW, seen_TL = self.teacher[0].conditions(texts)
        last_T1 = seen_TL.sum(1, keepdim=True) - 1
        places_TL = torch.arange(self.options.words, device=last_T1.device).minimum(last_T1)
        return torch.cat([words_TLW[torch.arange(len(texts))[:, None], places_TL], whole_TW[:, None]], 1)

    def conditions(self, texts: Sequence[str]) -> Read:
        """What vokens behind a request for a text say; of the empty text, of vokens of nothing."""
        with words_for(self.language_model, self.vokens.read):
            states_TND = self.behind([self.drawing(text)[:-1] for text in texts])
        nothing_T = torch.tensor([not text for text in texts], device=states_TND.device)
        return condition(self.mapper(states_TND.masked_fill(nothing_T[:, None, None], 0)))

    def behind(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """The states (rows, N, D) in which the vokens are predicted behind rows of entries."""
        vokens = range(self.vocabulary, self.vocabulary + len(self.vokens))
        batch = collate([[Example.of_text("", [*row, *vokens])] for row in rows], self.tokenizer.pad_token_id)
        states_RTD = hidden_states(self.language_model, batch.to(str(self.kept_S.device)))
        starts_R = torch.tensor([len(row) - 1 for row in rows], device=states_RTD.device)
        places_RN = starts_R[:, None] + torch.arange(len(self.vokens), device=states_RTD.device)
        return states_RTD[torch.arange(len(rows))[:, None], places_RN]

    @contextmanager
    def shown(self, images: Tensor) -> Iterator[list[list[int]]]:
        first = self.vocabulary + len(self.vokens)
        with words_for(self.language_model, torch.cat([self.vokens.read, in_parts(self.read_pictures, images)])):
            yield torch.arange(len(images) * self.vectors).add(first).view(len(images), -1).tolist()

    @torch.no_grad()
    def reply(self, prompts: Sequence[Prompt], pictures: Sequence[Tensor], sampling: Sampling | None = None,
              seed: int = 0) -> list[tuple[str, Tensor | None]]:
        """As `write`, but an answer may go on with a picture (3, H, W): it ends where the first voken is written."""
        sampling = sampling or Sampling(temperature=0, max_tokens=self.options.answer_tokens)
        encoded = self.encoded(prompts, [len(some) for some in pictures])
        with self.shown(self.on_device(torch.cat(list(pictures)))) as entries:
            rows = self.rows(encoded, entries)
            with self._writes_vokens():
                written = [response.token_ids for response in self.continued(rows, sampling, seed)]
            said = [tokens[:tokens.index(self.vocabulary)] if self.vocabulary in tokens else tokens
                    for tokens in written]
            due = [number for number, tokens in enumerate(said) if len(tokens) < len(written[number])]
            states_KND = self.behind([[*rows[number], *said[number]] for number in due]) if due else None
        decoder = LocalDecoder(self.language_model, self.tokenizer)
        texts = [decoder.text([token for token in tokens if token < self.vocabulary]) for tokens in said]
        if states_KND is None:
            return [(text, None) for text in texts]
        drawn = dict(zip(due, self.painted(condition(self.mapper(states_KND)), len(due), seed)))
        return [(text, drawn.get(number)) for number, text in enumerate(texts)]

    @contextmanager
    def _writes_vokens(self) -> Iterator[None]:
        """Inside the block the language model gives vokens logits, behind those of its own entries."""
        def more(head: torch.nn.Module, inputs: tuple[Tensor], logits: Tensor) -> Tensor:
            return torch.cat([logits, inputs[0] @ self.vokens.predicted.T], -1)

        handle = self.language_model.get_output_embeddings().register_forward_hook(more)
        try:
            yield
        finally:
            handle.remove()


def condition(mapped_KLW: Tensor) -> Read:
    """What a mapper makes, as the painter takes it."""
    words_KLW, whole_KW = mapped_KLW[:, :-1], mapped_KLW[:, -1]
    return words_KLW, whole_KW, torch.ones(words_KLW.shape[:2], dtype=torch.bool, device=words_KLW.device)


def _taken(source: Path, system: MiniGpt5) -> Painting:
    """The system that paints in `source`, whose painter becomes that of the new one.

    Raises:
        UserError: it does not paint, or its painter has another shape or other levels of noise.
    """
    from preceptor.vision.keep import load_system
    from preceptor.vision.systems.diffusion import Diffusion
    own, options = load_system(source), system.options
    if not isinstance(own, Diffusion):
        raise UserError(f"The {own.options.system} in '{source}' paints nothing that texts describe.",
                        "Name a step of the system diffusion as 'painter'.")
    theirs = {"painter_width": own.options.width, "painter_layers": own.options.layers,
              "painter_heads": own.options.heads, "painter_patch": own.options.patch,
              "noise_steps": own.options.noise_steps, "schedule": own.options.schedule}
    if different := [f"{name}: {value}" for name, value in theirs.items() if getattr(options, name) != value]:
        raise UserError(f"The painter in '{source}' is another one than the options say.",
                        f"Set {', '.join(different)}.")
    if own.size != system.size:
        raise UserError(f"The painter in '{source}' paints pictures of {own.size} pixels, these have {system.size}.",
                        "Give both the same pictures.")
    system.painter.load_state_dict(own.painter.state_dict())
    return own.requires_grad_(False)


SYSTEM = MiniGpt5
