"""The bottleneck: its loss in closed form, its draws, and rate and distortion of every row that has vectors."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from preceptor.data.pictures.store import Pictures
from preceptor.losses.image_text import clip_sum
from preceptor.recipe.load import load_recipe
from preceptor.vision.examine import Shown, rate_distortion
from preceptor.vision.stage import weighed
from preceptor.vision.system import TwoTowers, unit
from tests.vision.by_heart import colours_of, knows, learn
from tests.vision.conftest import Book
from tests.vision.rows import check_row
from tests.vision.test_towers import batch_of, tiny


def test_the_loss_is_contrast_of_draws_and_weighted_divergence(book: Book) -> None:
    system = tiny("mib", book, vector=8, beta=0.25)
    batch = batch_of(system)
    torch.manual_seed(5)
    loss, rows, _ = weighed(system, batch)
    torch.manual_seed(5)
    pictures, texts = Normal(*system.of_pictures(batch["pixels"])), Normal(*system.of_texts(batch))
    images, told = (unit(one.loc + one.scale * torch.randn_like(one.loc)) for one in (pictures, texts))
    divergence = (kl_divergence(pictures, texts) + kl_divergence(texts, pictures)).sum(-1).mean() / 2
    contrast = clip_sum(images, told, system.scale()) / 5
    torch.testing.assert_close(loss / rows, contrast + 0.25 * divergence, rtol=1e-5, atol=1e-6)
    torch.manual_seed(6)
    assert weighed(system, batch)[0] != loss    # another draw


def test_it_learns_four_pictures_by_heart_and_beta_takes_what_is_not_shared(book: Book) -> None:
    apart = {}
    for beta in (0.0, 0.1):
        system = tiny("mib", book, vector=8, beta=beta)
        learn(system, 120, copies=4, rate=3e-3)
        assert knows(system) == [0, 1, 2, 3]
        total, count = system.losses(colours_of(system))["divergence"]
        apart[beta] = total.item() / count
    assert apart[0.1] < apart[0.0] / 10


@pytest.mark.parametrize("name", ["coca", "visualbert", "vilbert", "flava", "maskvlm", "mib"])
def test_its_recipe_resolves_with_data(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name, sets=[f"pictures.needs.pictures={tmp_path}"])
    trained, seen = recipe.steps[-2:]
    assert trained.options.system == name and seen.needs["model"] == trained.name
    assert ("quantizer" in trained.needs) == (name in ("vilbert", "flava"))


class Telling(TwoTowers):
    """Vectors that tell as much as `noise` lets them: of picture number n, and of its text, the n-th axis."""

    def __init__(self, count: int, noise: float) -> None:
        torch.nn.Module.__init__(self)
        draw = torch.Generator().manual_seed(0)
        self.vectors = unit(torch.eye(count) + noise * torch.randn(count, count, generator=draw))
        self.scale = lambda: torch.tensor(20.0)

    def embed(self, images: Tensor) -> Tensor:
        return self.vectors[images[:, 0, 0, 0].long()]

    def embed_texts(self, texts: list[str]) -> Tensor:
        return torch.eye(len(self.vectors))[[int(text) for text in texts]]


def numbered(count: int) -> tuple[SimpleNamespace, Shown]:
    """Pictures that are their numbers, and texts that say them."""
    pictures = SimpleNamespace(take=lambda numbers: torch.tensor(numbers).float()[:, None, None, None])
    texts = [str(n) for n in range(count)]
    return pictures, Shown(list(range(count)), texts, torch.eye(count).bool().numpy(), texts)


def test_rate_and_distortion_of_who_tells_all_or_nothing() -> None:
    pictures, shown = numbered(32)
    all_told = rate_distortion(Telling(32, 0.0), pictures, shown, seed=0)
    assert all_told["pairs"] == 32 and all_told["distortion"] == pytest.approx(0, abs=1e-6)
    assert all_told["rate_at_least"] == pytest.approx(math.log(32), abs=1e-6) and "rate_at_most" not in all_told
    nothing = rate_distortion(Telling(32, 1e6), pictures, shown, seed=0)
    some = rate_distortion(Telling(32, 0.5), pictures, shown, seed=0)
    assert nothing["rate_at_least"] < some["rate_at_least"] < all_told["rate_at_least"]
    assert some["distortion"] + some["rate_at_least"] == pytest.approx(math.log(32))
    assert rate_distortion(object(), pictures, shown, seed=0) == {}


def test_of_a_bottleneck_the_rate_has_two_bounds(book: Book, tmp_path: Path) -> None:
    system = check_row("mib", book, tmp_path, vector=8, beta=0.1)
    pictures = Pictures(book.pictures)
    numbers = pictures.of_split("test")
    texts = [f"text {n}" for n in numbers]
    shown = Shown(numbers, texts, torch.eye(len(numbers)).bool().numpy(), texts)
    found = rate_distortion(system, pictures, shown, seed=0)
    assert found["pairs"] == len(numbers) > 4
    assert found["rate_at_least"] <= found["rate_at_most"] and found["rate_at_most"] > 0
