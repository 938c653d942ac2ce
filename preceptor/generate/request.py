"""What is asked of a decoder: a prompt, how its answer is written, and a seed.

Options have the names that users of Hugging Face, vLLM and llama.cpp know. A request samples (temperature 0: takes the
most likely token), unless `num_beams` or `penalty_alpha` asks for a search. What changes the probabilities before a
token is drawn is a processor; they work in the order of `order`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from preceptor.data.records import Prompt
from preceptor.run.errors import UserError, nearest

PENALTIES = ("repetition_penalty", "presence_penalty", "frequency_penalty", "no_repeat_ngram_size", "dry_multiplier")
CUTS = ("top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "top_n_sigma", "xtc_probability",
        "mirostat_tau")
ORDER = (*PENALTIES, "noise", "temperature", *CUTS)
"""The standard order: what looks at the text so far, then the temperature, then what leaves tokens out."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is written. A default turns its option off, except for temperature and max_tokens."""

    temperature: float = 1.0
    """Divides the logits; 0 takes the most likely token each time."""
    top_k: int = 0
    """Only this many most likely tokens can be drawn; 0 means all. In contrastive search: the candidates."""
    top_p: float = 1.0
    """Only the fewest most likely tokens whose probabilities reach this sum can be drawn; 1 means all."""
    max_tokens: int = 48
    """Tokens in the answer at most, the end-of-text token included."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer; the answer does not contain them."""
    min_p: float = 0.0
    """Only tokens at least this share as likely as the most likely one can be drawn."""
    typical_p: float = 1.0
    """Only the tokens whose surprise is nearest to the entropy can be drawn, as many as reach this sum."""
    epsilon_cutoff: float = 0.0
    """Only tokens at least this likely can be drawn."""
    eta_cutoff: float = 0.0
    """Only tokens at least min(eta, sqrt(eta) exp(-entropy)) likely can be drawn."""
    top_n_sigma: float = 0.0
    """Only tokens whose logit is within this many standard deviations of the largest can be drawn."""
    xtc_probability: float = 0.0
    """How often all tokens of at least `xtc_threshold` but the least likely of them are left out."""
    xtc_threshold: float = 0.1
    """How likely a token must be to count as one of the top choices of XTC."""
    mirostat_tau: float = 0.0
    """The surprise, in bits a token, that Mirostat 2 keeps the answer at (5 is usual)."""
    mirostat_eta: float = 0.1
    """How fast Mirostat 2 corrects the limit on the surprise."""
    repetition_penalty: float = 1.0
    """Divides positive and multiplies negative logits of tokens that occur in the prompt or the answer."""
    presence_penalty: float = 0.0
    """Subtracted from the logits of tokens that occur in the answer."""
    frequency_penalty: float = 0.0
    """Subtracted from the logits of tokens as often as they occur in the answer."""
    no_repeat_ngram_size: int = 0
    """No n-gram of this size occurs twice in prompt and answer."""
    dry_multiplier: float = 0.0
    """Weight of the DRY penalty on tokens that would go on with a sequence seen before (0.8 is usual)."""
    dry_base: float = 1.75
    """How the DRY penalty grows with each token by which the repeated sequence is longer."""
    dry_allowed_length: int = 2
    """Repeated sequences shorter than this cost nothing under DRY."""
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", "\"", "*")
    """Texts that a sequence of DRY does not reach across."""
    noise: float = 0.0
    """Standard deviation of the normal noise added to each logit, drawn from the seed."""
    order: tuple[str, ...] = ()
    """Names of processors in the order in which they work; every one that is on must be named. Empty takes `ORDER`."""
    num_beams: int = 1
    """Beam search with this many beams; 1 means none."""
    num_beam_groups: int = 1
    """Diverse beam search: groups into which the beams are divided, each kept away from those before it."""
    diversity_penalty: float = 0.0
    """Subtracted from a token's score as often as earlier beam groups chose it at the same step."""
    length_penalty: float = 1.0
    """A beam's score is its log-probability divided by its length to this power."""
    early_stopping: bool | Literal["never"] = False
    """When a beam search ends: true, with `num_beams` finished; false, when no longer likely to improve; "never", when
    it can certainly not improve."""
    penalty_alpha: float = 0.0
    """Contrastive search: weight of the likeness to the text so far, among the `top_k` most likely tokens."""
    num_assistant_tokens: int = 0
    """Speculative decoding: tokens that the decoder's draft model writes ahead. Faster; the answer is the same."""
    prompt_lookup_num_tokens: int = 0
    """Speculative decoding without a model: tokens copied from where the last two stood before."""

    def __post_init__(self) -> None:
        _check_numbers(self)
        if isinstance(self.stop, str) or "" in self.stop:
            raise UserError(f"The stop texts {self.stop!r} would end every answer at once, or letter by letter.",
                            "Give a list of texts, none of them empty.")
        if isinstance(self.dry_sequence_breakers, str) or "" in self.dry_sequence_breakers:
            raise UserError(f"dry_sequence_breakers cannot be {self.dry_sequence_breakers!r}.",
                            "Give a list of texts, none of them empty.")
        for name in ("stop", "dry_sequence_breakers", "order"):  # a list from YAML must hash and compare as the same
            object.__setattr__(self, name, tuple(getattr(self, name)))
        _check_order(self)
        _check_strategy(self)
        _check_details(self)

    @property
    def processors(self) -> tuple[str, ...]:
        """The processors that are on, in the order in which they work."""
        return tuple(name for name in self.order or ORDER if _is_on(self, name))

    @property
    def strategy(self) -> Literal["sample", "beams", "contrastive", "assisted"]:
        """How the answer is searched for."""
        if self.num_beams > 1:
            return "beams"
        if self.penalty_alpha:
            return "contrastive"
        return "assisted" if self.num_assistant_tokens or self.prompt_lookup_num_tokens else "sample"

    @property
    def shaped(self) -> bool:
        """Whether there is more to do to the logits than temperature, top-k and top-p, one after the other."""
        basic = [name for name in ("temperature", "top_k", "top_p") if _is_on(self, name)]
        return list(self.processors) != basic

    def to_dict(self) -> dict[str, Any]:
        """A JSON object: the first five options, those that are not at their defaults, and the order that holds."""
        values = ((name, getattr(self, name), default) for name, default in _DEFAULTS.items())
        said = {name: value for name, value, default in values if name in _ALWAYS or value != default}
        said["order"] = self.processors
        return {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}


