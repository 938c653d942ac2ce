"""One picture from bytes to pixels, or the reason why not: a bad picture must never end a run."""

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy

from preceptor.run.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image


class BadPicture(Exception):
    """A picture that cannot be used; its text is the reason, in words that are counted."""


def need_pillow() -> None:
    """Raises:
        UserError: Pillow is not installed.
    """
    try:
        import PIL  # noqa: F401
    except ImportError:
        raise UserError("Pictures are read by Pillow, which is not installed.",
                        "Install it: pip install 'preceptor[vision]'.") from None


def decode(raw: bytes | Path, size: int, fit: str = "crop", most_pixels: int = 50_000_000,
           noted: Counter[str] | None = None, formats: Sequence[str] | None = None) -> numpy.ndarray:
    """A picture as uint8 (size, size, 3) in RGB; of a film the first frame, turned as its camera says.

    What is transparent lies on white. `noted` counts modes that were turned into RGB, and films; `formats` are those
    of Pillow's that are read, else all: a stranger's picture must not choose a reader that starts other programs.

    Raises:
        BadPicture: there is no file, it is no picture or is cut off, or it is larger than `most_pixels`.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError
    noted = Counter() if noted is None else noted
    try:
        with Image.open(raw if isinstance(raw, Path) else io.BytesIO(raw), formats=formats) as picture:
            if picture.width * picture.height > most_pixels:
                raise BadPicture("too many pixels")
            if getattr(picture, "n_frames", 1) > 1:
                noted["films, of which the first frame was taken"] += 1
            picture.draft("RGB", (2 * size, 2 * size))  # a JPEG can be decoded at a fraction of its size
            picture.load()
            upright = _in_rgb(ImageOps.exif_transpose(picture), noted)
        return numpy.asarray(_square(upright, size, fit))
    except FileNotFoundError:
        raise BadPicture("no such file") from None
    except Image.DecompressionBombError:
        raise BadPicture("too many pixels") from None
    except UnidentifiedImageError:
        raise BadPicture("not a picture") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, ArithmeticError, MemoryError) as error:
        # What Pillow's readers raise on damaged files, each format in its own way.
        cut = "truncated" in str(error) or isinstance(error, EOFError)
        raise BadPicture("cut off" if cut else f"cannot be decoded ({type(error).__name__})") from None


def _in_rgb(picture: "Image", noted: Counter[str]) -> "Image":
    """The picture in RGB, transparency on white, 16 bits of grey as 8."""
    from PIL import Image
    mode = picture.mode
    if mode == "RGB" and "transparency" not in picture.info:
        return picture
    noted[f"pictures of mode {mode} turned into RGB"] += 1
    if mode.startswith("I") or mode == "F":
        grey = numpy.asarray(picture, dtype=numpy.float64)
        most = 65535.0 if mode != "F" or grey.max(initial=0) > 1 else 1.0
        return Image.fromarray((grey / most * 255).clip(0, 255).round().astype(numpy.uint8)).convert("RGB")
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        above = picture.convert("RGBA")
        ground = Image.new("RGBA", above.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, above).convert("RGB")
    return picture.convert("RGB")


def _square(picture: "Image", size: int, fit: str) -> "Image":
    from PIL import Image, ImageOps
    if fit == "pad":
        return ImageOps.pad(picture, (size, size), Image.Resampling.BICUBIC, color=(255, 255, 255))
    if fit == "stretch" or picture.size == (size, size):
        return picture if picture.size == (size, size) else picture.resize((size, size), Image.Resampling.BICUBIC)
    return ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)
