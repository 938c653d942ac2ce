"""Options of the systems that join picture and text by more than a dot product, and of the bottleneck."""

from dataclasses import dataclass

from preceptor.vision.options import ClipOptions, VisionOptions


@dataclass(frozen=True, kw_only=True)
class CocaOptions(VisionOptions):
    """A captioner whose lower half is a text tower: CoCa. Its decoder has `layers` blocks in each half."""

    queries: int = 16
    """Vectors of a picture that captions are written from (256 in the paper), beside the one for the dot product."""


@dataclass(frozen=True, kw_only=True)
class MaskedOptions(VisionOptions):
    """Text with holes beside a picture: VisualBERT."""

    hidden_words: float = 0.15
    """Share of a text's tokens that are hidden and must be filled in."""


@dataclass(frozen=True, kw_only=True)
class VilbertOptions(MaskedOptions):
    """Two streams that attend to each other, both with holes: ViLBERT."""

    hidden_patches: float = 0.15
    """Share of a picture's patches that are hidden and whose class must be told."""
    fusion_layers: int = 2
    """Pairs of a co-attentional layer and a block of each stream (6 in the paper), above `layers` blocks of each."""
    codes: int = 256
    """Classes of patches: the entries of the codebook of the step's input `quantizer`."""


@dataclass(frozen=True, kw_only=True)
class FlavaOptions(VilbertOptions):
    """Encoders of pictures, of texts and of both, with six losses: FLAVA."""

    hidden_patches: float = 0.4
    """Share of a picture's patches that are hidden and whose code must be told."""
    fusion_layers: int = 2
    """Blocks of the encoder that reads both (6 in the paper)."""
    vector: int = 128
    """Dimensions of the space that pictures and texts share."""


@dataclass(frozen=True, kw_only=True)
class MaskVlmOptions(MaskedOptions):
    """Each of picture and text, with holes, rebuilt with the whole other one in view: MaskVLM."""

    hidden_words: float = 0.3
    """Share of a text's tokens that are hidden and must be filled in."""
    hidden_patches: float = 0.6
    """Share of a picture's patches that are hidden and must be painted."""
    fusion_layers: int = 2
    """Blocks of each stream that look at the other one (3 in the paper)."""
    vector: int = 128
    """Dimensions of the space that pictures and texts share."""


@dataclass(frozen=True, kw_only=True)
class MibOptions(ClipOptions):
    """Two towers that give distributions: the multi-view information bottleneck."""

    beta: float = 0.01
    """Weight of what one view's distribution holds that the other's does not; 0 leaves the contrast alone."""
