"""What systems share that paint pictures out of noise: their score, their samples, and what they learn by.

Minus the error in guessing the noise bounds log p(picture | text) up to a constant (Li et al. 2023, arXiv 2303.16203,
equation 6), so that the text that explains the noise in a picture best is the text of the picture.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from preceptor.losses.diffusion import drawn_back, guided, noise_errors, noise_schedule, noised
from preceptor.vision.generative import Chosen, Trial, eliminate, level_of
from preceptor.vision.system import ROWS, System

Read = tuple[Tensor, Tensor, Tensor]    # of texts: states (T, L, D), whole texts (T, D), what is no padding (T, L)


class Painting(System):
    """Has the part `painter`; a row says what it sees of texts. The empty text stands for none."""

    painter: nn.Module
    kept_S: Tensor
    """The share of a picture's variance that is left at each level of noise."""

    def take_levels(self) -> None:
        """Know the levels of noise that the options say."""
        self.register_buffer("kept_S", noise_schedule(self.options.noise_steps, self.options.schedule),
                             persistent=False)

    def conditions(self, texts: Sequence[str]) -> Read:
        """What the painter sees of texts."""
        raise NotImplementedError

    def noise_sum(self, pixels_BCHW: Tensor, read: Read) -> Tensor:
        """The squared error in guessing the noise of pictures, each at a random level, summed over pictures."""
        at_B = torch.randint(len(self.kept_S), (len(pixels_BCHW),), device=pixels_BCHW.device)
        noise = torch.randn_like(pixels_BCHW)
        return noise_errors(self._noise(noised(pixels_BCHW, noise, self.kept_S[at_B]), at_B, read), noise).sum()

    def score(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """How much less the error is with the text than without one, mean over `trials` noises: it stands for
        log p(picture | text) - log p(picture), so that it may be compared within a column too."""
        return self.errors(images, [""]) - self.errors(images, texts)

    @torch.no_grad()
    def errors(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """Mean error over the trials, (images, texts)."""
        trial = self.trial(images, texts)
        pairs_P2 = torch.cartesian_prod(torch.arange(len(images)), torch.arange(len(texts))).view(-1, 2)
        sums = [sum(trial(part[:, 0], part[:, 1], number).cpu() for number in range(self.options.trials))
                for part in pairs_P2.split(ROWS)]
        return (torch.cat(sums) / self.options.trials).view(len(images), len(texts))

    def classify(self, images: Tensor, texts: Sequence[str], stages: Sequence[tuple[int, int]]) -> Chosen:
        """Which text is each picture's, by elimination in stages (trials so far, texts kept)."""
        return eliminate(self.trial(images, texts), len(images), len(texts), stages, ROWS)

    def trial(self, images: Tensor, texts: Sequence[str]) -> Trial:
        """The errors of pairs of these in the trial of a number: same level and same noise for all of them."""
        device = self.kept_S.device
        with torch.no_grad():
            states, whole, seen = self.conditions(texts)

        def errors(pictures_P: Tensor, texts_P: Tensor, trial: int) -> Tensor:
            at_P = torch.full((len(pictures_P),), int(level_of(trial) * len(self.kept_S)), device=device)
            noise = torch.randn(images.shape[1:], generator=torch.Generator().manual_seed(trial)).to(device)
            noise = noise.expand(len(pictures_P), -1, -1, -1)
            noisy = noised(images[pictures_P].to(device), noise, self.kept_S[at_P])
            texts_P = texts_P.to(device)
            return noise_errors(self._noise(noisy, at_P, (states[texts_P], whole[texts_P], seen[texts_P])), noise)

        return errors

    @torch.no_grad()
    def draw(self, texts: Sequence[str], seed: int = 0) -> Tensor:
        """A picture for each text, (texts, 3, H, W)."""
        return self.painted(self.conditions(texts), len(texts), seed)

    @torch.no_grad()
    def painted(self, read: Read, count: int, seed: int) -> Tensor:
        """A picture for each of `count` conditions, (count, 3, H, W): noise, drawn back in even steps under guidance.
        """
        device, generator = self.kept_S.device, torch.Generator().manual_seed(seed)
        drawn = torch.randn((count, 3, self.size, self.size), generator=generator).to(device)
        empty = self.conditions([""] * count)
        levels = torch.linspace(len(self.kept_S) - 1, 0, self.options.draw_steps).long().tolist()
        for at, after in zip(levels, [*levels[1:], None]):
            at_B = torch.full((count,), at, device=device)
            predicted = guided(self._noise(drawn, at_B, read), self._noise(drawn, at_B, empty), self.options.guidance)
            left = torch.ones_like(self.kept_S[0]) if after is None else self.kept_S[after]
            drawn = drawn_back(drawn, predicted, self.kept_S[at_B], left.expand(count))
        return drawn

    def _noise(self, noisy_BCHW: Tensor, at_B: Tensor, read: Read) -> Tensor:
        states, whole, seen = read
        return self.painter(noisy_BCHW, at_B / len(self.kept_S), states, whole, seen)
