"""Scenes to pixels: flat colours without smoothing, so that every pixel of a thing has exactly its colour."""

from typing import TYPE_CHECKING

from preceptor.run.errors import UserError
from preceptor.village.pictures.outlines import OUTLINES, Outline, Shape
from preceptor.village.pictures.scenes import Scene

if TYPE_CHECKING:
    from PIL.Image import Image

PAINT = {"red": (220, 30, 40), "blue": (30, 70, 210), "green": (30, 140, 60), "yellow": (250, 215, 20),
         "white": (255, 255, 255), "black": (15, 15, 15), "brown": (125, 75, 35), "purple": (140, 40, 170)}
GROUND_PAINT = ((190, 215, 235), (205, 225, 190), (225, 210, 190))   # pale sky, grass and sand


def paint(scene: Scene) -> "Image":
    """The picture of a scene, in RGB.

    Raises:
        UserError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise UserError("Pictures are painted by Pillow, which is not installed.",
                        "Install it: pip install 'preceptor[vision]'.") from None
    picture = Image.new("RGB", (scene.size, scene.size), GROUND_PAINT[scene.ground])
    for thing in scene.things:
        left, top, right, bottom = thing.box
        picture.paste(PAINT[thing.colour], thing.box, _mask(OUTLINES[thing.kind], right - left, bottom - top))
    return picture


def _mask(outline: Outline, width: int, height: int) -> "Image":
    from PIL import Image, ImageDraw
    mask = Image.new("L", (width, height), 0)
    pen = ImageDraw.Draw(mask)
    for shapes, value in ((outline.solids, 255), (outline.holes, 0)):
        for shape in shapes:
            _draw(pen, shape, width - 1, height - 1, value)
    return mask


def _draw(pen: object, shape: Shape, across: int, down: int, value: int) -> None:
    """Draw a shape of the unit square over pixels 0 to `across` and 0 to `down`."""
    form, *places = shape
    pixels = [round(place * (down if number % 2 else across)) for number, place in enumerate(places)]
    if form == "pieslice":      # the upper half of an ellipse
        pen.pieslice(pixels, 180, 360, fill=value)
    else:
        getattr(pen, form)(pixels, fill=value)
