"""CM3Leon (Yu et al. 2023, arXiv 2309.02591): one model of captions and pictures that also fills in what was cut out.

First captions with their pictures as documents, another pair found by the input `retriever` in front of each; then, in
a second step that starts from the first, the same as requests and answers (`instructed`).
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch, Example, collate
from preceptor.data.infilling import Infilling, blocks_of
from preceptor.data.pictures.captions import is_caption
from preceptor.data.pictures.store import Pictures
from preceptor.data.records import Conversation
from preceptor.generate.contrast import contrasted
from preceptor.generate.decoder import Sampling
from preceptor.losses.diffusion import guided
from preceptor.losses.likelihood import cross_entropy_sum
from preceptor.models.causal import build_llama
from preceptor.models.vision.splice import spread
from preceptor.tokenizer.chat import encode_conversation, encode_text
from preceptor.tokenizer.special import mask_token
from preceptor.vision.generative import Guide
from preceptor.vision.mixed import Mixed, of_all_tokens
from preceptor.vision.mixed_options import Cm3LeonOptions
from preceptor.vision.retrieval import Memory
from preceptor.vision.system import Sums

INFILL = "<|infill|>"


class Cm3Leon(Mixed):
    """A document is a caption, its picture and the end; breaks are special tokens, a picture's mark among them."""

    options_class = Cm3LeonOptions

    def __init__(self, options: Cm3LeonOptions, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        mask = mask_token(tokenizer, add=True)
        tokenizer.add_tokens([INFILL], special_tokens=True)
        super().__init__(options, tokenizer, size, sources)
        self.end, self.retriever = tokenizer.eos_token_id, sources.get("retriever")
        self.cutting = Infilling(mask, tokenizer.convert_tokens_to_ids(INFILL), self.end, options.cut, options.whole)
        special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
        self.breaks = frozenset(special | set(tokenizer.all_special_ids))

    def network(self, vocabulary: int) -> nn.Module:
        return build_llama(vocabulary=vocabulary, width=self.options.width, layers=self.options.layers,
                           heads=self.options.heads, feed_forward=3 * self.options.width,
                           context=self.options.text_length + 3,  # a mask, what announces its span, and the span's end
                           end=self.tokenizer.eos_token_id, pad=self.tokenizer.pad_token_id)

    def told(self, records: Sequence[Conversation], pictures: Pictures, seed: int) -> list[Conversation]:
        if self.retriever is None:
            return super().told(records, pictures, seed) if self.options.instructed else list(records)
        chosen = [record for record in records if self.learns_from(record)]
        return Memory(self.retriever, pictures, chosen).beside(seed)

    def conversation(self, record: Conversation) -> Example:
        if self.options.instructed or not is_caption(record):
            example = of_all_tokens(encode_conversation(self.tokenizer, record))
        else:
            captions = [message["content"] for message in record.messages if message["role"] == "assistant"]
            tokens = [token for caption in captions for token in [*self.document(caption), self.end]]
            example = Example.of_text(record.id, [self.end, *tokens])
        return spread(example, self.mark, 1 + self.places)

    def document(self, caption: str) -> list[int]:
        """A caption and the mark of its picture."""
        return [*encode_text(self.tokenizer, caption), self.mark]

    def losses(self, batch: Batch) -> Sums:
        logits_NV, targets_N = self.logits(self.cut(self.with_codes(batch)))
        total, count = cross_entropy_sum(logits_NV, targets_N)
        return {"tokens": (total, int(count))}

    def cut(self, batch: Batch) -> Batch:
        """The batch with a span of some of its rows cut out."""
        rows = []
        for tokens, length, names in zip(batch["tokens"].tolist(), (batch["segments"] > 0).sum(1).tolist(),
                                         batch.documents, strict=True):
            whole = Example.of_text(names[0], tokens[:length])
            rows.append([self.cutting(whole, self.kinds(whole.tokens))])
        return collate(rows, self.tokenizer.pad_token_id).to(str(batch["tokens"].device))

    def kinds(self, tokens: Sequence[int]) -> list[int]:
        """Of each token 1 for words, 2 for codes, 0 for breaks."""
        return [0 if token in self.breaks else 1 + (token >= self.words) for token in tokens]

    def drawing(self, text: str) -> list[int]:
        return super().drawing(text) if self.options.instructed else [self.end, *self.document(text)]

    def unsaid(self, prompt: Sequence[int]) -> list[int]:
        """A request for a picture with a mask in the place of what it asks for: the first block of words that is there,
        as training cuts it out."""
        start, stop = next(iter(blocks_of(self.kinds(prompt))), (1, 1))
        return [*prompt[:start], self.cutting.mask, *prompt[stop:]]

    def draw(self, texts: Sequence[str], seed: int = 0, beside: tuple[Tensor, Sequence[str]] | None = None) -> Tensor:
        """As in other rows, under guidance away from what the model draws where the text is masked.

        Args:
            beside: for each text a picture (texts, 3, H, W) and its caption, to be put in front.
        """
        prompts, before = [self.drawing(text) for text in texts], [[] for _ in texts]
        if beside is not None:
            codes = (self.codes_of(self.on_device(beside[0])) + self.words).tolist()
            before = [[self.end, *self.document(caption), *own] for caption, own in zip(beside[1], codes, strict=True)]
        without = [[*front, *self.unsaid(prompt)] for front, prompt in zip(before, prompts)]
        prompts = [[*front, *prompt] for front, prompt in zip(before, prompts)]
        return self.decode(self.drawn_codes(prompts, seed, Guide(without, self.combined()))).clamp(-1, 1)

    def combined(self) -> Callable[[Tensor, Tensor], Tensor]:
        """What codes are drawn from, of the logits with the text and with a mask (section 2.4).

        guided: logits = without + guidance (with - without). contrastive (CD-K): log p(with) - log p(without) of the
        codes whose p(with) reaches `plausible` of that of the `rank`-th likeliest.
        """
        options = self.options
        if options.decoding == "guided":
            return partial(guided_logits, guidance=options.guidance)
        return partial(contrasted, alpha=options.plausible, rank=options.rank)

    def caption(self, images: Tensor, language: str = "en") -> list[str]:
        """As in other rows; before the model takes requests, what it fills in for a picture's caption, in any language.
        """
        if self.options.instructed:
            return super().caption(images, language)
        sampling = Sampling(temperature=0, max_tokens=self.options.answer_tokens)
        with self.shown(self.on_device(images)) as entries:
            found = self.continued([self.infilling(picture) for picture in entries], sampling)
        return [response.text for response in found]

    def infilling(self, picture: Sequence[int]) -> list[int]:
        """The document of a picture whose caption was cut out, up to where it is to be filled in."""
        return [self.end, self.cutting.mask, *picture, self.end, self.cutting.infill]

    @torch.no_grad()
    def score(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """log p(text | picture) in nats, as the answer to a request, or as what was cut out of a document."""
        if self.options.instructed:
            return super().score(images, texts)
        with self.shown(self.on_device(images)) as entries:
            answers = [[*encode_text(self.tokenizer, text), self.end] for text in texts]
            return self.likelihoods([self.infilling(picture) for picture in entries], answers)


def guided_logits(with_text: Tensor, without: Tensor, guidance: float) -> Tensor:
    """Classifier-free guidance of entries that both may write; what is shut stays so."""
    shut = with_text == -torch.inf
    return guided(with_text.masked_fill(shut, 0), without.masked_fill(shut, 0), guidance).masked_fill(shut, -torch.inf)


SYSTEM = Cm3Leon
