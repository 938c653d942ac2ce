"""Training that is interrupted, as by a power cut, at a step that the test names."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

from preceptor.learn import fit as loop


@contextmanager
def interrupted(step: int) -> Iterator[None]:
    """The block trains, and ends as optimiser step `step` begins; 1 is the first."""
    take_gradients, steps = loop.take_gradients, count(1)

    def stopping(*arguments: Any) -> Any:
        if next(steps) == step:
            raise InterruptedError
        return take_gradients(*arguments)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(loop, "take_gradients", stopping)
        yield
