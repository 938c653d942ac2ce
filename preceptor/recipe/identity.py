"""The identity of a step: the hash of its stage, options, inputs and the versions that matter."""

import hashlib
from pathlib import Path
from typing import Any

from preceptor.feedback.place import is_store
from preceptor.recipe.load import Recipe, RecipeStep
from preceptor.recipe.options import plain
from preceptor.run.files import hash_path, hash_value
from preceptor.run.machine import versions
from preceptor.village import VERSION

# Options that change nothing but rounding, speed, or what is kept beside the result: a run may go on with others.
WITHOUT_EFFECT = {"micro_batches", "gradient_checkpointing", "shard", "checkpoint_every", "log_every", "keep_last",
                  "keep_every", "keep_best", "track"}


def step_seed(seed: int, name: str) -> int:
    """A step's own seed: 31 bits drawn from the recipe's seed and the step's name."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4]) >> 1


def identity_parts(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """For each step what its identity is made of: `{stage, seed, versions, options, inputs}`.

    An input that is a step counts with that step's identity and the path inside it; a path counts with its content, and
    a store of labels with the labels that count in it.
    """
    parts: dict[str, dict[str, Any]] = {}
    common = versions()
    for step in recipe.steps:
        parts[step.name] = {
            "stage": step.stage, "seed": step_seed(recipe.seed, step.name),
            "versions": common | {"village": VERSION} if step.stage in ("village", "picture_book") else common,
            "options": {name: value for name, value in plain(step.options).items() if name not in WITHOUT_EFFECT},
            "inputs": {key: _input_hash(step, key, parts) for key in step.needs}}
    return parts


def _input_hash(step: RecipeStep, key: str, parts: dict[str, dict[str, Any]]) -> str:
    source = step.needs[key]
    first, _, rest = source.partition("/")
    if first not in parts and is_store(source):
        from preceptor.feedback.snapshot import fingerprint
        return fingerprint(source)
    return hash_value([hash_value(parts[first]), rest]) if first in parts else hash_path(Path(source))


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What changed between two identities, in words for the person who watches."""
    found = [f"{name} {old['options'].get(name, 'absent')} -> {new['options'].get(name, 'absent')}"
             for name in {**old["options"], **new["options"]}
             if old["options"].get(name) != new["options"].get(name)]
    found += [f"{name} changed" for name in ("stage", "seed", "versions") if old[name] != new[name]]
    return found + [f"input {name} changed" for name in {**old["inputs"], **new["inputs"]}
                    if old["inputs"].get(name) != new["inputs"].get(name)]
