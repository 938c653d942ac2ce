"""CoCa's parts beside its ViT (Yu et al. 2022, arXiv 2205.01917, section 3): the pool that looks at the patches with
learned queries, and a text decoder of which only the second half looks at the picture.

Legend: B pictures, P patches, Q queries, T tokens of a text, D width, V vocabulary.
"""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


class AttentionPool(nn.Module):
    """Learned queries look at the patches once: (B, P, D) becomes (B, Q, D)."""

    def __init__(self, queries: int, width: int, heads: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(queries, width) * width ** -0.5)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, patches_BPD: Tensor) -> Tensor:
        queries_BQD = self.queries.expand(len(patches_BPD), -1, -1)
        return self.norm(self.attention(queries_BQD, patches_BPD, patches_BPD, need_weights=False)[0])


class TextDecoder(nn.Module):
    """GPT-2's blocks: `layers` that read the text alone, then as many that look at the picture as well.

    Behind the text stands a learned class token. Under the causal mask it sees the whole text and no word sees it, so
    that one pass gives the text's vector and the states that captions are written from. It has no position, or its
    vector would depend on the padding.
    """

    def __init__(self, vocabulary: int, length: int, width: int, layers: int, heads: int) -> None:
        from transformers import GPT2Config
        from transformers.models.gpt2.modeling_gpt2 import GPT2Block
        super().__init__()
        shape: dict[str, Any] = {"n_embd": width, "n_head": heads, "resid_pdrop": 0.0, "attn_pdrop": 0.0,
                                 "attn_implementation": "sdpa"}
        reading, looking = GPT2Config(**shape), GPT2Config(**shape, add_cross_attention=True)
        self.words, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.whole = nn.Parameter(0.02 * torch.randn(width))
        # Numbered through, because the decoding engine's cache goes by these numbers.
        self.lower = nn.ModuleList(GPT2Block(reading, layer_idx=n) for n in range(layers))
        self.upper = nn.ModuleList(GPT2Block(looking, layer_idx=n) for n in range(layers, 2 * layers))
        self.whole_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        for table in (self.words, self.positions):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, tokens_BT: Tensor, seen_BT: Tensor) -> tuple[Tensor, Tensor]:
        """The lower half: the words' states (B, T, D), and a vector (B, D) of each whole text, of any length.

        `seen` is False for padding, which stands behind the text.
        """
        rows, length = tokens_BT.shape
        words_BTD = self.words(tokens_BT) + self.positions.weight[:length]
        states = torch.cat([words_BTD, self.whole.expand(rows, 1, -1)], 1)
        seen_BN = torch.nn.functional.pad(seen_BT, (0, 1), value=True)
        past_NN = torch.ones(length + 1, length + 1, dtype=torch.bool, device=seen_BT.device).tril()
        mask_B1NN = (seen_BN[:, None] & past_NN)[:, None]
        for block in self.lower:
            states = block(states, attention_mask=mask_B1NN)
        return states[:, :-1], self.whole_norm(states[:, -1])

    def captions(self, states_BTD: Tensor, pictures_BQD: Tensor, cache: Any = None) -> Tensor:
        """The upper half: logits (B, T, V) of the token behind each; words behind and padding cannot be seen."""
        pictures_BQD = pictures_BQD.contiguous()    # GPT-2's projections take no slices
        for block in self.upper:
            states_BTD = block(states_BTD, encoder_hidden_states=pictures_BQD, past_key_values=cache)
        return linear(self.norm(states_BTD), self.words.weight)

    def next_token(self, tokens_B1: Tensor, pictures_BQD: Tensor, cache: Any) -> Tensor:
        """Both halves over one more token a row: logits (B, 1, V). All rows have read as many tokens before."""
        states_B1D = self.words(tokens_B1) + self.positions.weight[cache.get_seq_length()]
        for block in self.lower:
            states_B1D = block(states_B1D, past_key_values=cache)
        return self.captions(states_B1D, pictures_BQD, cache)


class Captioner(nn.Module):
    """A text decoder and some pictures as the encoder-decoder that the decoding engine knows: a prompt is one number,
    which says the picture. They are a tensor, or a `Shelf` on which pictures come and go."""

    def __init__(self, decoder: TextDecoder, pictures_IQD: Any, start: int) -> None:
        super().__init__()
        self.decoder, self.pictures, self.device = decoder, pictures_IQD, pictures_IQD.device
        self.config = SimpleNamespace(is_encoder_decoder=True, decoder_start_token_id=start, model_type="captioner",
                                      max_position_embeddings=len(decoder.positions.weight))

    def get_encoder(self) -> Any:
        """The pictures whose numbers are read."""
        return lambda input_ids, attention_mask: SimpleNamespace(last_hidden_state=self.pictures[input_ids[:, 0]])

    def forward(self, encoder_outputs: tuple[Tensor], decoder_input_ids: Tensor, past_key_values: Any,
                **given: Any) -> SimpleNamespace:
        """Logits behind one more token a row; the engine's mask on the picture and its wish for a cache are met."""
        return SimpleNamespace(logits=self.decoder.next_token(decoder_input_ids, encoder_outputs[0], past_key_values))
