"""`preceptor see`: what a trained system sees in one picture."""

import json
import sys
from argparse import Namespace, _SubParsersAction
from pathlib import Path

from preceptor.run.errors import UserError

ASKING = ("?", "？")  # a text that ends so is a question, for systems that answer


def add_see(commands: "_SubParsersAction") -> None:
    """The command and its arguments."""
    see = commands.add_parser("see", help="what a trained system sees in a picture: scores of texts, or a caption")
    see.add_argument("model", type=Path, help="folder of a run's step, or of a system")
    see.add_argument("image", type=Path, help="a picture (PNG, JPEG, WebP, ...)")
    see.add_argument("texts", nargs="*", metavar="TEXT", help="texts to score; a question is answered where it can be")
    see.add_argument("--ground", action="append", default=[], metavar="PHRASE", dest="phrases",
                     help="print the box of what a phrase names, such as \"the red hat\"; may be given several times")
    see.add_argument("--texts", type=Path, dest="file", metavar="FILE", help="texts to score, one a line")
    see.add_argument("--best", type=int, default=10, help="of --texts: how many are shown (10)")
    see.add_argument("--json", action="store_true", help="print one JSON object")
    see.set_defaults(command=_see)


def _see(options: Namespace) -> None:
    from preceptor.vision.look import look
    texts = list(options.texts)
    if options.file is not None:
        try:
            texts += [line.strip() for line in options.file.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"'{options.file}' cannot be read: {error}.", "Name a file of texts, one a line.") from None
    questions = [text for text in texts if text.endswith(ASKING)]
    found = look(options.model, options.image, [text for text in texts if text not in questions], questions,
                 options.best, options.phrases)
    if options.json:
        print(json.dumps(found, ensure_ascii=False))
        return
    for text, score in found.get("scores", []):
        print(f"{score:10.4f}  {text}")
    for question, answer in found.get("answers", []):
        print(f"{question}  {answer}")
    for phrase, box in found.get("boxes", []):
        print(f"{phrase}  {box or 'no box was written'}")
    if "caption" in found:
        print(found["caption"])
    for line in found.get("noted", []):
        print(line, file=sys.stderr)
