"""Several processes, one gradient: each takes its rows of every batch, and their gradients are added up.

A loss is divided by the count of the whole batch before the backward pass, so that the sum over processes is the
gradient of one process. The weights are copies, or sharded blocks (models/shards.py). Where there is one process,
every function here does nothing or the plain thing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import distributed, nn

from preceptor.data.batches import Batch
from preceptor.models.shards import sharded, whole
from preceptor.run.errors import UserError
from preceptor.run.processes import count, leads, rank
from preceptor.run.step import Step

Item, Result = TypeVar("Item"), TypeVar("Result")


def refuse_shards(step: Step) -> None:
    """Several processes share the work of this step, and not its weights.

    Raises:
        UserError: the step asks for shards.
    """
    if step.options.shard != "none":
        raise UserError(f"Step '{step.name}' cannot shard its networks: each process writes or reads answers of its "
                        "own, with whole ones.", f"Leave out {step.name}.shard.")


def shares(batch: Batch, micro_batches: int) -> Iterator[tuple[Batch, float]]:
    """This process's micro-batches, each with the weight of its loss: 1, or 0 for rows that only keep step.

    They are as many as were asked for, or as the batch says, if that is more.

    Sharded blocks are gathered by all processes together, so each must make as many passes as the others; one that
    has no rows left repeats the first row, and its loss weighs nothing.
    """
    micro_batches = max(micro_batches, batch.passes)
    if count() == 1:
        yield from ((micro, 1.0) for micro in batch.split(micro_batches))
        return
    rows = len(batch.counts)
    most = -(-rows // count())
    mine = list(range(rank() * most, min((rank() + 1) * most, rows)))
    size = -(-most // micro_batches)
    for first in range(0, most, size):
        chosen = mine[first:first + size]
        yield rows_of(batch, chosen or [0]), 1.0 if chosen else 0.0


def rows_of(batch: Batch, rows: Sequence[int]) -> Batch:
    """Some rows of a batch."""
    index = torch.tensor(rows)
    return Batch({name: tensor[index] for name, tensor in batch.tensors.items()},
                 [batch.counts[row] for row in rows], [batch.documents[row] for row in rows])


def added_up(sums: Mapping[str, float]) -> dict[str, float]:
    """Sums over all processes, in fp64."""
    if count() == 1:
        return dict(sums)
    values = torch.tensor(list(sums.values()), dtype=torch.float64)
    distributed.all_reduce(values)
    return dict(zip(sums, values.tolist()))


def dealt(items: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Result]]) -> list[Result]:
    """`work` of all items, in their order and known to every process; each process does its share of them."""
    if count() == 1:
        return list(work(items))
    parts: list[Any] = [None] * count()
    distributed.all_gather_object(parts, list(work(items[rank()::count()])))
    return [parts[number % count()][number // count()] for number in range(len(items))]


def from_leader(work: Callable[[], Result]) -> Result:
    """What the leader alone works out, known to every process."""
    if count() == 1:
        return work()
    found = [work() if leads() else None]
    distributed.broadcast_object_list(found)
    return found[0]


def loss_factor(model: nn.Module) -> float:
    """What a loss is multiplied by for the sake of sharded blocks, whose gradients FSDP averages: the processes."""
    return float(count()) if any(map(sharded, model.parameters())) else 1.0


def add_gradients(parameters: Sequence[nn.Parameter], factor: float) -> None:
    """Add up the gradients of what is not sharded; where blocks are, those of the rest are made a mean as well."""
    if count() == 1:
        return
    for parameter in parameters:
        if not sharded(parameter):
            if parameter.grad is None:  # no row of this process met it (an expert, say)
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad)
            parameter.grad.div_(factor)


@torch.no_grad()
def clip(parameters: Sequence[nn.Parameter], limit: float) -> float:
    """Scale the gradients down to the global norm `limit`; returns the norm before."""
    shares = [parameter for parameter in parameters if sharded(parameter)]
    copies = [parameter for parameter in parameters if not sharded(parameter)]
    norms = [whole(nn.utils.get_total_norm([one.grad for one in group if one.grad is not None]))
             for group in (copies, shares) if group]
    norm = norms[0] if len(norms) == 1 else torch.stack([one.to(norms[0].device) for one in norms]).norm()
    for group in (copies, shares):
        nn.utils.clip_grads_with_norm_(group, limit, norm)
    return float(norm)
