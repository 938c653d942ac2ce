"""Documents of packed rows run apart, for networks in which one document would change the next.

State-space models carry a state along the row, and some families count positions from its start or take no mask by
document. They get each document in a row of its own, padded on the right, where nothing that counts can see it;
documents of like length go together, so that less than half of what is computed is padding.

Legend: B rows, T positions, N documents of a group, L the longest of them, D width.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor


def documents(segments_BT: Tensor) -> list[tuple[int, int, int, int]]:
    """(row, segment number, first position, length) of every document, in order."""
    found = []
    for row, segments in enumerate(segments_BT.cpu()):
        numbers, lengths = torch.unique_consecutive(segments, return_counts=True)
        starts = lengths.cumsum(0) - lengths
        found += [(row, *one) for one in zip(numbers.tolist(), starts.tolist(), lengths.tolist()) if one[0]]
    return found


def groups(segments_BT: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Documents by the power of two that their length reaches: (places (N, L) in the flattened rows, real (N, L)).

    Where `real` is false stands padding, whose place is that of the document's last token.
    """
    width = segments_BT.shape[1]
    by_length: dict[int, list[tuple[int, int]]] = {}
    for row, _, start, length in documents(segments_BT):
        by_length.setdefault((length - 1).bit_length(), []).append((row * width + start, length))
    for _, members in sorted(by_length.items()):
        starts, lengths = torch.tensor(members, device=segments_BT.device).T
        steps = torch.arange(int(lengths.max()), device=segments_BT.device)
        yield starts[:, None] + torch.minimum(steps, lengths[:, None] - 1), steps < lengths[:, None]


def run_apart(tokens_BT: Tensor, segments_BT: Tensor, trunk: Callable[[Tensor], Tensor]) -> Tensor:
    """States (B, T, D) of packed rows from `trunk`, which sees each document alone; padding has states of 0.

    `trunk` takes tokens (N, L), right-padded, and must not look ahead.
    """
    rows = []
    for place_NL, real_NL in groups(segments_BT):
        rows.append((place_NL[real_NL], trunk(tokens_BT.flatten()[place_NL])[real_NL]))
    places, states = (torch.cat(part) for part in zip(*rows))
    flat = states.new_zeros(segments_BT.numel(), states.shape[-1])
    return flat.index_copy(0, places, states).unflatten(0, segments_BT.shape)
