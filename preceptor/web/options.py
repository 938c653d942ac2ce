"""How the pages ask and whom they let in."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class WebOptions:
    """What the person who starts the server decides."""

    policy: str = "random"
    """What is labelled next: random, uncertain or informative (docs/feedback.md)."""
    gold_share: float = 0.05
    """Probability that the next question is a gold one, while there are any."""
    lease_minutes: float = 60.0
    """How long an item is held for the labeler who has it open."""
    axes: bool = False
    """Ask for accuracy, relevance, naturalness and concision, 1 to 5, besides the overall score."""
    session_hours: float = 12.0
    """How long somebody stays signed in."""
    requests_per_minute: int = 600
    """Requests that one browser may send; sign-ins have a limit of their own."""
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost")
    """Names, beside addresses, under which the server may be called; another name in a request is refused (DNS
    rebinding)."""


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """What the person who serves models decides."""

    keys: tuple[str, ...] = ()
    """API keys that are let in; none lets everybody in."""
    hosts: tuple[str, ...] = ()
    """Names, beside localhost and addresses, under which the server may be called where there are no keys; another name
    in a request is refused (DNS rebinding)."""
    requests_per_minute: int = 600
    """Requests that one key, or one address where there are no keys, may send."""
    rows: int = 64
    """Answers of a model that are written at a time; also the most beams of a search, and choices of a request."""
    waiting: int = 256
    """Answers of a model that may wait beyond those; more are refused with 429."""
    max_tokens: int = 256
    """Tokens of an answer to a request that does not say how many."""
    timeout: float = 600.0
    """Seconds after which a call that is not finished is given up with 504; 0 never does."""
    runtime: str = ""
    """What decodes: pytorch, or onnx (ONNX Runtime); empty takes ONNX Runtime for exported folders alone."""
