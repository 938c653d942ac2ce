"""The outlines of the things that a picture may show: shapes in a unit square, without a colour.

Every outline is one piece and reaches all four sides of its square, so that a thing's box is as tight as its paint.
`holes` are cut out of `solids`; a shape is `(form, x0, y0, x1, y1)` or `("polygon", x0, y0, x1, y1, x2, y2, ...)`.
"""

from dataclasses import dataclass

Shape = tuple[str | float, ...]


@dataclass(frozen=True)
class Outline:
    """Shapes in a unit square; `wide` and `high` are the sides of the thing for a size of 1."""

    solids: tuple[Shape, ...]
    holes: tuple[Shape, ...] = ()
    wide: float = 1.0
    high: float = 1.0

    def extent(self, size: int) -> tuple[int, int]:
        """Width and height in pixels."""
        return round(self.wide * size), round(self.high * size)


OUTLINES: dict[str, Outline] = {
    "hat": Outline((("rectangle", 0, 0.75, 1, 1), ("rectangle", 0.22, 0, 0.78, 0.9)), wide=1.2, high=0.9),
    "book": Outline((("rectangle", 0, 0, 1, 1),), (("rectangle", 0.45, 0.1, 0.55, 0.9),), wide=1.3, high=0.8),
    "clock": Outline((("ellipse", 0, 0, 1, 1),), (("rectangle", 0.45, 0.2, 0.55, 0.55),
                                                  ("rectangle", 0.45, 0.45, 0.75, 0.55))),
    "chair": Outline((("rectangle", 0, 0, 0.25, 1), ("rectangle", 0, 0.45, 1, 0.62), ("rectangle", 0.75, 0.45, 1, 1)),
                     high=1.3),
    "ladder": Outline((("rectangle", 0, 0, 0.25, 1), ("rectangle", 0.75, 0, 1, 1), ("rectangle", 0, 0.12, 1, 0.24),
                       ("rectangle", 0, 0.44, 1, 0.56), ("rectangle", 0, 0.76, 1, 0.88)), wide=0.8, high=1.4),
    "umbrella": Outline((("pieslice", 0, 0, 1, 1.1), ("rectangle", 0.44, 0.3, 0.56, 1),
                         ("rectangle", 0.44, 0.88, 0.75, 1)), wide=1.2, high=1.2),
    "bottle": Outline((("rectangle", 0.3, 0, 0.7, 0.5), ("polygon", 0.3, 0.25, 0.7, 0.25, 1, 0.45, 0, 0.45),
                       ("rectangle", 0, 0.45, 1, 1)), wide=0.6, high=1.4),
    "mirror": Outline((("ellipse", 0, 0, 1, 0.65), ("rectangle", 0.4, 0.6, 0.6, 1)),
                      (("ellipse", 0.25, 0.16, 0.75, 0.49),), wide=0.9, high=1.4),
}
