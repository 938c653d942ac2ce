"""`preceptor tune decoding MODEL --prompts FILE`: every strategy at equal budget, a picture, and a recommendation."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from preceptor.run.errors import UserError

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#777777", "#dd7722")
WIDTH, HEIGHT, EDGE = 760, 460, 60


def tune_decoding(model: Path, prompts: Path, reference: Path | None, reward: Path | None, max_tokens: int,
                  out: Path) -> None:
    """Try the strategies, write OUT.json and OUT.svg, and print a table and what is recommended.

    Raises:
        UserError: something cannot be loaded or compared, and what to do.
    """
    if not model.is_dir():
        raise UserError(f"There is no model folder '{model}'.", "Give the folder of a step or of a model.")
    from transformers.utils.logging import disable_progress_bar

    from preceptor.evaluate.tuning import FAMILIES, recommended, tune
    from preceptor.run.files import write_json, write_text
    from preceptor.run.progress import Progress
    disable_progress_bar()
    total = sum(map(len, FAMILIES.values()))
    quality, trials = tune(model, prompts, reference=reference, reward=reward, max_tokens=max_tokens,
                           progress=Progress("tune", total, "settings"))
    best, ties = recommended(trials)
    write_json(out.with_suffix(".json"), {"quality": quality, "recommended": best.options,
                                          "not_clearly_worse": [trial.options for trial in ties],
                                          "trials": [trial.to_dict() for trial in trials]})
    write_text(out.with_suffix(".svg"), picture(trials, quality, best))
    print(table(trials, quality))
    print(f"\nRecommended: {said(best.options)}")
    print(f"Not clearly worse: {'; '.join(said(trial.options) for trial in ties) or 'none'}")
    print(f"Written: {out.with_suffix('.json')}, {out.with_suffix('.svg')}")


def said(options: dict[str, Any]) -> str:
    """Options as a person writes them."""
    return ", ".join(f"{name}={value}" for name, value in options.items() if value != 0 or name == "temperature")


def table(trials: Sequence[Any], quality: str) -> str:
    """One line a setting."""
    width = max(len(said(trial.options)) for trial in trials)
    lines = [f"{'setting':{width}}  {'diversity':>22}  {quality:>32}  loops"]
    for trial in trials:
        lines.append(f"{said(trial.options):{width}}  {_interval(trial.diversity):>22}  "
                     f"{_interval(trial.quality):>32}  {trial.loop_rate:5.1%}")
    return "\n".join(lines)


def _interval(value: Any) -> str:
    return f"{value.mean:.3f} ({value.low:.3f} to {value.high:.3f})"


def picture(trials: Sequence[Any], quality: str, best: Any) -> str:
    """Quality against diversity as SVG, with 95 % intervals; the recommended setting has a ring."""
    families = list(dict.fromkeys(trial.family for trial in trials))
    x = _scale([trial.diversity for trial in trials], EDGE, WIDTH - 170)
    y = _scale([trial.quality for trial in trials], HEIGHT - EDGE, 20)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
             f'font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
             f'<text x="{EDGE}" y="{HEIGHT - 15}">diversity</text>',
             f'<text transform="translate(18 {HEIGHT - EDGE}) rotate(-90)">{escape(quality)}</text>']
    for trial in trials:
        colour = COLOURS[families.index(trial.family) % len(COLOURS)]
        cx, cy = x(trial.diversity.mean), y(trial.quality.mean)
        parts += [f'<g stroke="{colour}" fill="{colour}"><title>{escape(said(trial.options))}</title>'
                  f'<path d="M{x(trial.diversity.low):.1f} {cy:.1f}H{x(trial.diversity.high):.1f}'
                  f'M{cx:.1f} {y(trial.quality.low):.1f}V{y(trial.quality.high):.1f}" opacity="0.4"/>'
                  f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="4"/></g>']
        if trial is best:
            parts.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="9" fill="none" stroke="black"/>')
    for number, family in enumerate(families):
        parts.append(f'<text x="{WIDTH - 150}" y="{40 + 20 * number}" fill="{COLOURS[number % len(COLOURS)]}">'
                     f'{escape(family)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _scale(values: Sequence[Any], first: float, last: float) -> Any:
    """A function from values to places between `first` and `last`."""
    low, high = min(value.low for value in values), max(value.high for value in values)
    return lambda value: first + (last - first) * (value - low) / ((high - low) or 1.0)
