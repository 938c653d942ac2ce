"""The stages that a recipe may name: where each one's options and work live, and what it reads.

Options are imported when a recipe is read, and they import nothing heavy; the work is imported when it starts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from preceptor.run.errors import UserError, nearest


@dataclass(frozen=True, slots=True)
class Stage:
    """`options` and `work` are `module:name`; `inputs` must be in a step's needs, `optional` ones may be.

    Of each of `several` there may be any number, as NAME_0, NAME_1, ...
    """

    options: str
    work: str
    inputs: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    several: tuple[str, ...] = ()
    spread: bool = False
    """Whether the processes of `torchrun` share its work; of all others the leader alone does it."""

    def is_one_of_several(self, key: str) -> bool:
        """Whether an input's name is one of `several` with a number."""
        name, _, number = key.rpartition("_")
        return name in self.several and number.isdecimal()

    def options_class(self) -> type:
        return _named(self.options)

    def function(self) -> Callable[[Any], None]:
        return _named(self.work)


@dataclass(frozen=True, slots=True)
class Choice:
    """Stages that share a name: the value of a step's `option` says which of them it is, `default` where it has none.

    Each has its own options and inputs, so that an option or an input which the chosen one does not read is an error.
    """

    option: str
    default: str
    stages: dict[str, Stage]


def _online(options: str) -> Stage:
    """An algorithm of preceptor/rlhf/algorithms that learns from answers which the policy writes as it learns."""
    return Stage(f"preceptor.rlhf.options:{options}", "preceptor.rlhf.stage:run", ("policy", "reward", "prompts"),
                 ("corpus",), spread=True)


def _from_rankings(name: str, options: str) -> Stage:
    """An algorithm of preceptor/rlhf/algorithms that learns from ranked answers which are there already."""
    return Stage(f"preceptor.rlhf.offline_options:{options}", f"preceptor.rlhf.algorithms.{name}:run",
                 ("policy", "comparisons"), spread=True)


def _from_chosen(name: str, options: str) -> Stage:
    """An algorithm that writes answers once, chooses among them by reward, and learns from the choice."""
    return Stage(f"preceptor.rlhf.offline_options:{options}", f"preceptor.rlhf.algorithms.{name}:run",
                 ("policy", "reward", "prompts"))


def _system(options: str, needs: tuple[str, ...] = ("pictures",), may_need: tuple[str, ...] = ()) -> Stage:
    """A system of preceptor/vision/systems; `options` are of preceptor.vision.options, or `file:NAME` of a file there.
    """
    where = options if ":" in options else f"options:{options}"
    return Stage(f"preceptor.vision.{where}", "preceptor.vision.stage:run", needs, ("tokenizer", "start", *may_need))


