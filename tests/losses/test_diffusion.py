"""Diffusion: schedules, noising and steps back against diffusers; guidance in closed form."""

import pytest
import torch
from torch import Tensor

from preceptor.losses.diffusion import drawn_back, guided, noise_errors, noise_schedule, noised

diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
BETAS = {"linear": "linear", "cosine": "squaredcos_cap_v2"}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", BETAS)
@pytest.mark.parametrize("steps", [1000, 50])
def test_schedules_and_noising_are_those_of_diffusers(kind: str, steps: int) -> None:
    scale = 1000 / steps if kind == "linear" else 1
    theirs = diffusers.DDPMScheduler(steps, beta_start=1e-4 * scale, beta_end=0.02 * scale, beta_schedule=BETAS[kind])
    kept = noise_schedule(steps, kind)
    torch.testing.assert_close(kept, theirs.alphas_cumprod, rtol=1e-5, atol=1e-6)
    images, noise, at = draw(4, 3, 5, 5), draw(4, 3, 5, 5, seed=1), torch.tensor([0, 3, steps // 2, steps - 1])
    torch.testing.assert_close(noised(images, noise, kept[at]), theirs.add_noise(images, noise, at), rtol=1e-4,
                               atol=1e-5)


def test_a_step_back_is_that_of_ddim() -> None:
    theirs = diffusers.DDIMScheduler(100, beta_schedule="squaredcos_cap_v2", clip_sample=True, set_alpha_to_one=True)
    theirs.set_timesteps(10)
    kept, noisy, predicted = noise_schedule(100), draw(2, 3, 4, 4), draw(2, 3, 4, 4, seed=1)
    for at in (90, 50, 0):
        before = kept[at - 10] if at else torch.tensor(1.0)
        ours = drawn_back(noisy, predicted, kept[at].expand(2), before.expand(2))
        expected = theirs.step(predicted, at, noisy, use_clipped_model_output=True).prev_sample
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_who_knows_the_noise_draws_the_picture_back_from_any_noise() -> None:
    kept, picture, noise = noise_schedule(20), draw(1, 3, 4, 4).clamp(-1, 1), draw(1, 3, 4, 4, seed=1)
    noisy = noised(picture, noise, kept[15:16])
    for at in (15, 10, 5, 0):
        before = kept[at - 5] if at else torch.tensor(1.0)
        noisy = drawn_back(noisy, noise, kept[at:at + 1], before[None])
    torch.testing.assert_close(noisy, picture, rtol=0, atol=1e-4)


def test_errors_are_of_each_image_and_guidance_goes_beyond_the_text() -> None:
    predicted, noise = draw(3, 2, 2, 2), draw(3, 2, 2, 2, seed=1)
    torch.testing.assert_close(noise_errors(predicted, noise)[1], ((predicted[1] - noise[1]) ** 2).mean())
    torch.testing.assert_close(guided(predicted, noise, 1.0), predicted)
    torch.testing.assert_close(guided(predicted, noise, 0.0), noise)
    torch.testing.assert_close(guided(predicted, noise, 3.0), 3 * predicted - 2 * noise)
