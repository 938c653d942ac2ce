"""Replay: text like that of before is mixed into what a model learns now, so that it forgets less."""

from collections.abc import Callable

from preceptor.data.batches import Example, Layout
from preceptor.data.packing import PackedBatches
from preceptor.data.token_shards import Mapped
from preceptor.learn.gradients import Loss, Term
from preceptor.run.errors import UserError
from preceptor.run.step import Step


def replay_terms(step: Step, examples: Callable[[], list[Example] | Mapped], loss: Loss, *, length: int, pad: int,
                 steps: int, layout: Layout | None = None) -> list[Term]:
    """A further loss on the documents of the step's input `replay`, which `examples` reads; none where there is none.

    With a share r of replay the step's gradient is that of (1 - r)·new + r·replay, up to a factor that Adam and
    clipping take out; rows are dealt in the same proportion, at least one.

    Raises:
        UserError: `replay_share` is out of its range, or asked for without the input.
    """
    share = step.options.replay_share
    if "replay" not in step.inputs:
        if share != type(step.options).replay_share:
            raise UserError(f"'{step.name}.replay_share' is for a step with the input 'replay'.", "Leave it out.")
        return []
    if not 0 < share < 1:
        raise UserError(f"A replay share of {share} is not between 0 and 1.", "Give a share, such as 0.25.")
    ratio = share / (1 - share)
    batches = PackedBatches(examples(), rows=max(1, round(step.options.rows * ratio)), length=length, pad=pad,
                            seed=step.seed + 1, steps=steps, layout=layout)
    return [Term("replay", batches, loss, ratio)]
