"""A reader whose taste is known, as a program for the stage `program`."""

from preceptor.data.records import Prompt, Response


def letters(prompt: Prompt, response: Response) -> float:
    """Ten times the share of an answer's characters that are the letter e."""
    return 10 * response.text.lower().count("e") / max(1, len(response.text))
