"""Soft prompts: vectors that stand before every text and are all that learns; the network is frozen.

    prompt      P vectors, at first those of tokens drawn from the vocabulary (Lester et al. 2021, arXiv 2104.08691)
    p_tuning    P vectors that a small network makes of P others; both learn, and only what it makes is kept
                (Liu et al. 2021, arXiv 2103.10385)

Every document begins behind the prompt: it sees all of it, and its own first token stands at position P. The prompt
sees no document, so that its states are the same for all of them, and it stands once at the start of a packed row:

    row          v0 v1 | a0 a1 a2 | b0 b1         position  0 1 | 2 3 4 | 2 3
    b0 sees      v0 v1              b0

Where attention goes by the distance in the row (a sliding window, ALiBi), that would not be what a document alone
sees; there each document of a row runs in a row of its own. A text and its prompt share the model's context.
Legend: P vectors, D width, B rows, T positions, N texts, L their longest.
"""

from typing import Any

import torch
from torch import Tensor, nn

from preceptor.models.adapters import peft_package
from preceptor.models.attention import Mask
from preceptor.run.errors import UserError


class SoftPrompt(nn.Module):
    """`peft`'s own module for a kind of soft prompt, its configuration, and whether it is on."""

    def __init__(self, encoder: nn.Module, config: Any) -> None:
        super().__init__()
        self.encoder, self.config, self.on = encoder, config, True

    def __len__(self) -> int:
        return self.config.num_virtual_tokens

    def forward(self) -> Tensor:
        """The vectors (P, D)."""
        return self.encoder(torch.arange(len(self), device=next(self.parameters()).device)[None])[0].float()


def add_soft_prompt(model: nn.Module, kind: str, tokens: int) -> None:
    """Freeze the model, and put a fresh soft prompt before it, from the global generator.

    Raises:
        UserError: `peft` is not installed, or no vector is wanted.
    """
    if tokens < 1:
        raise UserError(f"A prompt of {tokens} vectors can learn nothing.", "Set prompt_tokens to 1 or more.")
    peft = peft_package()
    table = model.get_input_embeddings()
    shape = {"num_virtual_tokens": tokens, "token_dim": table.embedding_dim, "num_transformer_submodules": 1,
             "num_attention_heads": getattr(model.config, "num_attention_heads", 1),
             "num_layers": model.config.num_hidden_layers}
    if kind == "prompt":
        config = peft.PromptTuningConfig(prompt_tuning_init="SAMPLE_VOCAB", **shape)
        encoder = peft.PromptEmbedding(config, table)
    else:
        config = peft.PromptEncoderConfig(encoder_hidden_size=table.embedding_dim, **shape)
        encoder = peft.PromptEncoder(config)
    model.requires_grad_(False)
    model.soft_prompt = SoftPrompt(encoder, config).to(model.device)


def put_soft_prompt(model: nn.Module, config: Any, vectors_PD: Tensor) -> None:
    """Put vectors that were learned before the model; the network that made them is not needed any more."""
    model.soft_prompt = SoftPrompt(nn.Embedding.from_pretrained(vectors_PD.float().clone()), config).to(model.device)


def prompt_vectors(model: nn.Module) -> Tensor | None:
    """The vectors (P, D) that stand before every text; None where there are none, or they are off."""
    prompt = getattr(model, "soft_prompt", None)
    return prompt() if prompt is not None and prompt.on else None


def refuse_soft_prompt(model: nn.Module, what: str) -> None:
    """Refuse a model with a soft prompt where only its network would be read.

    Raises:
        UserError: it has one.
    """
    if getattr(model, "soft_prompt", None) is not None:
        raise UserError(f"{what} cannot take a model with a soft prompt: it stands in no weight.",
                        "Give its base, or train LoRA in its place.")


def read_behind(trunk: nn.Module, vectors_PD: Tensor, tokens_NL: Tensor, **inputs: Any) -> Tensor:
    """The trunk's states (N, L, D) of texts behind the prompt; `inputs` are for prompt and text together."""
    embedded_NLD = trunk.get_input_embeddings()(tokens_NL)
    before_NPD = vectors_PD.to(embedded_NLD.dtype).expand(len(tokens_NL), -1, -1)
    states = trunk(inputs_embeds=torch.cat([before_NPD, embedded_NLD], 1), use_cache=False, **inputs).last_hidden_state
    return states[:, len(vectors_PD):]


def positions_behind(positions_BT: Tensor, count: int) -> Tensor:
    """Positions (B, P + T) of the prompt and of what stands behind it."""
    own = torch.arange(count, device=positions_BT.device).expand(len(positions_BT), -1)
    return torch.cat([own, positions_BT + count], 1)


def mask_behind(mask: Mask, count: int) -> Tensor:
    """The mask (B, 1, P + T, P + T) from that of the row alone: all see the prompt, which sees itself, in order."""
    booleans = mask.dtype == torch.bool
    seen, unseen = (True, False) if booleans else (0.0, torch.finfo(mask.dtype).min)
    places = torch.arange(count, device=mask.device)
    before = torch.full((*mask.shape[:2], count, count + mask.shape[3]), unseen, dtype=mask.dtype, device=mask.device)
    before[..., :count].masked_fill_(places[:, None] >= places[None, :], seen)
    return torch.cat([before, nn.functional.pad(mask, (count, 0), value=seen)], 2)


def embedded_behind(model: nn.Module, vectors_PD: Tensor, tokens_NL: Tensor, positions_NL: Tensor) -> Tensor:
    """Embeddings (N, L, D) of rows whose positions 0 to P - 1 are the prompt's, whatever tokens stand there."""
    embedded_NLD = model.get_input_embeddings()(tokens_NL)
    count = len(vectors_PD)
    own_NL1 = ((positions_NL >= 0) & (positions_NL < count))[:, :, None]
    return torch.where(own_NL1, vectors_PD.to(embedded_NLD.dtype)[positions_NL.clamp(0, count - 1)], embedded_NLD)
