"""A causal model in ONNX Runtime, for the local decoder: what is decoded, and how, stays the decoder's own.

    decoder = LocalDecoder(OnnxPolicy(model).packed(), tokenizer)

`OnnxCausal` takes what the decoder gives to a network of the library and gives back logits. The decoder's cache is
bound to the graph's inputs and outputs, so that the new columns are written in place and nothing is copied. It is
faster than PyTorch (docs/performance.md), because products with fixed weights work on weights that were packed once.
"""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.generate.cache import BlockCache, BlockLayer
from preceptor.models.adapters import carries_adapter
from preceptor.models.attention import block_mask
from preceptor.models.graph import cache_shape, causal_graph, check_exporter, with_weights
from preceptor.models.shared_base import load_shared
from preceptor.run.errors import UserError, nearest

FILE = "model.onnx"
TYPES = {torch.float32: np.float32, torch.int64: np.int64}


class OnnxCausal(nn.Module):
    """An exported causal model, as far as a decoder uses one; without hidden states, and so no contrastive search.

    It works on the CPU, in float32, with as many threads as torch has when it is made.
    """

    def __init__(self, config: Any, graph: bytes | str) -> None:
        super().__init__()
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.config, self.device, self.dtype = config, torch.device("cpu"), torch.float32
        self.config._attn_implementation = "eager"  # masks are addends
        self.layers = sum(one.name.startswith("past.") for one in self.session.get_inputs()) // 2
        self.shape = cache_shape(self.config)
        self.vocabulary = self.session.get_outputs()[0].shape[2]
        self._bound: tuple[BlockCache, Any] | None = None

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The model of a folder that `preceptor export` wrote.

        Raises:
            UserError: ONNX Runtime is not installed, or there is no such model.
        """
        from transformers import AutoConfig
        try:
            return cls(AutoConfig.from_pretrained(folder), str(folder / FILE))
        except ImportError:
            raise UserError("ONNX Runtime is not installed.", "Install it: pip install 'preceptor[onnx]'.") from None
        except Exception as error:  # the runtime's own kinds, of which there are a dozen
            raise UserError(f"'{folder}' cannot be loaded as an exported model: {str(error).splitlines()[0]}",
                            "Write it with preceptor export.") from None

    def forward(self, input_ids: Tensor, position_ids: Tensor, attention_mask: Tensor, past_key_values: BlockCache,
                use_cache: bool, logits_to_keep: int = 0) -> SimpleNamespace:
        """`logits` (N, K, V) of the last `logits_to_keep` tokens, or of all; the cache gains the tokens."""
        rows, count = input_ids.shape
        if not past_key_values.layers:
            past_key_values.layers = [self._layer(rows, past_key_values.columns) for _ in range(self.layers)]
        keep = logits_to_keep or count
        length = past_key_values.get_seq_length() + count
        mask = attention_mask.expand(rows, 1, count, length).contiguous()
        logits = torch.empty(rows, keep, self.vocabulary)
        binding = self._binding(past_key_values)
        held = {"input_ids": input_ids.contiguous(), "position_ids": position_ids.contiguous(),
                "attention_bias": mask, "logit_places": torch.arange(count - keep, count)}
        for name, tensor in held.items():
            binding.bind_input(name, "cpu", 0, TYPES[tensor.dtype], tuple(tensor.shape), tensor.data_ptr())
        binding.bind_output("logits", "cpu", 0, np.float32, tuple(logits.shape), logits.data_ptr())
        for layer in past_key_values.layers:
            layer.length = length
        self.session.run_with_iobinding(binding)
        return SimpleNamespace(logits=logits)

    @torch.no_grad()
    def packed_logits(self, batch: Batch) -> Tensor:
        """Logits (rows, time, V) over a packed batch, its documents apart."""
        cache = BlockCache(batch["tokens"].shape[1])
        return self(batch["tokens"], batch["positions"], block_mask(batch["segments"], self), cache, True).logits

    def _binding(self, cache: BlockCache) -> Any:
        """The graph's inputs and outputs with the cache in its place, kept while one cache is in use."""
        if self._bound is None or self._bound[0] is not cache:
            binding = self.session.io_binding()
            for number, layer in enumerate(cache.layers):
                for part, block in (("key", layer.keys), ("value", layer.values)):
                    place = ("cpu", 0, np.float32, tuple(block.shape), block.data_ptr())
                    binding.bind_input(f"past.{number}.{part}", *place)
                    binding.bind_output(f"present.{number}.{part}", *place)
            self._bound = cache, binding
        return self._bound[1]

    def _layer(self, rows: int, columns: int) -> BlockLayer:
        layer = BlockLayer(columns)
        heads, width = self.shape
        layer.keys, layer.values = (torch.zeros(rows, heads, columns, width) for _ in range(2))
        layer.is_initialized = True
        return layer


RUNTIMES = ("pytorch", "onnx")


def load_for_decoding(folder: Path, runtime: str = "") -> nn.Module:
    """The model of a folder for a decoder alone: an exported one in ONNX Runtime, any other in PyTorch, or in ONNX
    Runtime (traced here, which takes seconds) where `runtime` says so. Adapters share the weights of their base.

    Raises:
        UserError: as `OnnxCausal.load`, `load_causal` and `causal_graph`; there is no such runtime, or PyTorch is asked
            for and the folder holds nothing but a graph.
    """
    if runtime and runtime not in RUNTIMES:
        raise UserError(f"There is no runtime '{runtime}'.", nearest(runtime, RUNTIMES))
    if not (folder / FILE).exists():
        model = load_shared(folder)
        if runtime == "onnx" and carries_adapter(model):
            raise UserError(f"'{folder}' is an adapter, which PyTorch alone runs on its base.",
                            "Merge it (preceptor adapter merge), or leave the runtime out.")
        return OnnxPolicy(model).packed() if runtime == "onnx" else model
    if runtime == "pytorch":
        raise UserError(f"'{folder}' is an exported model, which PyTorch does not run.",
                        "Give the folder that it was exported from, or leave the runtime to the folder.")
    return OnnxCausal.load(folder)


class OnnxPolicy:
    """A model that goes on learning, as ONNX graphs: traced once, and packed anew when its weights have changed."""

    def __init__(self, model: nn.Module) -> None:
        check_exporter(model)
        self.model, self.graph = model, causal_graph(model)

    def packed(self) -> OnnxCausal:
        """The model with the weights that it has now."""
        return OnnxCausal(copy.deepcopy(self.model.config), with_weights(self.graph, self.model).SerializeToString())
