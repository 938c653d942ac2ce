"""The stages that a recipe may name: where each one's options and work live, and what it reads.

Options are imported when a recipe is read, and they import nothing heavy; the work is imported when it starts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from preceptor.run.errors import UserError, nearest


@dataclass(frozen=True, slots=True)
class Stage:
    """`options` and `work` are `module:name`; `inputs` must be in a step's needs, `optional` ones may be."""

    options: str
    work: str
    inputs: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    def options_class(self) -> type:
        return _named(self.options)

    def function(self) -> Callable[[Any], None]:
        return _named(self.work)


STAGES = {
    "import": Stage("preceptor.data.options:ImportOptions", "preceptor.data.stage:run",
                    ("text", "demonstrations", "comparisons"),
                    ("validation_text", "validation_demonstrations", "validation_comparisons")),
    "village": Stage("preceptor.village.options:VillageOptions", "preceptor.village.stage:run"),
    "tokenizer": Stage("preceptor.tokenizer.options:TokenizerOptions", "preceptor.tokenizer.stage:run", ("corpus",)),
    "pretrain": Stage("preceptor.pretrain.options:PretrainOptions", "preceptor.pretrain.stage:run",
                      ("corpus", "tokenizer"), ("validation",)),
    "adopt": Stage("preceptor.pretrain.options:AdoptOptions", "preceptor.pretrain.adopt:run", (), ("model",)),
    "sft": Stage("preceptor.sft.options:SftOptions", "preceptor.sft.stage:run",
                 ("model", "demonstrations"), ("validation",)),
    "comparisons": Stage("preceptor.reward.options:ComparisonsOptions", "preceptor.reward.comparisons:run",
                         ("model", "prompts", "heldout", "village")),
    "reward": Stage("preceptor.reward.options:RewardOptions", "preceptor.reward.stage:run",
                    ("model", "comparisons", "demonstrations"), ("village",)),
    "select": Stage("preceptor.sft.options:SelectOptions", "preceptor.sft.select:run",
                    ("sft", "reward", "prompts"), ("validation",)),
    "rlhf": Stage("preceptor.rlhf.options:RlhfOptions", "preceptor.rlhf.stage:run",
                  ("policy", "reward", "prompts"), ("corpus",)),
    "evaluate": Stage("preceptor.evaluate.options:EvaluateOptions", "preceptor.evaluate.stage:run", ("prompts", "sft"),
                      ("base", "ppo", "ppo_ptx", "village", "validation", "demonstrations", "reward")),
}


def find_stage(name: str) -> Stage:
    """The stage called `name`.

    Raises:
        UserError: there is none.
    """
    if name not in STAGES:
        raise UserError(f"There is no stage '{name}'.", nearest(name, STAGES))
    return STAGES[name]


def _named(reference: str) -> Any:
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
