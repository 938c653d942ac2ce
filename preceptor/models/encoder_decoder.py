"""Encoder-decoders: logits of what the decoder is to write about what the encoder reads.

A batch holds `tokens` and `segments` of what is read, `written` (what the decoder gets, shifted), `written_segments`
and `targets` of what it is to write; a document has the same segment number in both.
"""

import torch
from torch import Tensor, nn

from preceptor.data.batches import IGNORE, Batch
from preceptor.models.apart import documents
from preceptor.models.attention import block_mask, cross_mask, packs, two_way_mask


def written_logits(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits (N, V) at the positions that have a target, and those targets (N).

    T5's attention goes by distance, so documents lie side by side; BART counts positions from the row's start, so
    each document of a row is read and written in a row of its own.
    """
    if not packs(model):
        batch = _one_a_row(batch, model.config.pad_token_id)
    states_BSD = model.get_encoder()(input_ids=batch["tokens"], attention_mask=two_way_mask(batch["segments"], model)
                                     ).last_hidden_state
    logits_BTV = model(encoder_outputs=(states_BSD,), decoder_input_ids=batch["written"], use_cache=False,
                       attention_mask=cross_mask(batch["written_segments"], batch["segments"], model),
                       decoder_attention_mask=block_mask(batch["written_segments"], model)).logits
    counted = batch["targets"] != IGNORE
    return logits_BTV[counted], batch["targets"][counted]


def _one_a_row(batch: Batch, pad: int) -> Batch:
    """The same documents, each in its row from position 0 on, padded on the right."""
    read, written = documents(batch["segments"]), documents(batch["written_segments"])
    assert [one[:2] for one in read] == [one[:2] for one in written], "a document is read and not written, or not read"
    shown = {"tokens": (read, pad), "segments": (read, 0), "written": (written, pad),
             "written_segments": (written, 0), "targets": (written, IGNORE)}
    tensors = {}
    for name, (places, fill) in shown.items():
        tensors[name] = torch.nn.utils.rnn.pad_sequence(
            [batch[name][row, start:start + length] for row, _, start, length in places], True, fill)
    for name in ("segments", "written_segments"):
        tensors[name] = (tensors[name] > 0).long()
    return Batch(tensors, [], [])
