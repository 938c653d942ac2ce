"""Masked encoders: logits at the positions that are to be filled in, and nowhere else."""

from collections.abc import Callable

from torch import Tensor, nn

from preceptor.data.batches import IGNORE, Batch
from preceptor.models.attention import packs, two_way_mask
from preceptor.models.causal import BEHIND_PADDING
from preceptor.run.errors import UserError

# From hidden states (N, D) to logits (N, V): what stands between trunk and loss, by transformers' model type.
HEADS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "bert": lambda model, states: model.cls(states),
    "roberta": lambda model, states: model.lm_head(states),
    "roberta-prelayernorm": lambda model, states: model.lm_head(states),
    "xlm-roberta": lambda model, states: model.lm_head(states),
    "camembert": lambda model, states: model.lm_head(states),
    "eurobert": lambda model, states: model.lm_head(states),
    "modernbert": lambda model, states: model.decoder(model.head(states)),
    "distilbert": lambda model, states: model.vocab_projector(
        model.vocab_layer_norm(model.activation(model.vocab_transform(states)))),
}


def check_masked(model: nn.Module) -> None:
    """Refuse networks whose head is not known here, or whose attention takes no mask by document.

    Raises:
        UserError: the network is such a one.
    """
    if model.config.model_type not in HEADS or not packs(model):
        raise UserError(f"Masked training does not know the head of a '{model.config.model_type}' network.",
                        f"Start from one of: {', '.join(HEADS)}.")


def masked_logits(model: nn.Module, batch: Batch) -> Tensor:
    """Logits (N, V) at the N positions of a packed batch that have a target, row by row."""
    positions = batch["positions"]
    if model.config.model_type in BEHIND_PADDING:
        positions = positions + model.config.pad_token_id + 1
    states_BTD = model.base_model(input_ids=batch["tokens"], position_ids=positions,
                                  attention_mask=two_way_mask(batch["segments"], model)).last_hidden_state
    return HEADS[model.config.model_type](model, states_BTD[batch["targets"] != IGNORE])
