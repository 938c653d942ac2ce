"""An exported graph with integers for weights, made by ONNX Runtime's own quantiser.

    int4_weights, int8_weights   MatMulNBits: each `block` of neighbouring inputs of an output shares a scale
    int8_dynamic                 MatMulInteger: a scale for each output; inputs are rounded to 8 bits as they come
    int8_static                  the same, inputs rounded by scales measured beforehand on real text

A graph begins with a table, from which each token's row is taken, and a causal model often ends with a product with the
same table. The quantiser leaves the table in fp32 beside the integers of the product, which would be most of a small
model; here both read the same integers.
"""

import copy
import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from preceptor.deploy.options import QuantiseOptions
from preceptor.run.errors import UserError

BITS = {"int4_weights": 4, "int8_weights": 8}
INTEGER_PRODUCTS = 4  # the operator's accuracy_level at which inputs become 8 bit integers inside it: the fast kernels
LEAST_BLOCK = 16  # of the operators
Feeds = Iterable[dict[str, np.ndarray]]


def check_block(block: int) -> None:
    """Raises:
        UserError: the operators know no such block.
    """
    if block < LEAST_BLOCK or block & (block - 1):
        raise UserError(f"A block of {block} weights is none that the operators know.",
                        f"Give a power of two from {LEAST_BLOCK}.")


def with_integers(graph: Any, options: QuantiseOptions, feeds: Feeds = ()) -> Any:
    """The graph with the numbers that the options name; `graph`, an `onnx.ModelProto` in fp32, is left alone.

    Args:
        feeds: inputs of the graph from which int8_static measures its scales; the others need none.

    Raises:
        UserError: the graph has no product with fixed weights.
    """
    plain = with_plain_products(graph)
    if not plain.products:
        raise UserError("The graph has no product with fixed weights: there is nothing to quantise.",
                        "Give a model with linear maps.")
    with _quiet():
        if options.numbers in BITS:
            found = _in_blocks(plain, options)
        else:
            found = _by_output(plain, options, feeds)
    _share_table(found, plain, options)
    return _stripped(found)


@dataclass(frozen=True, slots=True)
class Plain:
    """A graph all of whose products with fixed weights are MatMul, the weight (inputs, outputs)."""

    model: Any
    products: list[str]
    """Names of the fixed weights of products."""
    turned: dict[str, str]
    """Of a weight that was transposed: what it is called now."""


def with_plain_products(graph: Any) -> Plain:
    """The graph with its weights transposed beforehand, and each Gemm as MatMul and Add."""
    from onnx import helper, numpy_helper
    model = copy.deepcopy(graph)
    inner, nodes, turned = model.graph, [], {}
    fixed = {one.name: one for one in inner.initializer}
    for node in inner.node:
        if node.op_type == "Transpose" and node.input[0] in fixed and len(fixed[node.input[0]].dims) == 2:
            weight = numpy_helper.to_array(fixed[node.input[0]])
            inner.initializer.append(numpy_helper.from_array(np.ascontiguousarray(weight.T), node.output[0]))
            turned[node.input[0]] = node.output[0]
        elif node.op_type == "Gemm" and _is_a_plain_sum(node):
            product = f"{node.output[0]}.product"
            nodes += [helper.make_node("MatMul", node.input[:2], [product], name=f"{node.name}.product"),
                      helper.make_node("Add", [product, node.input[2]], node.output, name=node.name)]
            inner.value_info.append(helper.make_tensor_value_info(product, 1, None))
        else:
            nodes.append(node)
    del inner.node[:]
    inner.node.extend(nodes)
    _drop_unused(inner)
    fixed = {one.name: one for one in inner.initializer}
    products = [node.input[1] for node in nodes if node.op_type == "MatMul" and node.input[1] in fixed]
    return Plain(model, products, turned)


def _is_a_plain_sum(node: Any) -> bool:
    """Whether a Gemm is x·W + b and no more."""
    said = {one.name: one.f if one.name in ("alpha", "beta") else one.i for one in node.attribute}
    return (len(node.input) == 3 and said.get("alpha", 1.0) == said.get("beta", 1.0) == 1.0
            and not said.get("transA", 0) and not said.get("transB", 0))


