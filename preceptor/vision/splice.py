"""What the rows share that put pictures among the words of a language model: Frozen, BLIP-2, MiniGPT-4, MiniGPT-v2 and
Qwen-VL differ in their connector, in what learns, and in nothing else.

    image   a tower, fresh or taken over from the row that the step starts from
    connector   from what the tower sees to `vectors` that the language model reads where the picture stands
    language_model   the model of the step's input of that name, or of the row that it starts from
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch, Example
from preceptor.data.pictures.captions import BOX, DESCRIBE, HAN, WHERE, Box, asked_record, box_in
from preceptor.data.ranked import RankedPrompt, collate_ranked
from preceptor.data.records import IMAGE, Conversation, Prompt
from preceptor.generate.decoder import Request, Sampling
from preceptor.generate.local import LocalDecoder, evaluating
from preceptor.losses.likelihood import selected_cross_entropy_sum
from preceptor.models.adapters import carries_adapter
from preceptor.models.attention import block_mask, shared_prompt_mask, shares_prefix
from preceptor.models.causal import attention_for, context_length, hidden_states, load_causal, model_folder
from preceptor.models.reward_model import answer_likelihoods
from preceptor.models.vision.splice import numbered, spread, words_for
from preceptor.models.vision.towers import image_tower_of, siglip_image_tower
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import encode_answer, encode_conversation, encode_prompt
from preceptor.vision.splice_options import SpliceOptions
from preceptor.vision.system import Sums, System, in_parts

PICTURES, TEXTS = 32, 16  # that meet in one pass when texts are scored
NOT_OF_PICTURES = ("repetition_penalty", "no_repeat_ngram_size", "dry_multiplier")


class Spliced(System):
    """A language model that reads each picture as `vectors` words; a row gives `connector` and `prefix`."""

    reads = "conversations"

    def __init__(self, options: SpliceOptions, tokenizer: Any, size: int, sources: dict[str, Path]) -> None:
        """Raises:
            UserError: there is no language model, it cannot read as much, or the tower is for pictures of another size.
        """
        super().__init__(options, tokenizer, size, sources)
        if "language_model" not in sources:
            raise UserError(f"A {options.system} has no language model to read its pictures.",
                            "Add 'language_model' to its needs, or start from a row that has one.")
        self.image = tower_for(sources, options, size)
        self.language_model = language_model_of(sources["language_model"])
        if options.text_length > context_length(self.language_model):
            raise UserError(f"Conversations of {options.text_length} tokens do not fit the language model's "
                            f"{context_length(self.language_model)}.", "Set text_length to that or less.")
        self.mark = tokenizer.convert_tokens_to_ids(IMAGE)
        words = max(number for number in tokenizer.get_vocab().values() if number != self.mark)
        if words >= self.vocabulary:
            raise UserError(f"The language model has {self.vocabulary} embeddings, its tokenizer entry {words}.",
                            "Give a folder in which both belong together.")
        self.vectors = 0  # of a picture: said by the row

    @property
    def patches(self) -> int:
        """Patches of a picture."""
        return (self.size // self.image.config.patch_size) ** 2

    @property
    def width(self) -> int:
        """The width of the language model."""
        return self.language_model.get_input_embeddings().embedding_dim

    @property
    def vocabulary(self) -> int:
        """Embeddings of the language model, behind which those of pictures are numbered."""
        return self.language_model.get_input_embeddings().num_embeddings

    def prefix(self, pixels_PCHW: Tensor) -> Tensor:
        """What the language model reads of pictures, (P, vectors, width), with gradients."""
        raise NotImplementedError

    def worded(self, text: str, category: str | None) -> str:
        """What is asked, in the words of this row; `category` is the record's, "caption" and "box" among others."""
        return text

    def learns_from(self, record: Conversation) -> bool:
        return not self.options.categories or record.category in self.options.categories

    def conversation(self, record: Conversation) -> Example:
        """Errors as in `encode_conversation`; a picture in an answer is one, too."""
        messages = [self.worded_message(message, record.category) for message in record.messages]
        example = encode_conversation(self.tokenizer, replace(record, messages=messages))
        if self.mark in example.targets:
            raise UserError(f"An answer of conversation '{record.id}' holds a picture, and a {self.options.system} "
                            "draws none.", "Leave the record out.")
        return spread(example, self.mark, self.vectors)

    def worded_message(self, message: dict[str, Any], category: str | None) -> dict[str, Any]:
        """A message with its texts as `worded` has them, where somebody asks."""
        if message["role"] != "user" or isinstance(message["content"], str):
            return message
        return message | {"content": [part if part.get("type") != "text" else
                                      part | {"text": self.worded(part["text"], category)}
                                      for part in message["content"]]}

    def losses(self, batch: Batch) -> Sums:
        """-log p(answers | pictures and questions), over the tokens of the answers."""
        tokens_BT, pixels_BPCHW = batch["tokens"], batch["pixels"]
        there_B = (tokens_BT == self.mark).sum(1) // self.vectors
        places_P = torch.arange(pixels_BPCHW.shape[1], device=tokens_BT.device)
        vectors_KD = self.read_pictures(pixels_BPCHW[places_P < there_B[:, None]])
        tokens_BT = numbered(tokens_BT, self.mark, self.vocabulary)
        named = Batch(batch.tensors | {"tokens": tokens_BT}, batch.counts, batch.documents)
        with words_for(self.language_model, vectors_KD):
            states_BTD = hidden_states(self.language_model, named)
        head = self.language_model.get_output_embeddings()
        total, counted = selected_cross_entropy_sum(states_BTD, head.weight, batch["targets"], head.bias)
        return {"text": (total, int(counted))}

    def read_pictures(self, pixels_PCHW: Tensor) -> Tensor:
        """The vectors of pictures one after the other, (P * vectors, width), with gradients; there may be none."""
        if not len(pixels_PCHW):  # of which a network can make nothing
            return pixels_PCHW.new_zeros(0, self.width)
        return self.prefix(pixels_PCHW).flatten(0, 1)

    def asked(self, text: str, category: str | None = None) -> Prompt:
        """One picture and a text about it, waiting for an answer."""
        record = asked_record("", "", self.worded(text, category), "", category=category)
        return Prompt("", record.messages[:1], category=category)

    def caption(self, images: Tensor, language: str = "en") -> list[str]:
        """A description of each picture in a language."""
        return self.write([self.asked(DESCRIBE[language], "caption")] * len(images), list(images[:, None]))

    def answer(self, images: Tensor, questions: Sequence[str]) -> list[str]:
        """The answer to each question about the picture of the same number."""
        return self.write([self.asked(question) for question in questions], list(images[:, None]))

    @property
    def gives_boxes(self) -> bool:
        """Whether boxes were among what it learned from."""
        return not self.options.categories or BOX in self.options.categories

    def ground(self, images: Tensor, phrases: Sequence[str]) -> list[Box | None]:
        """The box of what each phrase ("the red hat") names in the picture of the same number, in the pixels of the
        records that taught it; None where what was written is no box.

        Raises:
            UserError: it learned no boxes.
        """
        if not self.gives_boxes:
            raise UserError(f"This {self.options.system} learned from {', '.join(self.options.categories)}, and from "
                            "no boxes.", "Train it with 'categories' that name box, or take qwen_vl or minigpt_v2.")
        asked = [self.asked(WHERE["zh" if HAN.search(phrase) else "en"].format(phrase), BOX) for phrase in phrases]
        return [box_in(text) for text in self.write(asked, list(images[:, None]))]

    @torch.no_grad()
    def write(self, prompts: Sequence[Prompt], pictures: Sequence[Tensor], sampling: Sampling | None = None,
              seed: int = 0) -> list[str]:
        """The answers to prompts by the decoding engine, each the likeliest token after the other where `sampling` says
        nothing else. `pictures[i]` (n, 3, H, W) are those of prompt i, in the order in which they stand in it.

        Raises:
            UserError: a prompt has not as many pictures, or leaves its answer no room; a processor reads the prompt.
        """
        sampling = sampling or Sampling(temperature=0, max_tokens=self.options.answer_tokens)
        if refused := [name for name in sampling.processors if name in NOT_OF_PICTURES]:
            raise UserError(f"{refused[0]} reads the words of a prompt, and pictures are none.",
                            f"Leave out {refused[0]}.")
        rows = self._rows(prompts, [len(some) for some in pictures], sampling.max_tokens)
        requests = [Request(prompt, sampling, seed + number) for number, prompt in enumerate(prompts)]
        written: dict[int, str] = {}
        shown = self._on_device(torch.cat(list(pictures)))
        with words_for(self.language_model, in_parts(self.read_pictures, shown)), evaluating(self.language_model):
            call = LocalDecoder(self.language_model, self.tokenizer).call(sampling.strategy, requests, rows)
            while call.advance():
                written |= {place: answer.response.text for place, answer in call.finished()}
        return [written[number] for number in range(len(prompts))]

    def _on_device(self, images: Tensor) -> Tensor:
        return images.to(next(self.parameters()).device)

    def _rows(self, prompts: Sequence[Prompt], pictures: Sequence[int], room: int) -> list[list[int]]:
        """The tokens of prompts, the places of their pictures numbered on through all of them."""
        names, rows = count(self.vocabulary), []
        for prompt, there in zip(prompts, pictures, strict=True):
            tokens = encode_prompt(self.tokenizer, prompt)
            if tokens.count(self.mark) != there:
                raise UserError(f"A prompt names {tokens.count(self.mark)} pictures, and {there} are given.",
                                "Give it one picture for each of its image parts.")
            row: list[int] = []
            for token in tokens:
                row += islice(names, self.vectors) if token == self.mark else [token]
            if len(row) + room > context_length(self.language_model):
                raise UserError(f"A prompt of {len(row)} tokens, those of its pictures included, leaves no room for an "
                                f"answer of {room} in a context of {context_length(self.language_model)}.",
                                "Ask with fewer words or pictures, or for fewer tokens.")
            rows.append(row)
        return rows

    def score(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """log p(text | picture) in nats, as the answer to a request for a description in the text's language."""
        found = torch.empty(len(images), len(texts), device=next(self.parameters()).device)
        for language, wanted in DESCRIBE.items():
            own = [number for number, text in enumerate(texts) if (language == "zh") == bool(HAN.search(text))]
            if own:
                prompts = [self.asked(wanted, "caption")] * len(images)
                found[:, own] = self.log_likelihoods(images, prompts, [texts[number] for number in own])
        return found

    @torch.no_grad()
    def log_likelihoods(self, images: Tensor, prompts: Sequence[Prompt], texts: Sequence[str]) -> Tensor:
        """log p(text | picture and prompt), (images, texts), in nats; prompt i, of one picture, is about image i.

        A prompt is read once for several texts where the model's attention can keep them apart.
        """
        answers = [encode_answer(self.tokenizer, prompts[0], text) for text in texts]
        rows = self._rows(prompts, [1] * len(prompts), max(map(len, answers)))
        several = TEXTS if shares_prefix(self.language_model) else 1
        found = []
        vectors_KD = in_parts(self.read_pictures, self._on_device(images))
        with words_for(self.language_model, vectors_KD), evaluating(self.language_model):
            for first in range(0, len(answers), several):
                some = answers[first:first + several]
                asked = [RankedPrompt("", row, some, [0] * len(some)) for row in rows]
                found.append(torch.cat([self._likelihoods(asked[begin:begin + PICTURES], several > 1)
                                        for begin in range(0, len(asked), PICTURES)]))
        return torch.cat(found, 1)

    def _likelihoods(self, rows: Sequence[RankedPrompt], shared: bool) -> Tensor:
        batch = collate_ranked(rows, self.tokenizer.pad_token_id).to(str(next(self.parameters()).device))
        whole = batch if shared else Batch(batch.tensors | {"segments": batch["segments"].clamp(max=1)},
                                           batch.counts, batch.documents)
        states = hidden_states(self.language_model, whole, shared_prompt_mask if shared else block_mask)
        head = self.language_model.get_output_embeddings()
        return answer_likelihoods(states, batch, head.weight, head.bias)


def tower_for(sources: dict[str, Path], options: Any, size: int) -> nn.Module:
    """A tower with fresh weights, of the shape of the row that the step starts from, where there is one.

    Raises:
        UserError: that one is for pictures of another size, or of a kind that gives no patches.
    """
    tower = image_tower_of(sources["image"]) if "image" in sources else siglip_image_tower(options, size)
    if tower.config.image_size != size:
        raise UserError(f"The tower reads pictures of {tower.config.image_size} pixels, these have {size}.",
                        "Give the stage 'pictures' the size that the tower was trained with.")
    return tower


def language_model_of(source: Path) -> nn.Module:
    """The language model of a step or folder. That of a saved system has fresh weights: the system's own file has them.

    Raises:
        UserError: an adapter stands in or before it, which a saved system could not tell from its weights.
    """
    folder = model_folder(source)
    if not (folder.parent / "system.json").is_file():
        model = load_causal(folder)
        if carries_adapter(model):
            raise UserError(f"The language model in '{source}' is an adapter of another.",
                            "Give a folder with ordinary weights, which every training step here writes for LoRA.")
        return model
    from transformers import AutoConfig, AutoModelForCausalLM
    config = AutoConfig.from_pretrained(folder)
    network = AutoModelForCausalLM._model_mapping[type(config)]
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32,
                                            attn_implementation=attention_for(network, config))
