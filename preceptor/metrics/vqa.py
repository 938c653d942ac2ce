"""VQA accuracy (Antol et al. 2015, arXiv 1505.00468): an answer against those of about ten people, who may disagree.

What counts as the same answer follows the authors' code to the letter, its slips included, so that figures can be
compared: numbers up to ten become digits, articles go, contractions get the apostrophe they lack, punctuation goes.
"""

import re
from collections.abc import Sequence

ENOUGH = 3  # people who gave an answer make it wholly right

_PUNCTUATION = ";/[]\"{}()=+\\_-><@`,?!"
_BETWEEN_DIGITS = re.compile(r"\d,\d")
_PERIOD = re.compile(r"(?!<=\d)\.(?!\d)")  # the authors meant `(?<!\d)`; as it stands "1." loses its period
_PERIODS = 32  # so many are taken away: the authors give `re.UNICODE` in the place of the count
_ARTICLES = ("a", "an", "the")
_NUMBERS = {"none": "0", **{word: str(number) for number, word in enumerate(
    "zero one two three four five six seven eight nine ten".split())}}
_WHOLE = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's
how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock
oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's
where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've
y'all y'all'll y'all'd've you'd you'd've you'll you're you've
""".split()
_CONTRACTIONS = {whole[:place] + whole[place + 1:]: whole for whole in _WHOLE
                 for place, sign in enumerate(whole) if sign == "'"} | {"somebody'd": "somebodyd"}


def vqa_accuracy(answer: str, people: Sequence[str]) -> float:
    """The mean over people of min(1, how many of the others said the same / 3), in [0, 1].

    The answer is compared in its `plain_answer`. What people said loses its punctuation where they disagree, and else
    stays as it is, as in the authors' code, whose annotations are plain already.

    Raises:
        ValueError: nobody was asked, or only one person, so that there are no others.
    """
    if len(people) < 2:
        raise ValueError(f"the answers of at least two people, not {len(people)}")
    said = plain_answer(answer)
    known = [without_punctuation(one) for one in people] if len(set(people)) > 1 else list(people)
    same = [one == said for one in known]
    return sum(min(1.0, (sum(same) - own) / ENOUGH) for own in same) / len(same)


def plain_answer(answer: str) -> str:
    """An answer without punctuation, capitals and articles; numbers as digits, contractions with their apostrophes."""
    text = without_punctuation(answer.replace("\n", " ").replace("\t", " ").strip())
    found = [_NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in found if word not in _ARTICLES)


def without_punctuation(text: str) -> str:
    """A text whose punctuation is gone where it stands beside a space, or anywhere in a text with a number like 1,000,
    and else is a space; periods go unless a digit follows."""
    numbered, left = bool(_BETWEEN_DIGITS.search(text)), text
    for sign in _PUNCTUATION:
        goes = numbered or f"{sign} " in text or f" {sign}" in text
        left = left.replace(sign, "" if goes else " ")
    return _PERIOD.sub("", left, count=_PERIODS)
