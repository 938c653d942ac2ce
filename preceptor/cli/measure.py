"""`preceptor measure repetition FILE_OR_MODEL`: print the figures, aligned, or as one JSON object."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from preceptor.run.errors import UserError


def measure_repetition(target: Path, prompts: Path | None, texts: Path | None, settings: Sequence[str],
                       as_json: bool, reference: Path | None = None) -> None:
    """Measure a file of texts, or a model on prompts (`--prompts`) and on human texts (`--texts`), or both under a
    model that did not write the answers (`--reference`).

    Raises:
        UserError: nothing can be measured, and what to do.
    """
    if not target.exists():
        raise UserError(f"There is no file or folder '{target}'.", "Check the path.")
    if target.is_dir():
        if prompts is None and texts is None:
            raise UserError(f"A model is measured on something, and nothing is given for '{target}'.",
                            "Give --prompts FILE to measure its answers, --texts FILE to measure its predictions.")
        if reference and prompts is None:
            raise UserError("--reference judges answers, and there are no prompts to answer.",
                            "Give --prompts FILE, or leave out --reference.")
        figures = _of_model(target, prompts, texts, settings, reference)
    else:
        if prompts or texts or settings or reference:
            raise UserError("--prompts, --texts, --reference and --set are for models.",
                            "Leave them out, or name a model folder.")
        from preceptor.evaluate.repetition import measure_texts, read_answers
        figures = measure_texts(read_answers(target))
    print(json.dumps(figures) if as_json else table(figures))


def _of_model(folder: Path, prompts: Path | None, texts: Path | None, settings: Sequence[str],
              reference: Path | None) -> dict[str, Any]:
    from transformers.utils.logging import disable_progress_bar

    from preceptor.evaluate.repetition import measure_answers, measure_predictions
    disable_progress_bar()
    figures: dict[str, Any] = {}
    if prompts:
        figures |= measure_answers(folder, prompts, sampling_of(settings), reference=reference, human=texts)
    if texts:
        figures |= measure_predictions(folder, texts)
    return figures


def sampling_of(settings: Sequence[str]) -> Any:
    """Decoding options from `name=value` texts; greedy and 128 tokens unless they say otherwise."""
    from preceptor.generate.request import Sampling
    from preceptor.recipe.options import build_options
    values: dict[str, Any] = {"temperature": 0.0, "max_tokens": 128}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"'{setting}' is not of the form name=value.", "Write for instance --set top_p=0.9.")
        values[name] = yaml.safe_load(value)
    return build_options(Sampling, values, "decoding")


def table(figures: dict[str, dict[str, float]]) -> str:
    """The figures, one a line, under the name of their kind."""
    width = max(len(name) for group in figures.values() for name in group)
    lines = []
    for kind, group in figures.items():
        lines.append(kind.replace("_", " "))
        lines += [f"  {name:{width}}  {_shown(value)}" for name, value in group.items()]
    return "\n".join(lines)


def _shown(value: float) -> str:
    return f"{value:>10,}" if isinstance(value, int) else f"{value:>10.4f}"
