"""VQA accuracy against cases worked out by hand from the authors' rules."""

import random

import pytest

from preceptor.metrics.vqa import plain_answer, vqa_accuracy, without_punctuation


@pytest.mark.parametrize(("said", "plain"), [
    ("The red hat.", "red hat"), ("Two dogs", "2 dogs"), ("none", "0"), ("  a\tcat\n", "cat"), ("TEN!", "10"),
    ("dont know", "don't know"), ("it's", "it's"), ("isnt it?", "isn't it"), ("yall'd've", "y'all'd've"),
    ("couldnt've", "couldn't've"), ("couldntve", "couldntve"), ("Im", "im"), ("shed", "shed"), ("lets", "lets"),
    ("somebody'd", "somebodyd"), ("black/white", "black white"), ("black / white", "black white"),
    ("black /white", "black white"), ("t-shirt", "t shirt"), ("1,000", "1000"), ("1,000 t-shirts", "1000 tshirts"),
    ("red, blue", "red blue"), ("red,blue", "red blue"), ("3.5", "3.5"), ("3. ", "3"), ("st. john", "st john"),
    ("8:30", "8:30"), ("eleven", "eleven"), ("an", ""), ("one of the two", "1 of 2"), ("[12, 3]", "12 3"),
])
def test_answers_are_made_plain_as_the_authors_do(said: str, plain: str) -> None:
    assert plain_answer(said) == plain


def test_a_sign_beside_a_space_anywhere_goes_everywhere() -> None:
    assert without_punctuation("a- b-c") == "a bc" and without_punctuation("b-c") == "b c"
    assert without_punctuation("." * 40) == "." * 8  # the slip that takes a flag for a count


def test_three_of_ten_people_make_an_answer_right() -> None:
    def share(count: int) -> float:
        return vqa_accuracy("A cat!", ["cat"] * count + ["dog"] * (10 - count))

    # Of 10 people k said it: k of them see k - 1 others, 10 - k see k.
    assert share(0) == 0 and share(1) == pytest.approx(9 / 30)
    assert share(2) == pytest.approx((2 * 1 / 3 + 8 * 2 / 3) / 10) and share(3) == pytest.approx((3 * 2 / 3 + 7) / 10)
    assert share(4) == share(10) == 1


def test_people_who_agree_are_taken_at_their_word() -> None:
    assert vqa_accuracy("t-shirt", ["t-shirt"] * 10) == 0  # nothing is made plain on their side
    assert vqa_accuracy("t-shirt", ["t-shirt"] * 9 + ["shirt"]) == 1
    assert vqa_accuracy("the cat", ["the cat"] * 9 + ["cat"]) == pytest.approx(9 / 30)  # nor do their articles go
    with pytest.raises(ValueError, match="at least two"):
        vqa_accuracy("cat", ["cat"])


@pytest.mark.parametrize("seed", range(5))
def test_leaving_each_out_in_turn(seed: int) -> None:
    draw = random.Random(seed)
    people = draw.choices(["red", "blue", "a hat"], k=draw.randint(2, 12))
    slow = []
    for left_out in range(len(people)):
        others = [one for number, one in enumerate(people) if number != left_out]
        slow.append(min(1, others.count("red") / 3))
    assert vqa_accuracy("red", people) == pytest.approx(sum(slow) / len(slow), abs=1e-12)
