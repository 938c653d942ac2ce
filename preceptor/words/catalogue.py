"""The catalogue: sentences by key, one YAML file for each language.

A key is the path through the file, joined by dots: `report.title`. A sentence may have places for values in braces,
`{model}`, which every language must share; a test compares the files.
"""

from functools import cache
from importlib.resources import files
from typing import Any

import yaml

LANGUAGES = ("en", "zh")


@cache
def catalogue(language: str) -> dict[str, str]:
    """All sentences of a language by key."""
    text = files("preceptor.words").joinpath(f"{language}.yaml").read_text(encoding="utf-8")
    return dict(_leaves("", yaml.safe_load(text)))


def _leaves(path: str, node: Any) -> list[tuple[str, str]]:
    if not isinstance(node, dict):
        return [(path, str(node))]
    return [leaf for name, child in node.items() for leaf in _leaves(f"{path}.{name}" if path else str(name), child)]


def say(key: str, language: str, **values: Any) -> str:
    """The sentence of a key in a language, with its values filled in.

    Raises:
        KeyError: the catalogue has no such key, or the sentence asks for a value that is not given.
    """
    return catalogue(language)[key].format(**values)


def known(key: str) -> bool:
    """Whether the catalogue has a key: names that users give (of steps, of metrics) may be in no catalogue."""
    return key in catalogue(LANGUAGES[0])