STAGES: dict[str, Stage | Choice] = {
    "import": Stage("preceptor.data.options:ImportOptions", "preceptor.data.stage:run",
                    ("text", "demonstrations", "comparisons"),
                    ("validation_text", "validation_demonstrations", "validation_comparisons")),
    "village": Stage("preceptor.village.options:VillageOptions", "preceptor.village.stage:run"),
    "picture_book": Stage("preceptor.village.options:PictureBookOptions", "preceptor.village.pictures.stage:run"),
    "pictures": Stage("preceptor.data.pictures.options:PicturesOptions", "preceptor.data.pictures.stage:run",
                      ("pictures",)),
    "emoji": Stage("preceptor.data.pictures.options:EmojiOptions", "preceptor.data.pictures.emoji:run", ("pack",)),
    "tokenizer": Stage("preceptor.tokenizer.options:TokenizerOptions", "preceptor.tokenizer.stage:run", ("corpus",)),
    "pretrain": Stage("preceptor.pretrain.options:PretrainOptions", "preceptor.pretrain.stage:run",
                      ("corpus",), ("tokenizer", "model", "validation", "teacher", "replay"), spread=True),
    "adopt": Stage("preceptor.pretrain.options:AdoptOptions", "preceptor.pretrain.adopt:run", (), ("model",)),
    "sft": Stage("preceptor.sft.options:SftOptions", "preceptor.sft.stage:run",
                 ("model", "demonstrations"), ("validation", "teacher", "replay"), spread=True),
    "context_distillation": Stage("preceptor.sft.options:DistillationOptions", "preceptor.sft.distil:run",
                                  ("model", "prompts"), ("context",)),
    "comparisons": Stage("preceptor.reward.options:ComparisonsOptions", "preceptor.reward.comparisons:run",
                         ("model", "prompts", "heldout"), ("village", "judge", "before"), ("earlier",)),
    "reward": Stage("preceptor.reward.options:RewardOptions", "preceptor.reward.stage:run",
                    ("model", "comparisons"), ("demonstrations", "village"), spread=True),
    "encoder": Stage("preceptor.reward.options:EncoderOptions", "preceptor.reward.encoder:run", ("comparisons",),
                     ("model", "village")),
    "ensemble": Stage("preceptor.reward.options:EnsembleOptions", "preceptor.reward.described:run_ensemble",
                      ("first", "second"), ("third", "fourth", "fifth", "comparisons", "village")),
    "judge": Stage("preceptor.reward.options:JudgeOptions", "preceptor.reward.judge:run", (),
                   ("model", "constitution", "comparisons")),
    "person": Stage("preceptor.reward.options:PersonOptions", "preceptor.reward.described:run_person"),
    "program": Stage("preceptor.reward.options:ProgramOptions", "preceptor.reward.described:run_program", (),
                     ("code",)),
    "known_answers": Stage("preceptor.reward.options:KnownAnswersOptions", "preceptor.reward.described:run_known",
                           ("demonstrations",)),
    "select": Stage("preceptor.sft.options:SelectOptions", "preceptor.sft.select:run",
                    ("sft", "reward", "prompts"), ("validation",)),
    "rlhf": Choice("algorithm", "ppo", {
        "ppo": _online("PpoOptions"),
        "nlpo": _online("NlpoOptions"),
        "a2c": _online("A2cOptions"),
        "rloo": _online("RlooOptions"),
        "grpo": _online("GrpoOptions"),
        "dpo": _from_rankings("dpo", "DpoOptions"),
        "ipo": _from_rankings("ipo", "IpoOptions"),
        "kto": _from_rankings("kto", "KtoOptions"),
        "orpo": _from_rankings("orpo", "OrpoOptions"),
        "simpo": _from_rankings("simpo", "SimpoOptions"),
        "ilql": _from_rankings("ilql", "IlqlOptions"),
        "best_of_n": _from_chosen("best_of_n", "BestOfNOptions"),
        "rejection_sampling": _from_chosen("rejection_sampling", "RejectionOptions"),
    }),
    "vision": Choice("system", "clip", {
        "clip": _system("ClipOptions"),
        "siglip": _system("SiglipOptions"),
        "llip": _system("LlipOptions"),
        "coca": _system("fusion_options:CocaOptions"),
        "visualbert": _system("fusion_options:MaskedOptions"),
        "vilbert": _system("fusion_options:VilbertOptions", ("pictures", "quantizer")),
        "flava": _system("fusion_options:FlavaOptions", ("pictures", "quantizer")),
        "maskvlm": _system("fusion_options:MaskVlmOptions"),
        "mib": _system("fusion_options:MibOptions"),
        "vq_vae": _system("generative_options:ImageTokenizerOptions"),
        "vq_gan": _system("generative_options:AdversarialOptions", may_need=("features",)),
        "vit_vqgan": _system("generative_options:VitTokenizerOptions", may_need=("features",)),
        "autoregressive": _system("generative_options:AutoregressiveOptions", ("pictures", "start")),
        "diffusion": _system("generative_options:DiffusionOptions"),
        "chameleon": _system("mixed_options:ChameleonOptions", ("pictures", "start")),
        "cm3leon": _system("mixed_options:Cm3LeonOptions", ("pictures", "start"), ("retriever",)),
        "frozen": _system("splice_options:FrozenOptions", may_need=("language_model",)),
        "blip2_queries": _system("splice_options:QueryPretrainingOptions"),
        "blip2": _system("splice_options:QueryOptions", may_need=("language_model",)),
        "minigpt4": _system("splice_options:MiniGpt4Options", may_need=("language_model",)),
        "minigpt5": _system("mixed_options:MiniGpt5Options", ("pictures", "start"), ("language_model", "painter")),
        "minigpt_v2": _system("splice_options:MiniGptV2Options", may_need=("language_model",)),
        "qwen_vl": _system("splice_options:QwenVlOptions", may_need=("language_model",)),
    }),
    "energy": Stage("preceptor.vision.generative_options:EnergyOptions", "preceptor.vision.energy:run"),
    "album": Stage("preceptor.vision.options:AlbumOptions", "preceptor.vision.album:run", ("model", "pictures")),
    "see": Stage("preceptor.vision.options:SeeOptions", "preceptor.vision.see:run", ("model", "pictures")),
    "prune": Stage("preceptor.deploy.options:PruneOptions", "preceptor.deploy.prune:run", ("model", "corpus"),
                   ("validation",)),
    "annotations": Stage("preceptor.understand.options:AnnotationsOptions", "preceptor.understand.annotations:run",
                         ("records",), ("validation", "test", "text")),
    "understand": Stage("preceptor.understand.options:UnderstandOptions", "preceptor.understand.encoder:run",
                        ("model", "records")),
    "compare": Stage("preceptor.understand.options:CompareOptions", "preceptor.understand.compare:run",
                     ("records", "encoder", "language")),
    "quantise": Stage("preceptor.deploy.options:QuantiseOptions", "preceptor.deploy.quantise:run", ("model",),
                      ("corpus", "validation")),
    "ladder": Stage("preceptor.evaluate.options:LadderOptions", "preceptor.evaluate.ladder:run", ("model", "prompts"),
                    ("village", "judge", "comparisons"), ("earlier",)),
    "weigh": Stage("preceptor.evaluate.options:WeighOptions", "preceptor.evaluate.weigh:run", ("model", "validation"),
                   ("prompts", "village", "reward", "suite"), ("candidate",)),
    "evaluate": Stage("preceptor.evaluate.options:EvaluateOptions", "preceptor.evaluate.stage:run", ("prompts", "sft"),
                      ("base", "ppo", "ppo_ptx", "village", "validation", "demonstrations", "reward")),
}


def variant(name: str, options: Mapping[str, Any]) -> str:
    """Which of the stages called `name` a step with these options is, in words for an error; empty where it is one."""
    stage = STAGES[name]
    return f" with {stage.option} {options.get(stage.option, stage.default)}" if isinstance(stage, Choice) else ""


def find_stage(name: str, options: Mapping[str, Any]) -> Stage:
    """The stage called `name`, for a step with these options.

    Raises:
        UserError: there is none.
    """
    if name not in STAGES:
        raise UserError(f"There is no stage '{name}'.", nearest(name, STAGES))
    stage = STAGES[name]
    if isinstance(stage, Stage):
        return stage
    value = str(options.get(stage.option, stage.default))
    if value not in stage.stages:
        raise UserError(f"The stage '{name}' has no {stage.option} '{value}'.", nearest(value, stage.stages))
    return stage.stages[value]


def _named(reference: str) -> Any:
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
