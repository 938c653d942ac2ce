"""Options of the systems that make pictures: image tokenizers and what writes or paints with a text in view."""

from dataclasses import dataclass
from typing import Literal

from preceptor.learn.options import FitOptions
from preceptor.vision.options import VisionOptions


@dataclass(frozen=True, kw_only=True)
class ImageTokenizerOptions(VisionOptions):
    """Pictures to codes and back: VQ-VAE."""

    augment: float = 0.0
    """Pictures are given back as they are."""
    rows: int = 32
    """Pictures in a batch."""
    learning_rate: float = 2e-3
    """Peak learning rate."""
    codes: int = 256
    """Entries of the codebook."""
    code_width: int = 16
    """Dimensions of a code; fewer make a codebook that is used more."""
    codebook: Literal["average", "gradient"] = "average"
    """Whether codes are moving averages of the states that chose them, or learn by their gradient."""
    commitment: float = 0.25
    """Weight beta of the term that keeps states near their codes."""
    channels: int = 32
    """Channels of the convolutions at full size, twice as many below it; a multiple of 32."""
    halvings: int = 2
    """How often the convolutions halve the picture: 2 makes 64 codes of 32 pixels by 32."""
    blocks: int = 1
    """Residual blocks in each resolution."""


@dataclass(frozen=True, kw_only=True)
class AdversarialOptions(ImageTokenizerOptions):
    """An image tokenizer against a discriminator: VQ-GAN."""

    clip_norm: float = 0.0
    """Off: one norm over both sides of the game would let the one shorten the other's steps."""
    learning_rate: float = 5e-4
    """Peak learning rate, of both sides."""
    beta1: float = 0.5
    """Decay of the running mean of gradients, short because the other side moves."""
    beta2: float = 0.9
    """Decay of the running mean of squared gradients."""
    adversarial: float = 0.5
    """Weight of the generator's loss, on top of the adaptive one."""
    perceptual: float = 1.0
    """Weight of the distance between features of the step's input `features`; without that input there is none."""
    discriminator_channels: int = 32
    """Channels of the discriminator's first layer; a multiple of 8."""


@dataclass(frozen=True, kw_only=True)
class VitTokenizerOptions(AdversarialOptions):
    """Transformers on both sides of a codebook of unit vectors: ViT-VQGAN."""

    layers: int = 3
    """Blocks of the encoder, and of the decoder."""
    codebook: Literal["average", "gradient"] = "gradient"
    """Whether codes are moving averages of the states that chose them, or learn by their gradient."""
    adversarial: float = 0.1
    """Weight of the generator's loss, on top of the adaptive one."""
    perceptual: float = 0.1
    """Weight of the distance between features of the step's input `features`; without that input there is none."""
    logit_laplace: float = 0.1
    """Weight of the likelihood of the pixels."""


@dataclass(frozen=True, kw_only=True)
class AutoregressiveOptions(ImageTokenizerOptions):
    """Codes of pictures, written one after another behind a text."""

    train: str = "language_model"
    """The parts that learn; the image tokenizer comes from `start` and stays as it is."""
    learning_rate: float = 1e-3
    """Peak learning rate."""
    unconditional: float = 0.1
    """Share of texts that are left out in training, so that p(picture) is learned beside p(picture | text)."""
    top_k: int = 0
    """How many of the most likely codes may be drawn; 0 means all."""


@dataclass(frozen=True, kw_only=True)
class DiffusionOptions(VisionOptions):
    """Pictures from noise, with a text in view."""

    augment: float = 0.0
    """Pictures are learned as they are."""
    rows: int = 64
    """Pictures in a batch."""
    noise_steps: int = 1000
    """Levels of noise."""
    schedule: Literal["linear", "cosine"] = "cosine"
    """How the levels grow."""
    unconditional: float = 0.1
    """Share of texts that are left out in training: for guidance, and for p(picture) beside p(picture | text)."""
    trials: int = 16
    """Noises with which `score` tries every picture and text; the same ones for all."""
    draw_steps: int = 20
    """Steps from noise to a picture."""
    guidance: float = 3.0
    """How far pictures follow the text beyond what the model says; 1 is the model itself."""


@dataclass(frozen=True, kw_only=True)
class EnergyOptions(FitOptions):
    """How an energy learns a density in the plane whose normaliser is known."""

    objective: Literal["noise_contrast", "ranking", "denoising", "contrastive_divergence"] = "noise_contrast"
    """Which loss it learns by."""
    steps: int = 600
    """Optimiser steps."""
    points: int = 256
    """Points of the data in a batch."""
    width: int = 64
    """Width of the energy's network."""
    noise_draws: int = 4
    """Draws of noise for each point of the data (noise contrast, ranking)."""
    noise_deviation: float = 2.5
    """Deviation of that noise, a round Gaussian about the origin."""
    sigma: float = 0.3
    """How far denoising blurs the data."""
    langevin_steps: int = 20
    """Steps from a point of the data to a sample of the model (contrastive divergence)."""
    langevin_size: float = 0.3
    """Length of such a step."""
    restraint: float = 0.01
    """Weight of the squared energies that keeps them from running away (contrastive divergence)."""
    learning_rate: float = 5e-3
    """Peak learning rate."""
    weight_decay: float = 0.0
    """On matrices only."""
    precision: str = "fp32"
    """As for other stages."""
