"""Texts as vectors of unit length, by an encoder (BERT and its like) or what `preceptor export` made of one.

How the states of a text's tokens become one vector is said by the folder, in the form of sentence-transformers
(1_Pooling/config.json: mean, cls or max; sentence_bert_config.json: the most tokens); without it, the mean is taken
(Reimers & Gurevych 2019, arXiv 1908.10084, §3).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from preceptor.models.causal import configured_length, load_network
from preceptor.models.encoder import load_pair_tokenizer
from preceptor.run.errors import UserError
from preceptor.run.files import read_json

GRAPH = "model.onnx"


class TextEncoder:
    """An encoder's folder, embedding texts.

    Raises:
        UserError: the folder is no encoder, or pools in a way that is not known here.
    """

    def __init__(self, folder: Path) -> None:
        self.tokenizer = load_pair_tokenizer(folder)
        self._graph = _session(folder) if (folder / GRAPH).exists() else None
        self.trunk = None if self._graph else _trunk(folder)
        config = _config(folder)
        self.pooling, self.width = pooling_of(folder), config.hidden_size
        said = folder / "sentence_bert_config.json"
        most = read_json(said).get("max_seq_length") if said.exists() else None
        self.longest = min(most or configured_length(config), configured_length(config))

    def tokens(self, text: str) -> list[int]:
        """A text as the encoder reads it, special tokens included.

        Raises:
            UserError: it is longer than what the encoder can read, or nothing is left of it.
        """
        found = self.tokenizer(text, verbose=False)["input_ids"]
        if len(found) > self.longest:
            raise UserError(f"A text of {len(found)} tokens does not fit the {self.longest} that the encoder reads.",
                            "Divide it, and embed the parts.")
        if not found:
            raise UserError("Of a text the vocabulary leaves nothing, which has no vector.", "Leave it out.")
        return found

    @torch.inference_mode()
    def embed(self, texts: Sequence[list[int]]) -> list[list[float]]:
        """One vector for each text's tokens, of length 1; it does not depend on the others."""
        width = max(2, *map(len, texts))  # one column alone is not what graphs were traced for
        ids_NT = torch.tensor([text + [self.tokenizer.pad_token_id] * (width - len(text)) for text in texts])
        seen_NT = torch.arange(width) < torch.tensor([[len(text)] for text in texts])
        return normalize(pooled(self._states(ids_NT, seen_NT.long()), seen_NT, self.pooling), dim=-1).tolist()

    def _states(self, ids_NT: Tensor, seen_NT: Tensor) -> Tensor:
        """The last hidden states (N, T, D)."""
        if self._graph is not None:
            inputs = {"input_ids": ids_NT.numpy(), "attention_mask": seen_NT.numpy()}
            return torch.from_numpy(self._graph.run(None, inputs)[0])
        device = self.trunk.device
        states_NTD = self.trunk(input_ids=ids_NT.to(device), attention_mask=seen_NT.to(device)).last_hidden_state
        return states_NTD.float().cpu()


def pooled(states_NTD: Tensor, seen_NT: Tensor, pooling: str) -> Tensor:
    """One vector (N, D) for the tokens of each row that are `seen`; the first is always one of them."""
    if pooling == "cls":
        return states_NTD[:, 0]
    seen_NT1 = seen_NT[..., None]
    if pooling == "max":
        return states_NTD.masked_fill(~seen_NT1, -torch.inf).amax(1)
    return (states_NTD * seen_NT1).sum(1) / seen_NT1.sum(1)


def pooling_of(folder: Path) -> str:
    """mean, cls or max, as the folder says.

    Raises:
        UserError: it says something else.
    """
    said = folder / "1_Pooling" / "config.json"
    if not said.exists():
        return "mean"
    config = read_json(said)
    names = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "max": "pooling_mode_max_tokens"}
    chosen = [config["pooling_mode"]] if "pooling_mode" in config else \
        [name for name in config if name.startswith("pooling_mode_") and config[name]]
    for name, field in names.items():
        if chosen in ([name], [field]):
            return name
    raise UserError(f"'{said}' pools by {chosen}, which is not known here.", f"Known are: {', '.join(names)}.")


def _config(folder: Path) -> Any:
    from transformers import AutoConfig
    return AutoConfig.from_pretrained(folder)


def _trunk(folder: Path) -> nn.Module:
    """The encoder without its head."""
    import transformers
    name = (_config(folder).architectures or [""])[0]
    kind = getattr(transformers, name, None)
    if kind is None:
        raise UserError(f"'{folder}' is of the kind '{name or 'unknown'}', which is no encoder.", "Give an encoder.")
    return load_network(kind, folder).base_model.eval()


def _session(folder: Path) -> Any:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(folder / GRAPH), options, providers=["CPUExecutionProvider"])
    if session.get_outputs()[0].name != "last_hidden_state":
        raise UserError(f"'{folder}' is an exported model with a head, whose results are no embedding.",
                        "Export the encoder without its head.")
    return session
