"""Rounds: a block of a recipe's steps that is done again and again, each time on what the time before has made.

    steps:
      - {name: sft, stage: sft, ...}
      - rounds: 3
        begin: {policy: sft, comparisons: null}
        steps:
          - name: comparisons
            stage: comparisons
            needs: {model: last.policy, earlier: before.policy, before: last.comparisons, ...}
            options: {round: round.number}
          - {name: reward, stage: reward, needs: {comparisons: comparisons, ...}}
          - {name: policy, stage: rlhf, needs: {policy: last.policy, reward: reward, ...}}
      - {name: ladder, stage: ladder, needs: {model: last.policy, earlier: before.policy, ...}}

The block stands for nine ordinary steps, `comparisons_1` to `policy_3`, so that a round is done, resumed and redone as
any step is, and one round more disturbs none of those before it. In what the steps of the block and those after it need

    NAME            is, inside the block, that step of the same round;
    last.NAME       that of the round before, in the first round what `begin` says (null: nothing); after the block,
                    that of the last round;
    before.NAME     all of them before that one, the oldest first: the input KEY becomes KEY_0, KEY_1, ...

and the option value `round.number` is the number of the round; after the block it is one more than the last.
"""

from collections.abc import Sequence
from typing import Any

from preceptor.run.errors import UserError, nearest

MOST = 30
Changes = Sequence[tuple[str, Any]]


def block_of(steps: Sequence[Any]) -> dict[str, Any] | None:
    """The block of rounds among the steps of a recipe.

    Raises:
        UserError: there are several.
    """
    blocks = [step for step in steps if isinstance(step, dict) and "rounds" in step]
    if len(blocks) > 1:
        raise UserError("The recipe has more than one block of rounds.", "Put all that is repeated into one.")
    return blocks[0] if blocks else None


def expand(steps: Sequence[dict[str, Any]],
           changes: Changes) -> tuple[list[dict[str, Any]], list[tuple[str, Any]], int]:
    """The steps with the block's rounds written out, the changes that were not for the block itself, and how many
    rounds there are (0 without a block).

    `rounds` changes their number; a change of a step of the block is one of that step in every round.

    Raises:
        UserError: the block is malformed.
    """
    block = block_of(steps)
    if block is None:
        return list(steps), list(changes), 0
    template = [{**step, "needs": dict(step.get("needs") or {}), "options": dict(step.get("options") or {})}
                for step in _steps_of(block)]
    by_name = {step["name"]: step for step in template}
    count, left = block["rounds"], []
    for target, value in changes:
        name, _, option = target.partition(".")
        if target == "rounds":
            count = value
        elif name in by_name and option.startswith("needs."):
            by_name[name]["needs"][option.removeprefix("needs.")] = value
        elif name in by_name:
            by_name[name]["options"][option] = value
        else:
            left.append((target, value))
    if type(count) is not int or not 1 <= count <= MOST:
        raise UserError(f"A recipe cannot have {count} rounds.", f"Set rounds between 1 and {MOST}.")
    begin, names = dict(block.get("begin") or {}), list(by_name)
    place = next(number for number, step in enumerate(steps) if step is block)
    rounds = [_numbered(step, number, begin, names) for number in range(1, count + 1) for step in template]
    after = [_referred(step, count + 1, begin, names) for step in steps[place + 1:]]
    return [*steps[:place], *rounds, *after], left, count


def _steps_of(block: dict[str, Any]) -> list[dict[str, Any]]:
    for key in block:
        if key not in ("rounds", "begin", "steps"):
            raise UserError(f"Unknown key '{key}' in the block of rounds.", nearest(key, ("rounds", "begin", "steps")))
    steps = block.get("steps")
    if not isinstance(steps, list) or not steps or not all(isinstance(step, dict) and "name" in step for step in steps):
        raise UserError("The block of rounds has no steps with names.", "List the steps of one round under 'steps:'.")
    return steps


def _numbered(step: dict[str, Any], number: int, begin: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A step of the block in one round: its own name, and those of its round that it needs, get the number."""
    referred = _referred(step, number, begin, names)
    needs = {}
    for key, source in referred["needs"].items():
        first, slash, rest = str(source).partition("/")
        needs[key] = f"{first}_{number}{slash}{rest}" if source == step["needs"].get(key) and first in names else source
    return {**referred, "name": f"{step['name']}_{number}", "needs": needs}


def _referred(step: dict[str, Any], number: int, begin: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """A step of round `number`, or after the round before it, with what it says of other rounds written out."""
    needs: dict[str, Any] = {}
    for key, source in (step.get("needs") or {}).items():
        first, slash, rest = str(source).partition("/")
        word, dot, name = first.partition(".")
        if word not in ("last", "before") or not dot:
            needs[key] = source
            continue
        found = [None if one is None else f"{one}{slash}{rest}" for one in _made(name, number, begin, names)]
        if word == "last":
            needs[key] = found[-1]
        else:
            needs |= {f"{key}_{place}": one for place, one in enumerate(found[:-1]) if one is not None}
    options = {name: number if value == "round.number" else value
               for name, value in (step.get("options") or {}).items()}
    return {**step, "needs": needs, "options": options}


def _made(name: str, number: int, begin: dict[str, Any], names: Sequence[str]) -> list[str | None]:
    """What there is of a step of the block when round `number` begins, the oldest first."""
    if name not in names:
        raise UserError(f"There is no step '{name}' in the block of rounds.", nearest(name, names))
    if name not in begin:
        raise UserError(f"The block of rounds does not say what '{name}' is before the first round.",
                        f"Add '{name}: STEP', or '{name}: null', to its 'begin'.")
    return [begin[name], *(f"{name}_{earlier}" for earlier in range(1, number))]
