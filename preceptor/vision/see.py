"""The stage `see`: what a trained system sees in pictures that it never learned from."""

from typing import Any

from preceptor.data.jsonl import read_jsonl, read_rows, write_jsonl
from preceptor.data.pictures.captions import HAN
from preceptor.data.pictures.store import Pictures
from preceptor.data.records import Conversation, content_text, image_urls
from preceptor.run.errors import UserError
from preceptor.run.files import write_json
from preceptor.run.step import Step
from preceptor.vision.asked import answered, questions_of
from preceptor.vision.captioned import captioned
from preceptor.vision.examine import (
    Shown,
    classification,
    mirrored,
    nearest_texts,
    rate_distortion,
    reconstruction,
    retrieval,
    scores_of,
    shown_by,
)
from preceptor.vision.gallery import EACH, Gallery, spread
from preceptor.vision.keep import load_system
from preceptor.vision.system import System


def run(step: Step) -> None:
    """Read `model` and `pictures`; write scores.json, the gallery, and what both are made of, of every split and
    language: the best texts of each picture (nearest), and captions and answers as they were written.

    Raises:
        UserError: none of the splits is there, or a template has no place for a name.
    """
    options, folder = step.options, step.input("pictures")
    for template in options.templates:
        if "{}" not in template:
            raise UserError(f"The template '{template}' has no place for a name.", "Write {} where it stands.")
    pictures, system = Pictures(folder), load_system(step.input("model"))
    gallery = Gallery(step.folder, pictures)
    found: dict[str, Any] = {}
    for split in options.splits:
        numbers = pictures.of_split(split)[:options.limit or None]
        if numbers and hasattr(system, "reconstruct"):
            images = pictures.take(numbers)
            found[split] = {"reconstruction": reconstruction(system, images, step.seed)}
            cards = [{"picture": pictures.names[number]} for number in numbers[:EACH]]
            gallery.add_painted("reconstructions", split, cards, system.reconstruct(images[:EACH]))
        path = folder / f"conversations.{split}.jsonl"
        if path.is_file() and system.reads != "pictures":
            figures = _split(step, system, pictures, read_jsonl(path, Conversation), split, gallery)
            found[split] = found.get(split, {}) | figures
        order = folder / f"order.{split}.jsonl"
        rows = [row for _, row in read_rows(order)] if order.is_file() and system.reads != "pictures" else []
        if rows:
            found.setdefault(split, {})["word_order"] = mirrored(system, pictures, rows[:options.limit or None],
                                                                 step.seed)
    if not found:
        raise UserError(f"'{folder}' has none of the splits {', '.join(options.splits)}.",
                        f"Set {step.name}.splits to those that it has.")
    gallery.write()
    write_json(step.folder / "scores.json", found)
    for name, figure in sorted(headlines(found).items()):
        step.log.write(0, **{name.replace(" ", "_"): figure})
        step.say(f"{name} {figure:.3f}")


def _split(step: Step, system: System, pictures: Pictures, records: list[Conversation], split: str, gallery: Gallery
           ) -> dict[str, Any]:
    """All measures of one split; of several languages, each apart."""
    options = step.options
    languages: dict[str, list[Conversation]] = {}
    for record in records:
        languages.setdefault(language_of(record), []).append(record)
    figures: dict[str, Any] = {}
    for language, said in sorted(languages.items()):
        shown = shown_by(pictures, said)
        if not shown.numbers:
            continue
        kept = set(shown.numbers[:options.limit or None])
        said = [record for record in said if pictures.number[image_urls(record.messages)[0]] in kept]
        shown = shown_by(pictures, said)
        scores = scores_of(system, pictures.take(shown.numbers), shown.texts)
        figures[language] = {"retrieval": retrieval(scores, shown, step.seed)}
        rows = nearest_texts(pictures, shown, scores)
        write_jsonl(step.folder / f"nearest.{split}.{language}.jsonl", rows)
        gallery.add("nearest", split, language, rows, [-row["place"] for row in rows], perfect=-1)
        classes = classification(system, pictures, said, options.templates, step.seed)
        figures[language] |= {"zero_shot": classes} if classes else {}
        told = rate_distortion(system, pictures, shown, step.seed)
        figures[language] |= {"rate_distortion": told} if told else {}
        figures[language] |= _written(step, system, pictures, said, shown, f"{split}.{language}", gallery)
        if hasattr(system, "draw"):
            texts = spread(shown.texts, EACH)
            gallery.add_painted("samples", split, [{"text": text} for text in texts], system.draw(texts), language)
    return figures


def _written(step: Step, system: System, pictures: Pictures, said: list[Conversation], shown: Shown, where: str,
             gallery: Gallery) -> dict[str, Any]:
    """The measures of what a system writes, captions and answers, in the split and language `where`."""
    split, language = where.split(".")
    figures: dict[str, Any] = {}
    if hasattr(system, "caption"):
        figures["captions"], rows = captioned(system, pictures, shown, language, step.seed)
        write_jsonl(step.folder / f"captions.{where}.jsonl", rows)
        gallery.add("captions", split, language, rows, [row["rouge_l"] for row in rows], perfect=1)
    if questions := questions_of(system, pictures, said) if hasattr(system, "answer") else []:
        found, rows = answered(system, pictures, questions, step.seed)
        figures |= found
        write_jsonl(step.folder / f"answers.{where}.jsonl", rows)
        gallery.add("answers", split, language, rows, [row["right"] for row in rows], perfect=1)
    return figures


def language_of(record: Conversation) -> str:
    """The language in which a record asks."""
    return "zh" if HAN.search(content_text(record.messages[0]["content"])) else "en"


def headlines(found: dict[str, Any]) -> dict[str, float]:
    """The figures that are printed: of every split and language the first of each measure, seen and blind."""
    named: dict[str, float] = {}
    for split, languages in found.items():
        for language, figures in languages.items():
            if language == "reconstruction":
                named[f"{split} codes used"] = figures["used"]
                for way in ("seen", "blind"):
                    named[f"{split} psnr {way}"] = figures[way]["psnr"]["mean"]
                continue
            if language == "word_order":
                for way in ("seen", "blind"):
                    named[f"{split} word order {way}"] = figures[way]["text"]["mean"]
                continue
            for way in ("seen", "blind"):
                named[f"{split} {language} auc {way}"] = figures["retrieval"][way]["score_auc"]["mean"]
                if "zero_shot" in figures:
                    named[f"{split} {language} top1 {way}"] = figures["zero_shot"][way]["top1"]["mean"]
                for name, measure in {**figures.get("questions", {}), **figures.get("ground", {})}.items():
                    named[f"{split} {language} {name} {way}"] = measure[way]["mean"]
                if "captions" in figures:
                    named[f"{split} {language} cider {way}"] = figures["captions"][way]["cider_d"]["mean"]
    return named
