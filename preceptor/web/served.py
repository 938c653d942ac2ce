"""Models as they are served: causal models and systems that see behind an engine, rewards that score, encoders that
embed."""

import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from preceptor.data.pictures.decode import need_pillow
from preceptor.data.records import Prompt, Response
from preceptor.data.reward import Reward
from preceptor.deploy.export import kind_of
from preceptor.feedback.rewards import open_reward
from preceptor.generate.engine import Engine
from preceptor.generate.local import LocalDecoder
from preceptor.generate.onnx import load_for_decoding
from preceptor.models.causal import model_folder
from preceptor.models.embedding import TextEncoder
from preceptor.models.encoder import is_encoder_reward
from preceptor.models.rewards import DESCRIPTION
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import load_tokenizer
from preceptor.vision.keep import load_system
from preceptor.vision.pair_encoder import PairEncoder, Picture
from preceptor.vision.reader import Reader, reader_of
from preceptor.vision.system import TwoTowers
from preceptor.web.asked import Asked
from preceptor.web.gathered import Gathered
from preceptor.web.options import ServeOptions

TEXTS = 64  # that are embedded at once
PICTURES = 16  # that are read at once


class Shown:
    """The pictures of one call: while somebody holds this, they stand on the shelf of their reader."""


class Sighted(Engine):
    """An engine that answers about pictures, too; those of calls that come at once are read together."""

    def __init__(self, reader: Reader, options: ServeOptions) -> None:
        super().__init__(reader.decoder, options.waiting)
        self.reader = reader
        self._pictures = Gathered(reader.read, PICTURES, PICTURES * max(1, options.waiting))

    async def shown(self, asked: Asked) -> Asked:
        """The same request with its pictures read, and their numbers in its prompts.

        Raises:
            Full: too many pictures wait.
            UserError: one of its pictures cannot be used.
        """
        seen = await self._pictures.results(list(enumerate(asked.pictures, start=1)))
        prompt, numbers = self.reader.numbered(asked.prompts[0], seen)
        shown = Shown()
        weakref.finalize(shown, self.reader.shelf.take_away, numbers).atexit = False
        return replace(asked, prompts=[prompt] * len(asked.prompts), pictures=[], shown=shown)


class Scorer:
    """A reward whose calls wait for each other: it counts what it cuts, and the count is each call's own."""

    def __init__(self, reward: Reward, options: ServeOptions) -> None:
        self.reward = reward
        self._calls = Gathered(lambda calls: [self._scored(*call) for call in calls], 1, options.waiting)

    async def score(self, messages: list[dict[str, Any]], texts: list[str]) -> tuple[list[float], int]:
        """The score of each answer to a conversation, and how many lost the beginning of their prompt.

        Raises:
            Full: too many calls wait.
        """
        return (await self._calls.results([(messages, texts)]))[0]

    def _scored(self, messages: list[dict[str, Any]], texts: list[str]) -> tuple[list[float], int]:
        before = getattr(self.reward, "truncated", 0)
        values = self.reward.score([Prompt("score", messages)] * len(texts), [Response(text, "eos") for text in texts])
        return values, getattr(self.reward, "truncated", 0) - before

    def at_work(self) -> int:
        """Calls that are not finished."""
        return self._calls.at_work()

    def alive(self) -> bool:
        """A reward has no thread that could end."""
        return True

    def close(self) -> None:
        """There is nothing to end."""


class Embedder:
    """An encoder whose texts, and pictures where it sees, are embedded together with those of other calls."""

    def __init__(self, encoder: TextEncoder | PairEncoder, options: ServeOptions) -> None:
        self.encoder = encoder
        self._texts = Gathered(encoder.embed, TEXTS, TEXTS * options.waiting)

    async def embed(self, texts: Sequence[list[int] | Picture]) -> list[list[float]]:
        """The vectors of texts that the encoder made tokens of, and of pictures.

        Raises:
            Full: too many texts wait.
            UserError: a picture cannot be used.
        """
        return await self._texts.results(texts)

    def at_work(self) -> int:
        """Texts that are not embedded yet."""
        return self._texts.at_work()

    def alive(self) -> bool:
        """An encoder has no thread that could end."""
        return True

    def close(self) -> None:
        """There is nothing to end."""


Served = Engine | Scorer | Embedder


def sees_pictures(model: Served) -> bool:
    """Whether a model can be shown pictures."""
    return isinstance(model, Sighted) or (isinstance(model, Embedder) and isinstance(model.encoder, PairEncoder))


def load(name: str, folder: Path, options: ServeOptions) -> Served:
    """The model in a folder of a step or of a model: causal, a system that sees, a reward, or an encoder.

    Raises:
        UserError: it cannot be loaded, or is of another kind.
    """
    model = model_folder(folder)
    if (model / "system.json").exists():
        return _sighted(name, model, options)
    if (folder / DESCRIPTION).exists() or is_encoder_reward(model):
        return Scorer(open_reward(folder), options)
    kind = kind_of(model)
    if kind == "causal":
        decoder = LocalDecoder(load_for_decoding(model, options.runtime), load_tokenizer(model), rows=options.rows,
                               name=name)
        return Engine(decoder, options.waiting)
    return Scorer(open_reward(model), options) if kind == "reward" else Embedder(TextEncoder(model), options)


def _sighted(name: str, folder: Path, options: ServeOptions) -> Sighted | Embedder:
    if options.runtime == "onnx":
        raise UserError(f"'{folder}' is a system that sees, which PyTorch alone runs.", "Leave the runtime out.")
    need_pillow()
    system = load_system(folder)
    reader = reader_of(system, options.rows, name)
    if reader is not None:
        return Sighted(reader, options)
    if isinstance(system, TwoTowers):
        return Embedder(PairEncoder(system), options)
    raise UserError(f"The system in '{folder}', a {system.options.system}, neither writes nor has a vector of a picture"
                    " and one of a text.", "Ask it with preceptor see, or serve a row such as qwen_vl, coca or siglip.")
