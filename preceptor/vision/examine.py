"""One evaluator for every system: whatever answers `score(images, texts)` is measured here, and beside itself blind.

    retrieval      R@k of texts for a picture and of pictures for a text; auc: a true text above an untrue one
    zero-shot      the class whose name scores best, names put into templates; top-1, top-5, mean per-class recall
    rate           of what has vectors: how much they tell, and the price (rate and distortion)
    word order     a picture and its mirror image, a text and the same words with the two things exchanged

    what is kept   of what turns pictures into codes and back: PSNR, SSIM, share of the codes in use

Blind is the same measure with the pictures of other rows: what is left of a figure then was never seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from preceptor.data.pictures.captions import is_caption
from preceptor.data.pictures.store import Pictures, as_bytes
from preceptor.data.records import Conversation, image_urls
from preceptor.losses.bottleneck import contrast_nats, rate_bound
from preceptor.metrics.image_text import found_at, score_auc, word_order, zero_shot
from preceptor.metrics.intervals import mean_over_prompts
from preceptor.metrics.reconstruction import code_use, psnr, ssim
from preceptor.vision.system import Embeds, System, TwoTowers, in_parts, unit

KS = (1, 5, 10)
GROUP = 64  # pairs among which InfoNCE finds the true one; rows are compared at one number, as log of it is the most
Figures = dict[str, Any]  # measure -> interval as a JSON object, or a number


@dataclass(frozen=True, slots=True)
class Shown:
    """Pictures of a split, what is said of them, and which belongs to which; a cluster is a concept, or a picture."""

    numbers: list[int]
    texts: list[str]
    positives_IT: np.ndarray
    clusters: list[str]


def shown_by(pictures: Pictures, records: Sequence[Conversation]) -> Shown:
    """The captions among some records. A text is true of its picture, and of every picture of the same concept."""
    captions = [record for record in records if is_caption(record)]
    of_picture = {pictures.number[image_urls(record.messages)[0]]: record.concept for record in captions}
    texts = list(dict.fromkeys(record.messages[-1]["content"] for record in captions))
    place = {text: number for number, text in enumerate(texts)}
    true_of: dict[str, set[int]] = {}
    for record in captions:
        for key in (f"picture {pictures.number[image_urls(record.messages)[0]]}", f"concept {record.concept}"):
            if key != "concept None":
                true_of.setdefault(key, set()).add(place[record.messages[-1]["content"]])
    positives = np.zeros((len(of_picture), len(texts)), dtype=bool)
    for row, (number, concept) in enumerate(of_picture.items()):
        positives[row, list(true_of[f"picture {number}"] | true_of.get(f"concept {concept}", set()))] = True
    clusters = [concept or pictures.names[number] for number, concept in of_picture.items()]
    return Shown(list(of_picture), texts, positives, clusters)


def retrieval(scores_IT: np.ndarray, shown: Shown, seed: int) -> Figures:
    """R@k both ways and the share of ordered pairs, each with the blind one beside it."""
    blind_IT = scores_IT[elsewhere(len(scores_IT), seed)]
    return {"seen": _retrieved(scores_IT, shown), "blind": _retrieved(blind_IT, shown)}


def _retrieved(scores_IT: np.ndarray, shown: Shown) -> Figures:
    shares = score_auc(scores_IT, shown.positives_IT)
    told = [row for row, share in enumerate(shares) if share == share]  # a picture of which all is true has no share
    figures: Figures = {"score_auc": mean_over_prompts([float(shares[row]) for row in told],
                                                       [shown.clusters[row] for row in told]).to_dict()}
    for k in KS:
        if k < len(shown.texts):
            hits = found_at(scores_IT, shown.positives_IT, k)
            figures[f"text_r{k}"] = mean_over_prompts(hits.astype(float).tolist(), shown.clusters).to_dict()
        if k < len(shown.numbers):
            hits = found_at(scores_IT.T, shown.positives_IT.T, k)
            figures[f"picture_r{k}"] = mean_over_prompts(hits.astype(float).tolist(), shown.texts).to_dict()
    return figures


def classification(system: System, pictures: Pictures, records: Sequence[Conversation], templates: Sequence[str],
                   seed: int) -> Figures:
    """Zero-shot over the concepts of some records, each named by its first caption; empty where they name none."""
    captions = [record for record in records if is_caption(record) and record.concept is not None]
    names: dict[str, str] = {}
    label_of: dict[int, str] = {}
    for record in captions:
        names.setdefault(record.concept, record.messages[-1]["content"])
        label_of[pictures.number[image_urls(record.messages)[0]]] = record.concept
    if len(names) < 2:
        return {}
    classes = list(names)
    labels = np.array([classes.index(concept) for concept in label_of.values()])
    scores = class_scores(system, pictures.take(list(label_of)), list(names.values()), templates)
    clusters = list(label_of.values())
    return {"classes": len(classes), "chance": 1 / len(classes), "seen": _classified(scores, labels, clusters),
            "blind": _classified(scores[elsewhere(len(scores), seed)], labels, clusters)}


def _classified(scores_IC: np.ndarray, labels_I: np.ndarray, clusters: Sequence[str]) -> Figures:
    found = zero_shot(scores_IC, labels_I)
    return {name: mean_over_prompts(hits.astype(float).tolist(), clusters).to_dict()
            for name, hits in (("top1", found.top1), ("top5", found.top5))} | {"per_class": found.per_class}


def class_scores(system: System, images: Tensor, names: Sequence[str], templates: Sequence[str]) -> np.ndarray:
    """The score (I, C) of each class, its name put into every template (`{}` is where).

    Two towers: 100 times the dot product with the class's vector, which is the mean of its templates' unit vectors,
    made a unit vector again (CLIP, open_clip). All others: the mean of the templates' scores.
    """
    if isinstance(system, TwoTowers):
        vectors = torch.stack([system.embed_texts([template.format(name) for name in names])
                               for template in templates])
        return (100 * system.embed(images) @ unit(vectors.mean(0)).T).cpu().numpy()
    return np.mean([scores_of(system, images, [template.format(name) for name in names]) for template in templates],
                   axis=0)


def rate_distortion(system: System, pictures: Pictures, shown: Shown, seed: int) -> Figures:
    """Of a system with vectors, in nats; empty for the others, and where there are no two pictures.

    `distortion` is the InfoNCE between pictures and one true text of each, in groups of `pairs`. `rate_at_least`, the
    log of that number less the distortion, is what a picture's vector tells of the picture, or less than it; it ends at
    the log. `rate_at_most` bounds it from above, of systems whose vectors are draws (p(z | picture) of `of_pictures`);
    of a vector without noise nothing does.
    """
    pairs = min(GROUP, len(shown.numbers))
    if not isinstance(system, Embeds) or pairs < 2:
        return {}
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(shown.numbers))
    chosen = [draw.choice(shown.positives_IT[row].nonzero()[0]) for row in order]
    images = pictures.take([shown.numbers[row] for row in order])
    vectors, told = system.embed(images), system.embed_texts([shown.texts[text] for text in chosen])
    figures: Figures = {"pairs": pairs}
    if hasattr(system, "of_pictures"):
        posterior_I2D = in_parts(lambda part: torch.stack(system.of_pictures(part), 1), images.to(vectors.device))
        mean, deviation = posterior_I2D.unbind(1)
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(seed)).to(mean)
        vectors = unit(mean + deviation * noise)
        figures["rate_at_most"] = rate_bound(mean, deviation)
    with torch.no_grad():
        found = [contrast_nats(vectors[first:first + pairs], told[first:first + pairs], system.scale().double())
                 for first in range(0, len(order) - pairs + 1, pairs)]
    distortion = float(np.mean(found))
    return figures | {"distortion": distortion, "rate_at_least": float(np.log(pairs)) - distortion}


def mirrored(system: System, pictures: Pictures, rows: Sequence[dict[str, Any]], seed: int) -> Figures:
    """Word order: `{picture, texts}`, of which the first text is true of the picture and the second, of the same words,
    of its mirror image."""
    images = pictures.take([pictures.number[row["picture"]] for row in rows])
    pairs = torch.stack([images, images.flip(-1)], 1)

    def scored(of: Tensor) -> Figures:
        found = word_order(np.stack([scores_of(system, pair, row["texts"]) for pair, row in zip(of, rows)]))
        return {name: mean_over_prompts(getattr(found, name).astype(float).tolist()).to_dict()
                for name in ("text", "image", "group")}

    return {"pairs": len(rows), "seen": scored(pairs), "blind": scored(pairs[elsewhere(len(pairs), seed)])}


def nearest_texts(pictures: Pictures, shown: Shown, scores_IT: np.ndarray, best: int = 5) -> list[dict[str, Any]]:
    """Of each picture the texts that score best, with their scores; the true texts, and the place of the best of them
    (1 is the first)."""
    rows = []
    for number, true_T, row in zip(shown.numbers, shown.positives_IT, scores_IT):
        rows.append({"picture": pictures.names[number], "place": 1 + int((row > row[true_T].max()).sum()),
                     "true": [shown.texts[column] for column in true_T.nonzero()[0]],
                     "texts": [[shown.texts[column], round(float(row[column]), 4)]
                               for column in (-row).argsort()[:best]]})
    return rows


def reconstruction(system: System, images: Tensor, seed: int) -> Figures:
    """PSNR and SSIM of pictures that go through the codes and back, blind against another picture; the share of the
    codebook that occurs in them, and the perplexity of the codes."""
    codes = system.encode(images)
    again, true = (as_bytes(one.cpu()).permute(0, 3, 1, 2) / 255 for one in (system.decode(codes), images))
    use = code_use(codes.cpu(), system.options.codes)
    figures: Figures = {"used": use.used, "perplexity": use.perplexity}
    for way, with_these in (("seen", true), ("blind", true[elsewhere(len(true), seed)])):
        figures[way] = {name: mean_over_prompts(measure(again, with_these).tolist()).to_dict()
                        for name, measure in (("psnr", psnr), ("ssim", ssim))}
    return figures


def scores_of(system: System, images: Tensor, texts: Sequence[str]) -> np.ndarray:
    """`system.score` as an array of float64."""
    return system.score(images, texts).double().cpu().numpy()


def elsewhere(count: int, seed: int) -> np.ndarray:
    """For each row another row, all different: the rows in a circle, in an order drawn from the seed."""
    order = np.random.default_rng(seed).permutation(count)
    return order[np.argsort(order) - 1] if count > 1 else order
