"""The diffusion transformer: what it starts as, what it is conditioned on, and that it learns a known distribution."""

import torch

from preceptor.losses.diffusion import drawn_back, noise_errors, noise_schedule, noised
from preceptor.models.vision.diffusion import DiffusionTransformer, sinusoids


def tiny(seed: int = 0) -> DiffusionTransformer:
    torch.manual_seed(seed)
    return DiffusionTransformer(size=4, patch=2, width=32, layers=2, heads=2, text_width=8)


def inputs(count: int = 3, length: int = 5) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(count, 3, 4, 4, generator=draw), torch.rand(count, generator=draw),
            torch.randn(count, length, 8, generator=draw), torch.randn(count, 8, generator=draw),
            torch.ones(count, length, dtype=torch.bool)]


def awake() -> DiffusionTransformer:
    """One whose gates and outputs are no longer zero."""
    model = tiny()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    return model


def test_it_starts_as_no_noise_at_all_with_every_block_passing_its_input_on() -> None:
    model, (noisy, level, words, whole, seen) = tiny(), inputs()
    assert model(noisy, level, words, whole, seen).abs().max() == 0
    states, condition = torch.randn(3, 4, 32), torch.randn(3, 32)
    assert torch.equal(model.blocks[0](states, condition, model.words(words), seen), states)


def test_every_condition_counts_and_padding_does_not() -> None:
    model, given = awake(), inputs()
    base = model(*given)
    for place in range(4):
        other = list(given)
        other[place] = given[place] + 0.3
        assert (model(*other) - base).abs().max() > 1e-4, place
    hidden = list(given)
    hidden[4] = torch.tensor([[True] * 3 + [False] * 2] * 3)
    masked = model(*hidden)
    hidden[2] = given[2].clone()
    hidden[2][:, 3:] = 99.0
    torch.testing.assert_close(model(*hidden), masked)
    torch.testing.assert_close(model(given[0], given[1], given[2][:, :3], given[3], given[4][:, :3]), masked)


def test_levels_are_told_apart_as_in_the_paper() -> None:
    found = sinusoids(torch.tensor([0.0, 0.25]), 6)
    assert found[0].tolist() == [1, 1, 1, 0, 0, 0]
    expected = [250 * 10_000 ** (-k / 3) for k in range(3)]
    torch.testing.assert_close(found[1], torch.tensor(expected).cos().tolist() and torch.cat(
        [torch.tensor(expected).cos(), torch.tensor(expected).sin()]), rtol=1e-4, atol=1e-4)


def test_it_learns_which_text_means_which_picture_and_draws_it() -> None:
    """Two texts, each with one plain picture: the right text explains the noise better, and draws its picture."""
    model, kept = tiny(), noise_schedule(50)
    pictures = torch.stack([torch.full((3, 4, 4), 0.8), torch.full((3, 4, 4), -0.8)])
    words, whole, seen = torch.eye(2, 8)[:, None], torch.eye(2, 8), torch.ones(2, 1, dtype=torch.bool)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    draw = torch.Generator().manual_seed(1)
    for _ in range(300):
        which, at = torch.randint(2, (32,), generator=draw), torch.randint(50, (32,), generator=draw)
        noise = torch.randn(32, 3, 4, 4, generator=draw)
        predicted = model(noised(pictures[which], noise, kept[at]), at / 50, words[which], whole[which], seen[which])
        optimiser.zero_grad()
        noise_errors(predicted, noise).mean().backward()
        optimiser.step()
    with torch.no_grad():
        at, noise = torch.full((2,), 30), torch.randn(1, 3, 4, 4, generator=draw).expand(2, -1, -1, -1)
        for picture in range(2):
            noisy = noised(pictures[[picture] * 2], noise, kept[at])
            errors = noise_errors(model(noisy, at / 50, words, whole, seen), noise)
            assert errors.argmin() == picture
        drawn = torch.randn(2, 3, 4, 4, generator=draw)
        for step in range(45, -1, -5):
            before = kept[step - 5] if step else torch.tensor(1.0)
            predicted = model(drawn, torch.full((2,), step / 50), words, whole, seen)
            drawn = drawn_back(drawn, predicted, kept[step].expand(2), before.expand(2))
    torch.testing.assert_close(drawn, pictures, rtol=0, atol=0.35)
