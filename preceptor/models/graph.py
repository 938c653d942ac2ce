"""A causal model as an ONNX graph with an explicit cache of keys and values, dynamic in batch and length.

Attention becomes `GroupQueryAttention`, an operator of ONNX Runtime that writes the new columns into the cache in
place; a graph of standard operators copies the whole cache at every token. The network's own code is traced, through
the library's interface for attention functions, so every family that uses the interface can be exported.

    input_ids (N, T) int64, position_ids (N, T) int64     the next T tokens of N rows
    attention_bias (N, 1, T, C) float32                   added to the scores; C columns are filled after this pass
    logit_places (K,) int64                               of which of the T tokens logits are wanted
    past.I.key, past.I.value (N, heads, room, width)      the cache of layer I, C <= room
    logits (N, K, V); present.I.key, present.I.value      the cache: bind it to the same memory
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.run.errors import UserError

OPSET = 21
ATTENTION = "preceptor_onnx"
LARGEST = 2**31 - 2**20  # bytes of weights that one file of the format can hold
Traced = tuple[Sequence[Tensor], Tensor, Tensor, Tensor, list[Tensor]]


class CausalStep(nn.Module):
    """What is traced: a causal model over its next tokens, with the cache as arguments and results."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, position_ids: Tensor, attention_bias: Tensor, logit_places: Tensor,
                past: Sequence[Tensor]) -> list[Tensor]:
        """The logits, then the caches."""
        columns = attention_bias.shape[3]
        last_N = torch.full((input_ids.shape[0],), columns - 1, dtype=torch.int32)
        presents: list[Tensor] = []
        _now.append((past, attention_bias, last_N, torch.scalar_tensor(columns, dtype=torch.int32), presents))
        try:
            states = self.model.base_model(input_ids=input_ids, position_ids=position_ids, use_cache=False,
                                           attention_mask=attention_bias).last_hidden_state
        finally:
            _now.pop()
        return [self.model.get_output_embeddings()(states.index_select(1, logit_places)), *presents]


_now: list[Traced] = []  # the cache of the trace at work: the interface for attention hands none through


def _attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
               scaling: float | None = None, **options: Any) -> tuple[Tensor, None]:
    """The library's attention function, (N, heads, T, width) to (N, T, heads, width), as one operator of the graph."""
    for name in ("sliding_window", "softcap", "s_aux"):
        if options.get(name) is not None:
            raise UserError(f"This family's attention uses '{name}', which the graph does not know.",
                            "Export a model of another family.")
    past, bias, last_N, total, presents = _now[-1]
    rows, heads, count, width = query.shape
    layer = past[2 * module.layer_idx:2 * module.layer_idx + 2]
    out, *present = torch.onnx.ops.symbolic_multi_out(
        "com.microsoft::GroupQueryAttention",
        (*(part.transpose(1, 2).reshape(rows, count, -1) for part in (query, key, value)), *layer, last_N, total,
         None, None, None, bias),
        attrs={"num_heads": heads, "kv_num_heads": key.shape[1], "scale": float(scaling or width**-0.5)},
        dtypes=(query.dtype,) * 3, shapes=((rows, count, heads * width), layer[0].shape, layer[1].shape), version=1)
    presents += present
    return out.reshape(rows, count, heads, width), None


def causal_graph(model: nn.Module) -> Any:
    """Trace a causal model; returns the graph with the weights, as an `onnx.ModelProto`. It takes seconds.

    The weights keep the names that they have in the model, so that `with_weights` can put others in their place.

    Raises:
        UserError: the exporter is not installed, or the family's network cannot be traced.
    """
    check_exporter(model)
    heads, width = cache_shape(model.config)
    layers = model.config.num_hidden_layers
    past = [torch.zeros(3, heads, 11, width) for _ in range(2 * layers)]
    batch, count, columns, room, wanted = (torch.export.Dim(name, min=1, max=2**20) for name in
                                           ("rows", "tokens", "columns", "room", "places"))
    names = [f"{{}}.{layer}.{part}" for layer in range(layers) for part in ("key", "value")]
    with attention_set(model, ATTENTION):
        return traced(
            CausalStep(model), (torch.zeros(3, 5, dtype=torch.long), torch.zeros(3, 5, dtype=torch.long),
                                torch.zeros(3, 1, 5, 7), torch.zeros(2, dtype=torch.long), past),
            inputs=["input_ids", "position_ids", "attention_bias", "logit_places",
                    *(name.format("past") for name in names)],
            outputs=["logits", *(name.format("present") for name in names)],
            shapes=({0: batch, 1: count}, {0: batch, 1: count}, {0: batch, 2: count, 3: columns}, {0: wanted},
                    [{0: batch, 2: room}] * len(past)))


def check_exporter(model: nn.Module) -> None:
    """Refuse what cannot be exported, before work starts."""
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise UserError("ONNX is not installed.", "Install it: pip install 'preceptor[onnx]'.") from None
    size = sum(parameter.numel() for parameter in model.parameters()) * 4
    if size > LARGEST:
        raise UserError(f"The model's weights take {size / 2**30:.1f} GiB, and one ONNX file holds 2.",
                        "Export a smaller model.")


def traced(module: nn.Module, examples: tuple, *, inputs: list[str], outputs: list[str], shapes: tuple) -> Any:
    """A module as an ONNX graph; `examples` are arguments of some shape, `shapes` say which axes are free."""
    import logging
    import warnings
    logger = logging.getLogger("torch.onnx")
    level, modes = logger.level, [(part, part.training) for part in module.modules()]
    logger.setLevel(logging.ERROR)  # it reports each library that is not installed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.onnx.export(module.eval(), examples, dynamo=True, input_names=inputs, output_names=outputs,
                                     dynamic_shapes=shapes, opset_version=OPSET, optimize=False,
                                     verbose=False).model_proto
    except torch.onnx.OnnxExporterError as error:
        cause = error.__cause__ or error
        raise cause if isinstance(cause, UserError) else UserError(
            f"The network cannot be traced: {str(cause).partition(chr(10))[0]}",
            "Export a model of another family.") from None
    finally:
        logger.setLevel(level)
        for part, training in modes:
            part.training = training


@contextmanager
def attention_set(model: nn.Module, kind: str) -> Iterator[None]:
    """The model with another attention function, and with its own afterwards."""
    from transformers import AttentionInterface
    AttentionInterface.register(ATTENTION, _attention)
    own = model.config._attn_implementation
    model.config._attn_implementation = kind
    try:
        yield
    finally:
        model.config._attn_implementation = own


def cache_shape(config: Any) -> tuple[int, int]:
    """The heads of a layer's cache, and the width of each."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return heads, getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


@torch.no_grad()
def with_weights(graph: Any, model: nn.Module) -> Any:
    """The graph with the weights that the model has now, in place.

    Raises:
        ValueError: the graph is of another model.
    """
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    shared = {tensor.name for tensor in graph.graph.initializer}
    if not any(name in shared for name in weights):
        raise ValueError("the graph holds none of the model's weights")
    for tensor in graph.graph.initializer:
        if tensor.name in weights:
            tensor.raw_data = weights[tensor.name].float().cpu().contiguous().numpy().tobytes()
    return graph
