"""The processes of one run, as `torchrun` starts them. The first of them leads: it alone writes files and speaks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

PATIENCE = timedelta(days=7)  # the others wait this long while the leader does what only it does


_alone = False


def rank() -> int:
    """The number of this process, 0 for the leader and where there is no other."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """How many processes share the work at hand."""
    return 1 if _alone else int(os.environ.get("WORLD_SIZE", "1"))


def leads() -> bool:
    """Whether this process writes what all have worked out."""
    return rank() == 0


@contextmanager
def joined() -> Iterator[None]:
    """Inside the block, the processes of the run can talk to each other: NCCL between GPUs, gloo between CPUs."""
    if count() == 1:
        yield
        return
    import torch
    from torch import distributed
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


@contextmanager
def alone() -> Iterator[None]:
    """Inside the block, the leader works as if there were no other process; the others wait where it ends."""
    global _alone
    _alone = True
    try:
        yield
    finally:
        _alone = False


def meet() -> None:
    """Wait until every process is here; nothing where there is one."""
    if count() > 1:
        from torch import distributed
        distributed.barrier()
