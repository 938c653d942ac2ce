"""The templates of this folder, filled in: a whole page in one file, its style and script inside."""

from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from preceptor.report.text import both, named, number

STYLES = ("colours.css", "page.css")


def render(template: str, **values: Any) -> str:
    """The page that a template makes of these values; texts are escaped."""
    environment = Environment(loader=PackageLoader("preceptor.report", "."), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"both": both, "named": named, "number": number}
    style = Markup("").join(_asset(name) for name in STYLES)
    return environment.get_template(template).render(style=style, script=_asset("page.js"), **values)


def _asset(name: str) -> Markup:
    """A file of our own that goes into the page as it is."""
    return Markup(files("preceptor.report").joinpath(name).read_text(encoding="utf-8"))
