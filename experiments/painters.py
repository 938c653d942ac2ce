"""What image tokenizers keep of a picture, and how well generative classifiers tell what is in it, at which cost.

    python experiments/painters.py --out FOLDER [--emoji PACK] [--quick] [--json]

Runs the recipes `generative_classifiers` and, with the pack, `image_tokenizers`, and goes on with runs that are there.
Every accuracy stands beside its blind control: the same scores with the pictures moved on by half of the set.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from foundation import folder_of
from torch import Tensor

from preceptor.data.jsonl import read_jsonl
from preceptor.data.pictures.store import Pictures, as_bytes
from preceptor.data.records import Conversation, image_urls
from preceptor.metrics.intervals import wilson
from preceptor.metrics.reconstruction import code_use, psnr, ssim
from preceptor.recipe.load import load_recipe
from preceptor.recipe.runner import run_recipe
from preceptor.vision.keep import load_system
from preceptor.vision.system import System

TOKENIZERS, CLASSIFIERS = ("vq_vae", "vq_gan", "vit_vqgan"), ("autoregressive", "diffusion")
QUICK = {"image_tokenizers": [f"{name}.steps=10" for name in TOKENIZERS],
         "generative_classifiers": ["book.train_scenes=200", "book.test_scenes=20",
                                    *[f"{name}.steps=10" for name in ("vq_vae", *CLASSIFIERS)]]}
STAGES = {"grid 16": [(16, 1)], "16 by elimination": [(2, 12), (4, 6), (8, 3), (16, 1)], "grid 4": [(4, 1)],
          "4 by elimination": [(1, 16), (2, 6), (4, 1)]}


def run(name: str, out: Path, quick: bool, sets: Sequence[str] = ()) -> Path:
    """The folder of a run of a recipe, done now or before."""
    folder = out / (f"{name}-quick" if quick else name)
    run_recipe(load_recipe(name, sets=[*sets, *(QUICK[name] if quick else ())]), folder)
    return folder


@torch.no_grad()
def reconstruction(system: System, pictures: Pictures, split: str, count: int) -> dict[str, float]:
    """PSNR, SSIM and use of the codebook on a split; `plain` is the PSNR of the mean picture of training."""
    images = pictures.take(spread(pictures.of_split(split), count))
    mean = pictures.take(spread(pictures.of_split("train"), 512)).mean(0, keepdim=True).expand_as(images)
    codes = system.encode(images)
    shown, plain, true = (as_bytes(one).permute(0, 3, 1, 2) / 255 for one in (system.decode(codes), mean, images))
    use = code_use(codes, system.options.codes)
    return {"psnr": psnr(shown, true).mean().item(), "ssim": ssim(shown, true).mean().item(), "used": use.used,
            "perplexity": use.perplexity, "plain": psnr(plain, true).mean().item()}


def spread(numbers: Sequence[int], count: int) -> list[int]:
    """At most `count` of them, evenly spread."""
    return list(numbers)[::max(1, len(numbers) // count)][:count]


def labelled(folder: Path, pictures: Pictures, split: str, count: int) -> tuple[Tensor, list[str], Tensor]:
    """Pictures of a split, all texts that the book says of pictures of the split, and the number of each one's text."""
    said = {image_urls(one.messages)[0]: str(one.messages[-1]["content"])
            for one in read_jsonl(folder / f"conversations.{split}.jsonl", Conversation) if one.category == "caption"}
    texts = sorted(set(said.values()))
    chosen = spread([number for number in pictures.of_split(split) if pictures.names[number] in said], count)
    truth = torch.tensor([texts.index(said[pictures.names[number]]) for number in chosen])
    return pictures.take(chosen), texts, truth


def classification(system: System, images: Tensor, texts: list[str], truth: Tensor) -> dict[str, Any]:
    """Accuracy by the whole score, and of the blind control."""
    scores = system.score(images, texts).cpu()
    moved = scores.roll(len(scores) // 2, 0)
    return {"accuracy": wilson(int((scores.argmax(1) == truth).sum()), len(truth)).to_dict(),
            "blind": wilson(int((moved.argmax(1) == truth).sum()), len(truth)).to_dict(), "texts": len(texts)}


def by_evaluations(system: System, images: Tensor, texts: list[str], truth: Tensor) -> dict[str, dict[str, float]]:
    """Accuracy of the diffusion classifier against passes of the network for a picture."""
    found = {}
    for name, stages in STAGES.items():
        chosen = system.classify(images, texts, stages)
        right = wilson(int((chosen.text_I == truth).sum()), len(truth))
        found[name] = {"evaluations": chosen.evaluations, **right.to_dict()}
    return found


def show(pictures: Tensor, path: Path, across: int = 8) -> None:
    """Write pictures as one PNG, `across` in a row, enlarged three times."""
    from PIL import Image
    rows = [torch.cat(list(row), 1) for row in as_bytes(pictures.cpu()).split(across) if len(row) == across]
    sheet = Image.fromarray(torch.cat(rows).numpy())
    sheet.resize((sheet.width * 3, sheet.height * 3), Image.Resampling.NEAREST).save(path)


def classifiers(out: Path, quick: bool) -> dict[str, Any]:
    """Train and measure both generative classifiers; samples are written beside the run."""
    done = run("generative_classifiers", out, quick)
    folder = folder_of(done, "pictures")
    pictures = Pictures(folder)
    found: dict[str, Any] = {"vq_vae_of_book": reconstruction(load_system(folder_of(done, "vq_vae")), pictures, "test",
                                                              8 if quick else 200)}
    for name in CLASSIFIERS:
        system = load_system(folder_of(done, name))
        found[name] = {split: classification(system, *labelled(folder, pictures, split, 4 if quick else 100))
                       for split in ("test", "heldout")}
        texts = labelled(folder, pictures, "test", 1)[1]
        show(system.draw(spread(texts, 16)), out / f"{name}.png")
        if name == "diffusion":
            found[name]["by_evaluations"] = by_evaluations(system, *labelled(folder, pictures, "test",
                                                                             4 if quick else 100))
    return found


def tokenizers(out: Path, pack: Path, quick: bool) -> dict[str, Any]:
    """Train and measure three image tokenizers; pictures over what is left of them are written beside the run."""
    done = run("image_tokenizers", out, quick, [f"emoji.needs.pack={pack}"])
    pictures = Pictures(folder_of(done, "emoji"))
    found = {}
    for name in TOKENIZERS:
        system = load_system(folder_of(done, name))
        found[name] = {split: reconstruction(system, pictures, split, 32 if quick else 400)
                       for split in ("valid", "vendor")}
        some = pictures.take(spread(pictures.of_split("vendor"), 8))
        show(torch.cat([some, system.reconstruct(some).cpu()]), out / f"{name}.png")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--emoji", type=Path, help="folder of the emoji pack; without it tokenizers are left out")
    parser.add_argument("--quick", action="store_true", help="a few steps of everything")
    parser.add_argument("--json", action="store_true", help="the last line is one JSON object")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    found = classifiers(options.out, options.quick)
    if options.emoji:
        found |= tokenizers(options.out, options.emoji.resolve(), options.quick)
    for name, figures in found.items():
        print(name, json.dumps(figures, indent=None if options.quick else 1))
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
