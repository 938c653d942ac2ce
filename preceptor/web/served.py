"""Models as they are served: a causal model behind an engine, a reward model as it is."""

from pathlib import Path

from preceptor.deploy.export import kind_of
from preceptor.generate.engine import Engine
from preceptor.generate.local import LocalDecoder
from preceptor.generate.onnx import load_for_decoding
from preceptor.models.causal import model_folder
from preceptor.models.reward_model import RewardModel
from preceptor.run.errors import UserError
from preceptor.tokenizer.chat import load_tokenizer
from preceptor.web.options import ServeOptions


def load(name: str, folder: Path, options: ServeOptions) -> Engine | RewardModel:
    """The model in a folder of a step or of a model.

    Raises:
        UserError: it cannot be loaded, or is neither a causal nor a reward model.
    """
    folder = model_folder(folder)
    kind = kind_of(folder)
    if kind == "reward":
        return RewardModel(folder)
    if kind != "causal":
        raise UserError(f"'{folder}' is an encoder, which is not served.", "Give a causal or a reward model.")
    decoder = LocalDecoder(load_for_decoding(folder, options.runtime), load_tokenizer(folder), rows=options.rows, name=name)
    return Engine(decoder, options.waiting)