@dataclass(frozen=True, slots=True)
class Request:
    """One answer wanted. The same request always gets the same answer from the same weights.

    `allowed` is a grammar (`constrained.py`): given the tokens of the answer so far, the tokens that may come next.
    """

    prompt: Prompt
    sampling: Sampling
    seed: int
    allowed: Callable[[Sequence[int]], Sequence[int]] | None = None


_DEFAULTS = {field.name: field.default for field in fields(Sampling)}
_ALWAYS = ("temperature", "top_k", "top_p", "max_tokens", "stop")

RANGES = {
    "0 or more": ("temperature", "top_k", "epsilon_cutoff", "eta_cutoff", "top_n_sigma", "mirostat_tau",
                  "no_repeat_ngram_size", "dry_multiplier", "noise", "diversity_penalty", "num_assistant_tokens",
                  "prompt_lookup_num_tokens"),
    "1 or more": ("max_tokens", "num_beams", "num_beam_groups", "dry_base", "dry_allowed_length"),
    "above 0": ("repetition_penalty", "mirostat_eta"),
    "above 0, at most 1": ("top_p", "typical_p"),
    "from 0 to 1": ("min_p", "xtc_probability", "xtc_threshold"),
    "0 or more, below 1": ("epsilon_cutoff", "eta_cutoff", "penalty_alpha"),
    "from -10 to 10": ("length_penalty",),
}
READING = ("repetition_penalty", "no_repeat_ngram_size", "dry_multiplier")
"""The processors that look at the words of the prompt, too: a prompt that is not of words cannot have them."""
COLDEST = 1e-5  # of temperatures other than 0: what divides by less may leave the numbers that there are
_HOLDS = {"0 or more": lambda x: x >= 0, "1 or more": lambda x: x >= 1, "above 0": lambda x: x > 0,
          "above 0, at most 1": lambda x: 0 < x <= 1, "from 0 to 1": lambda x: 0 <= x <= 1,
          "0 or more, below 1": lambda x: 0 <= x < 1, "from -10 to 10": lambda x: -10 <= x <= 10}


