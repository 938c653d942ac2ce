"""Whether fresh weights carry activations forward and gradients back through all blocks at one scale."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class BlockScale:
    """Root mean squares of what a block hands on, and of the loss's gradient with respect to it."""

    block: str
    activation: float
    gradient: float


def blocks(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The blocks of every stack, in order."""
    stacks = [(name, part) for name, part in model.base_model.named_modules() if isinstance(part, nn.ModuleList)]
    whole = [(name, part) for name, part in stacks if not any(name.startswith(f"{other}.") for other, _ in stacks)]
    return [(f"{name}.{number}", block) for name, part in whole for number, block in enumerate(part)]


def block_scales(model: nn.Module, mean_loss: Callable[[], Tensor]) -> list[BlockScale]:
    """The scales of one forward and one backward pass of `mean_loss`. Gradients are left as they were: none."""
    outputs: dict[str, Tensor] = {}

    def keeping(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(_: nn.Module, __: Any, output: Tensor | tuple[Tensor, ...]) -> None:
            states = output[0] if isinstance(output, tuple) else output
            states.retain_grad()
            outputs[name] = states
        return keep

    hooks = [block.register_forward_hook(keeping(name)) for name, block in blocks(model)]
    try:
        mean_loss().backward()
    finally:
        for hook in hooks:
            hook.remove()
    model.zero_grad(set_to_none=True)
    return [BlockScale(name, _rms(states.detach()), _rms(states.grad)) for name, states in outputs.items()]


def said(scales: list[BlockScale]) -> list[str]:
    """A line a block, and the ratio between the largest and the smallest block of a stack, where it is worst."""
    width = max(len(scale.block) for scale in scales)
    lines = [f"{scale.block:{width}}  activations {scale.activation:9.3g}  gradients {scale.gradient:9.3g}"
             for scale in scales]
    return [*lines, "; ".join(f"{what}s differ up to {_ratio(scales, what):.2g}-fold between the blocks of a stack"
                              for what in ("activation", "gradient"))]


def _ratio(scales: list[BlockScale], what: str) -> float:
    stacks: dict[str, list[float]] = {}
    for scale in scales:
        stacks.setdefault(scale.block.rpartition(".")[0], []).append(getattr(scale, what))
    return max(max(values) / max(min(values), 1e-30) for values in stacks.values())


def _rms(values: Tensor) -> float:
    return float(values.float().square().mean().sqrt())
