"""Which inputs of a recipe are stores of labels: apart from the store, as recipes are read before it is imported."""

from pathlib import Path


def is_url(place: str | Path) -> bool:
    """Whether a place is a database's URL rather than a path."""
    return "://" in str(place)


def is_store(place: str | Path) -> bool:
    """Whether a path or URL names a store of labels rather than a file or folder of records."""
    return is_url(place) or Path(place).suffix == ".sqlite"
