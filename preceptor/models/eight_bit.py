"""A frozen base in 8 bits under an adapter, as QLoRA has it in 4 (Dettmers et al. 2023, arXiv 2305.14314, §3).

    W ≈ s q,    q [out, in] whole numbers from -128 to 127, s [out, 1] the largest entry of a row over 127.5

`torchao` keeps q and s in the place of W and multiplies with s q; only the adapter learns. W takes a quarter of its
memory. What is merged and saved is s q and what the adapter learned, in full precision: the model that was trained.
"""

from typing import Any

from torch import Tensor, nn

from preceptor.run.errors import UserError


def quantise_base(model: nn.Module, maps: list[str]) -> None:
    """Put 8 bits in the place of the weights of these linear maps.

    Raises:
        UserError: `torchao` is not installed or does not run on this machine, or the family's maps are not torch's.
    """
    if not all(isinstance(model.get_submodule(name), nn.Linear) for name in maps):
        raise UserError(f"The matrices of a '{model.config.model_type}' model cannot be held in 8 bits: they are not "
                        "torch's own linear maps.", "Set base_bits to 32, or take a model of the Llama or Qwen family.")
    chosen = {id(model.get_submodule(name)) for name in maps}
    try:
        from torchao.quantization import Int8WeightOnlyConfig, quantize_
        quantize_(model, Int8WeightOnlyConfig(), filter_fn=lambda module, name: id(module) in chosen)
    except (ImportError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"This machine cannot hold a base in 8 bits: {str(error).splitlines()[0]}",
                        "Run: pip install 'preceptor[quantise]', or set base_bits to 32.") from None


def dense(weight: Any) -> Tensor:
    """The weight in full precision."""
    return weight.dequantize() if hasattr(weight, "qdata") else weight  # torchao's name of q