def _check_numbers(sampling: Sampling) -> None:
    for wanted, names in RANGES.items():
        for name in names:
            value = getattr(sampling, name)
            if not (_HOLDS[wanted](value) and value < float("inf")):
                raise UserError(f"Nothing can be written with {name} {value}.", f"{name} must be {wanted}.")
    if 0 < sampling.temperature < COLDEST:
        raise UserError(f"A temperature of {sampling.temperature} is neither 0 nor {COLDEST} or more.",
                        "Give 0 to take the most likely token each time.")


def _check_order(sampling: Sampling) -> None:
    for name in sampling.order:
        if name not in ORDER:
            raise UserError(f"There is no processor '{name}' to put in order.", nearest(name, ORDER))
    if len(set(sampling.order)) < len(sampling.order):
        raise UserError(f"The order {list(sampling.order)} names a processor twice.", "Name each one once.")
    left_out = [name for name in ORDER if sampling.order and _is_on(sampling, name) and name not in sampling.order]
    if left_out:
        raise UserError(f"The order does not say when {left_out[0]} works.", f"Add '{left_out[0]}' to order.")


def _is_on(sampling: Sampling, processor: str) -> bool:
    """Whether a processor changes anything; temperature 0 is a choice among what the processors leave."""
    if processor == "temperature":
        return sampling.temperature not in (0, 1)
    if processor == "top_k" and sampling.penalty_alpha:  # the candidates of contrastive search
        return False
    return getattr(sampling, processor) != _DEFAULTS[processor]


def _check_strategy(sampling: Sampling) -> None:
    """Refuse what a strategy cannot honour: nothing is left out in silence."""
    searches = {"num_beams": sampling.num_beams > 1, "penalty_alpha": sampling.penalty_alpha > 0,
                "num_assistant_tokens": sampling.num_assistant_tokens > 0,
                "prompt_lookup_num_tokens": sampling.prompt_lookup_num_tokens > 0}
    chosen = [name for name, on in searches.items() if on]
    if len(chosen) > 1:
        raise UserError(f"{chosen[0]} and {chosen[1]} ask for two ways to write one answer.", "Choose one of them.")
    if sampling.temperature == 0 and sampling.mirostat_tau:
        raise UserError("Mirostat changes nothing at temperature 0.",
                        "Set temperature above 0, or leave out mirostat_tau.")
    allowed = {"num_beams": PENALTIES, "penalty_alpha": ()}.get(chosen[0] if chosen else "", ORDER)
    refused = [name for name in sampling.processors if name not in allowed]
    if refused:
        raise UserError(f"{refused[0]} cannot be honoured together with {chosen[0]}.", f"Leave out {refused[0]}.")
    if sampling.strategy in ("beams", "contrastive") and sampling.temperature:
        raise UserError(f"{chosen[0]} asks for a search, which draws nothing, at temperature {sampling.temperature}.",
                        "Set temperature to 0.")
    if sampling.strategy == "contrastive" and sampling.top_k < 1:
        raise UserError("Contrastive search chooses among the top_k most likely tokens, and top_k is not given.",
                        "Give top_k, such as 4 to 10, beside penalty_alpha.")


_BELONGS = {"num_beam_groups": "num_beams", "length_penalty": "num_beams", "early_stopping": "num_beams",
            "xtc_threshold": "xtc_probability", "mirostat_eta": "mirostat_tau", "dry_base": "dry_multiplier",
            "dry_allowed_length": "dry_multiplier", "dry_sequence_breakers": "dry_multiplier"}


def _check_details(sampling: Sampling) -> None:
    """Refuse a detail of something that is off, and beams that do not fit together."""
    for name, owner in _BELONGS.items():
        if getattr(sampling, name) != _DEFAULTS[name] and getattr(sampling, owner) == _DEFAULTS[owner]:
            raise UserError(f"{name} is given, and {owner}, which it belongs to, is off.",
                            f"Give {owner} too, or leave out {name}.")
    if sampling.early_stopping not in (True, False, "never"):
        raise UserError(f"early_stopping cannot be {sampling.early_stopping!r}.", 'It is true, false or "never".')
    if sampling.num_beams % sampling.num_beam_groups:
        raise UserError(f"{sampling.num_beams} beams do not divide into {sampling.num_beam_groups} groups.",
                        "Make num_beams a multiple of num_beam_groups.")
    if bool(sampling.diversity_penalty) != (sampling.num_beam_groups > 1):
        raise UserError("Diverse beam search needs both num_beam_groups above 1 and diversity_penalty above 0.",
                        "Give both or neither.")
