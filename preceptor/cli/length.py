"""`preceptor measure length MODEL --texts FILE`: perplexity and needles against length, and which method to take."""

from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from preceptor.run.errors import UserError

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#777777", "#dd7722")
WIDTH, HEIGHT, EDGE = 420, 300, 46


def measure_length(options: Namespace) -> None:
    """Print a line for each method and length, write OUT.json and OUT.svg, and recommend a method.

    Raises:
        UserError: something cannot be measured, and what to do.
    """
    for path in (options.model, options.texts):
        if not path.exists():
            raise UserError(f"There is no file or folder '{path}'.", "Check the path.")
    from transformers.utils.logging import disable_progress_bar

    from preceptor.data.sources import read_documents
    from preceptor.evaluate.length import Reading, readings, recommended
    from preceptor.models.causal import configured_length, model_folder
    from preceptor.run.files import write_json, write_text
    disable_progress_bar()
    source = model_folder(options.model)
    lengths = _lengths(options.lengths, source, configured_length)
    texts = [document.text for document in read_documents(options.texts, 1 << 40, Counter())]
    found: list[Reading] = []
    print(f"{'method':14} {'length':>7} {'perplexity':>11} {'needles':>8}")
    for reading in readings(source, texts, lengths, needles=options.needles, seed=options.seed):
        found.append(reading)
        print(f"{reading.method:14} {reading.length:7,} {reading.perplexity:11.2f} {reading.found:8.0%}", flush=True)
    best = recommended(found)
    write_json(options.out.with_suffix(".json"),
               {"recommended": best, "readings": [asdict(reading) for reading in found]})
    write_text(options.out.with_suffix(".svg"), picture(found))
    print(f"\nRecommended at {max(lengths):,} tokens: {best}"
          f"\nWritten: {options.out.with_suffix('.json')}, {options.out.with_suffix('.svg')}")


def _lengths(given: str | None, source: Any, length_of: Any) -> list[int]:
    """The lengths to measure: those given, or half, one, two, four and eight times what the model was trained on."""
    if given is None:
        from transformers import AutoConfig
        try:
            trained = length_of(AutoConfig.from_pretrained(source))
        except (OSError, ValueError):
            raise UserError(f"'{source}' is no model folder.", "Give the folder of a step or of a model.") from None
        return [trained // 2, trained, 2 * trained, 4 * trained, 8 * trained]
    try:
        lengths = sorted(int(length) for length in given.split(","))
    except ValueError:
        lengths = [0]
    if lengths[0] < 32:
        raise UserError(f"'{given}' is no list of lengths of 32 tokens or more.", "Give numbers, such as 256,512,1024.")
    return lengths


def picture(found: Sequence[Any]) -> str:
    """Two panels against length, as SVG: perplexity, and the share of needles that are found."""
    methods = list(dict.fromkeys(reading.method for reading in found))
    lengths = sorted({reading.length for reading in found})
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH + 110} {HEIGHT}" '
             f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>']
    worst = max(reading.perplexity for reading in found)
    for panel, (name, most) in enumerate((("perplexity", worst), ("found", 1.0))):
        left = panel * WIDTH + EDGE
        parts.append(f'<text x="{left}" y="14">{"perplexity" if name == "perplexity" else "needles found"}</text>'
                     f'<path d="M{left} 20V{HEIGHT - EDGE}H{left + WIDTH - 70}" stroke="#888" fill="none"/>'
                     f'<text x="{left - 4}" y="30" text-anchor="end">{most:.3g}</text>'
                     f'<text x="{left - 4}" y="{HEIGHT - EDGE}" text-anchor="end">0</text>')
        places = {length: left + (WIDTH - 80) * (number + 0.5) / len(lengths) for number, length in enumerate(lengths)}
        parts += [f'<text x="{x:.0f}" y="{HEIGHT - EDGE + 16}" text-anchor="middle">{length}</text>'
                  for length, x in places.items()]
        for number, method in enumerate(methods):
            points = [(places[reading.length], HEIGHT - EDGE - (HEIGHT - EDGE - 24) * getattr(reading, name) / most)
                      for reading in found if reading.method == method]
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            colour = COLOURS[number % len(COLOURS)]
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
            if panel:
                parts.append(f'<text x="{2 * WIDTH}" y="{40 + 20 * number}" fill="{colour}">{method}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
