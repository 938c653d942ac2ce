"""Generative classifiers: elimination, texts left out, what each row learns, and that its score is Bayes' rule."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from preceptor.data.batches import Batch
from preceptor.data.pictures.store import Pictures
from preceptor.recipe.load import load_recipe
from preceptor.vision.generative import eliminate, level_of, some_without_text
from tests.vision.conftest import Book
from tests.vision.rows import check_row
from tests.vision.test_image_tokenizers import SMALL

TRUE = torch.tensor([2, 0, 5, 3, 1, 4, 2, 0])      # of eight pictures and six texts


class Noisy:
    """Errors whose mean is least for the true text; remembers which pairs were tried."""

    def __init__(self, noise: float) -> None:
        self.noise, self.asked = noise, []

    def __call__(self, pictures: Tensor, texts: Tensor, trial: int) -> Tensor:
        self.asked += [(*pair, trial) for pair in zip(pictures.tolist(), texts.tolist())]
        shared = torch.randn(1, generator=torch.Generator().manual_seed(trial))     # of the trial, the same for all
        own = torch.randn(8, 6, generator=torch.Generator().manual_seed(100 + trial))[pictures, texts]
        return 1 + (texts != TRUE[pictures]).float() * 0.5 + 5 * shared + self.noise * own


@pytest.mark.parametrize("rows", [3, 100])
def test_elimination_finds_what_the_full_grid_finds_with_fewer_evaluations(rows: int) -> None:
    grid, stages = Noisy(0.2), Noisy(0.2)
    whole = eliminate(grid, 8, 6, [(32, 1)], rows)
    thrifty = eliminate(stages, 8, 6, [(4, 3), (12, 2), (32, 1)], rows)
    assert torch.equal(whole.text_I, TRUE) and torch.equal(thrifty.text_I, TRUE)
    assert whole.evaluations == 32 * 6 == len(grid.asked) / 8
    assert thrifty.evaluations == 4 * 6 + 8 * 3 + 20 * 2 == len(stages.asked) / 8
    assert len(set(stages.asked)) == len(stages.asked)      # nothing is tried twice


def test_elimination_keeps_the_errors_so_far_and_never_brings_a_text_back() -> None:
    values = torch.tensor([[0.0, 1.0, 9.0], [1.0, 0.0, -99.0]])     # trial, text: text 2 would win by its second trial
    found = eliminate(lambda pictures, texts, trial: values[trial, texts], 1, 3, [(1, 2), (2, 1)])
    assert found.text_I.tolist() == [0] and found.evaluations == 5
    assert eliminate(lambda pictures, texts, trial: values[trial, texts], 1, 3, [(2, 1)]).text_I.tolist() == [2]
    for wrong in ([(4, 2)], [(4, 2), (4, 1)], [(4, 2), (2, 1)]):
        with pytest.raises(ValueError, match="do not grow"):
            eliminate(Noisy(1), 8, 6, wrong)


def test_noise_levels_are_spread_however_many_are_tried() -> None:
    assert [level_of(trial) for trial in range(7)] == [1 / 2, 1 / 4, 3 / 4, 1 / 8, 5 / 8, 3 / 8, 7 / 8]
    for count in (5, 16, 33):
        levels = sorted(level_of(trial) for trial in range(count))
        assert max(after - before for before, after in zip([0.0, *levels], [*levels, 1.0])) <= 2 / count


def test_texts_left_out_are_empty_and_the_others_untouched() -> None:
    tokens = torch.arange(24).view(6, 4) + 10
    batch = Batch({"tokens": tokens, "segments": torch.ones_like(tokens)}, [1] * 6, [[]] * 6)
    empty = Batch({"tokens": torch.tensor([[7, 8]]), "segments": torch.tensor([[1, 1]])}, [1], [[]])
    torch.manual_seed(0)
    found = some_without_text(batch, 0.5, empty)
    out = (found["tokens"] != tokens).any(1)
    assert 0 < out.sum() < 6 and torch.equal(found["tokens"][~out], tokens[~out])
    assert found["tokens"][out].tolist() == [[7, 8, 0, 0]] * int(out.sum())
    assert found["segments"].sum(1).tolist() == [2 if one else 4 for one in out]
    assert torch.equal(some_without_text(batch, 0.0, empty)["tokens"], tokens)


def test_the_autoregressive_classifier_is_a_row(book: Book, tmp_path: Path, tokenizer_step: Path) -> None:
    start = {"start": tokenizer_step}
    system = check_row("autoregressive", book, tmp_path, start, train="language_model", **SMALL)
    pictures, texts = Pictures(book.pictures).take([0, 1]), ["a red hat", "a book"]
    torch.testing.assert_close(system.score(pictures, texts),
                               system.log_likelihoods(pictures, texts) - system.log_likelihoods(pictures, [""]))
    expected = slow_log_likelihood(system, pictures[:1], "a red hat")
    assert system.log_likelihoods(pictures, texts)[0, 0].item() == pytest.approx(expected, rel=1e-4)
    drawn = system.draw(texts, seed=1)
    assert drawn.shape == (2, 3, 32, 32) and torch.equal(drawn, system.draw(texts, seed=1))
    assert not torch.equal(drawn, system.draw(texts, seed=2))
    torch.testing.assert_close(system.draw(["a book"], seed=2)[0], drawn[1], rtol=0, atol=1e-3)


@torch.no_grad()
def slow_log_likelihood(system: torch.nn.Module, picture: Tensor, text: str) -> float:
    """One code after another, by the whole model without its mask on texts: the softmax over codes alone."""
    words, sequence, total = len(system.tokenizer), list(system.example("", text).tokens), 0.0
    for code in system.encode(picture)[0].tolist():
        states = system.language_model.base_model(input_ids=torch.tensor([sequence])).last_hidden_state[0, -1]
        logits = states @ system.language_model.get_output_embeddings().weight[words:].T
        total += logits.log_softmax(0)[code].item()
        sequence.append(words + code)
    return total


def test_the_diffusion_classifier_is_a_row(book: Book, tmp_path: Path) -> None:
    system = check_row("diffusion", book, tmp_path, trials=3, draw_steps=2)
    pictures, texts = Pictures(book.pictures).take([0, 1, 2]), ["a red hat", "a book", "two blue chairs"]
    errors = system.errors(pictures, texts)
    torch.testing.assert_close(system.score(pictures, texts), system.errors(pictures, [""]) - errors)
    # A pair's error is its own: the noise depends on the trial, and not on what else is asked.
    torch.testing.assert_close(system.errors(pictures[1:2], texts[2:]), errors[1:2, 2:], rtol=1e-4, atol=1e-6)
    chosen = system.classify(pictures, texts, [(3, 1)])
    assert torch.equal(chosen.text_I, errors.argmin(1)) and chosen.evaluations == 9
    assert system.draw(texts[:2]).shape == (2, 3, 32, 32)


@pytest.mark.parametrize("name", ["energy", "generative_classifiers", "image_tokenizers"])
def test_the_recipes_resolve(name: str) -> None:
    recipe = load_recipe(name, sets=["emoji.needs.pack=."] if name == "image_tokenizers" else [])
    assert {step.stage for step in recipe.steps[-2:]} <= {"vision", "energy", "see"}
