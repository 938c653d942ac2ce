"""What the rows share that put pictures among the words of a language model: Frozen, BLIP-2, MiniGPT-4, MiniGPT-v2 and
Qwen-VL differ in their connector, in what learns, and in nothing else.

    image   a tower, fresh or taken over from the row that the step starts from
    connector   from what the tower sees to `vectors` that the language model reads where the picture stands
    language_model   the model of the step's input of that name, or of the row that it starts from
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch, Example
from preceptor.data.records import IMAGE, Conversation
from preceptor.losses.likelihood import selected_cross_entropy_sum
from preceptor.models.adapters import carries_adapter
from preceptor.models.causal import attention_for, context_length, hidden_states, load_causal, model_folder
from preceptor.models.vision.splice import numbered, pictures_in, spread, words_for
from preceptor.models.vision.towers import image_tower_of, siglip_image_tower
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import encode_conversation
from preceptor.vision.conversing import Conversing
from preceptor.vision.splice_options import SpliceOptions
from preceptor.vision.system import Sums, in_parts


class Spliced(Conversing):
    """A language model that reads each picture as `vectors` words; a row gives `connector` and `prefix`."""

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

    @contextmanager
    def shown(self, images: Tensor) -> Iterator[list[list[int]]]:
        with words_for(self.language_model, in_parts(self.read_pictures, images)):
            yield torch.arange(len(images) * self.vectors).add(self.vocabulary).view(len(images), -1).tolist()

    def conversation(self, record: Conversation) -> Example:
        """Errors as in `encode_conversation`; a picture in an answer is one, too."""
        example = self.encoded_conversation(record)
        if self.mark in example.targets:
            raise UserError(f"An answer of conversation '{record.id}' holds a picture, and a {self.options.system} "
                            "draws none.", "Leave the record out.")
        return spread(example, self.mark, self.vectors)

    def encoded_conversation(self, record: Conversation) -> Example:
        """The conversation in the words of this row, with one mark for each picture."""
        messages = [self.worded_message(message, record.category) for message in record.messages]
        return encode_conversation(self.tokenizer, replace(record, messages=messages))

    def worded_message(self, message: dict[str, Any], category: str | None) -> dict[str, Any]:
        """A message with its texts as `worded` has them, where somebody asks."""
        if message["role"] != "user" or isinstance(message["content"], str):
            return message
        return message | {"content": [part if part.get("type") != "text" else
                                      part | {"text": self.worded(part["text"], category)}
                                      for part in message["content"]]}

    def losses(self, batch: Batch) -> Sums:
        """-log p(answers | pictures and questions), over the tokens of the answers."""
        tokens_BT = batch["tokens"]
        vectors_KD = self.read_pictures(pictures_in(tokens_BT, batch["pixels"], self.mark, self.vectors))
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