def _in_blocks(plain: Plain, options: QuantiseOptions) -> Any:
    """Weights alone, in blocks: round to nearest, symmetric."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    quantiser = MatMulNBitsQuantizer(copy.deepcopy(plain.model), accuracy_level=INTEGER_PRODUCTS,
                                     algo_config=_in_blocks_of(options))
    quantiser.process()
    return quantiser.model.model


def _in_blocks_of(options: QuantiseOptions) -> Any:
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig
    return DefaultWeightOnlyQuantConfig(bits=BITS.get(options.numbers, 8), block_size=options.block, is_symmetric=True,
                                        accuracy_level=INTEGER_PRODUCTS)


def _by_output(plain: Plain, options: QuantiseOptions, feeds: Feeds) -> Any:
    """Weights and inputs in 8 bits; the quantiser works from file to file."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(feeds)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.left, None)

    common = {"per_channel": True, "reduce_range": options.reduce_range, "weight_type": QuantType.QInt8,
              "op_types_to_quantize": ["MatMul"]}
    extra = {"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT}
    with tempfile.TemporaryDirectory() as folder:
        source, target = str(Path(folder) / "source.onnx"), str(Path(folder) / "target.onnx")
        onnx.save(plain.model, source)
        if options.numbers == "int8_dynamic":
            quantize_dynamic(source, target, extra_options=extra, **common)
        else:
            quantize_static(source, target, Reader(), activation_type=QuantType.QUInt8, extra_options=extra | {
                "OpTypesToExcludeOutputQuantization": ["MatMul"]}, **common)
        return onnx.load(target)


def _share_table(model: Any, plain: Plain, options: QuantiseOptions) -> None:
    """Take the rows of the largest table that is looked up from integers, in place; the product's, if it is tied."""
    from onnx import helper, numpy_helper
    inner = model.graph
    fixed = {one.name: one for one in inner.initializer}
    lookups = [node for node in inner.node if node.op_type == "Gather" and node.input[0] in fixed
               and len(fixed[node.input[0]].dims) == 2]
    if not lookups:
        return
    lookup = max(lookups, key=lambda node: fixed[node.input[0]].dims[0] * fixed[node.input[0]].dims[1])
    name, result = lookup.input[0], lookup.output[0]
    product = plain.turned.get(name)
    if options.numbers not in BITS and product in plain.products:
        nodes = _columns(inner, product, lookup.input[1], result)
    elif fixed[name].dims[1] % options.block:
        return  # the operator wants whole blocks: such a table stays in fp32
    else:
        packed = f"{product}_Q{BITS.get(options.numbers)}", f"{product}_scales"
        if packed[0] not in fixed:
            packed = _packed(inner, name, numpy_helper.to_array(fixed[name]), options)
        shape = f"{name}.shape"
        inner.initializer.append(numpy_helper.from_array(np.array([fixed[name].dims[0], -1]), shape))
        nodes = [helper.make_node("Reshape", [packed[0], shape], [f"{name}.rows"]),
                 helper.make_node("GatherBlockQuantized", [f"{name}.rows", lookup.input[1], packed[1]], [result],
                                  domain="com.microsoft", block_size=options.block, gather_axis=0, quantize_axis=1,
                                  bits=BITS.get(options.numbers, 8))]
    place = list(inner.node).index(lookup)
    kept = [*list(inner.node)[:place], *nodes, *list(inner.node)[place + 1:]]
    del inner.node[:]
    inner.node.extend(kept)
    _drop_unused(inner)


def _packed(inner: Any, name: str, table: np.ndarray, options: QuantiseOptions) -> tuple[str, str]:
    """The table in blocks, as the quantiser packs a weight."""
    from onnx import numpy_helper
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantizer
    packed, scales, _ = DefaultWeightOnlyQuantizer(_in_blocks_of(options)).qbits_block_quant(
        np.ascontiguousarray(table.T))
    names = f"{name}.packed", f"{name}.scales"
    inner.initializer.extend(numpy_helper.from_array(one, called) for one, called in zip((packed, scales), names))
    return names


def _columns(inner: Any, product: str, ids: str, result: str) -> list[Any]:
    """Rows of a table that is there as the weight (width, tokens) of a product, with a scale for each token."""
    from onnx import helper, numpy_helper
    inner.initializer.append(numpy_helper.from_array(np.array([-1]), f"{result}.last"))
    return [helper.make_node("Gather", [f"{product}_quantized", ids], [f"{result}.columns"], axis=1),
            helper.make_node("Transpose", [f"{result}.columns"], [f"{result}.rows"], perm=[1, 2, 0]),
            helper.make_node("Cast", [f"{result}.rows"], [f"{result}.whole"], to=1),
            helper.make_node("Gather", [f"{product}_scale", ids], [f"{result}.scales"], axis=0),
            helper.make_node("Unsqueeze", [f"{result}.scales", f"{result}.last"], [f"{result}.scale"]),
            helper.make_node("Mul", [f"{result}.whole", f"{result}.scale"], [result])]


def _drop_unused(inner: Any) -> None:
    used = {name for node in inner.node for name in node.input}
    kept = [one for one in inner.initializer if one.name in used]
    del inner.initializer[:]
    inner.initializer.extend(kept)


def _stripped(model: Any) -> Any:
    """Without what the exporter noted about its trace: of a small model that is a tenth of the file."""
    inner = model.graph
    del inner.value_info[:], model.metadata_props[:], inner.metadata_props[:]
    for part in (*inner.node, *inner.initializer, *inner.input, *inner.output):
        part.doc_string = ""
        del part.metadata_props[:]
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser sets up the program's log when it is imported, and speaks of every node; neither is wanted."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    import onnxruntime.quantization.matmul_nbits_quantizer  # noqa: F401
    root.handlers[:] = handlers
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
