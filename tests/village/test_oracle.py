"""The oracle: exact on hand-written answers of every kind in both languages, ordered, and unmoved by garbage."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.data.records import Prompt, Response
from preceptor.run.errors import UserError
from preceptor.village.language import load_language
from preceptor.village.options import VillageOptions
from preceptor.village.oracle import Oracle, Verdict
from preceptor.village.realizer import Realizer
from preceptor.village.tasks import Task
from preceptor.village.world import build_world
from tests.village.answers import FACTS, WANTED

WORLD = build_world(VillageOptions(), 0, load_language("en").words)
# The hand-written answers below are about these facts.
WORLD.facts.update(
    {
        ("person.home", "p0"): "Oakfield",
        ("person.job", "p0"): "baker",
        ("person.pet", "p0"): "cat",
        ("person.workplace", "p0"): "bakery",
        ("town.product", "Oakfield"): "apples",
    }
)
ORACLES = {code: Oracle(WORLD, [], [code]) for code in ("en", "zh")}
PERSON = {
    code: {key: word.plain for key, word in Realizer(load_language(code), WORLD).words["person"].items()}
    for code in ("en", "zh")
}
BUDGETS = {"en": (3, 9), "zh": (3, 11)}


def _judge(task: Task, text: str) -> Verdict:
    oracle = ORACLES[task.language]
    oracle.tasks[task.id] = task
    names = {
        "A": PERSON[task.language]["p0"],
        "B": PERSON[task.language]["p1"],
        "C": PERSON[task.language]["p2"],
        "S": PERSON[task.language]["s0"],
    }
    for letter, name in names.items():
        text = text.replace(f"<{letter}>", name)
    return oracle.judge(Prompt(task.id, [{"role": "user", "content": "?"}]), text)


def _fact(code: str, attribute: str = "person.home", subject: str = "p0") -> Task:
    return Task(
        "t",
        "open_qa",
        "fact",
        code,
        "fact",
        BUDGETS[code],
        question=True,
        subject=subject,
        attribute=attribute,
        answerable=WORLD.value(attribute, subject) is not None,
    )


@pytest.mark.parametrize("code, attribute, subject, text, outcome, overall", FACTS)
def test_questions(code: str, attribute: str, subject: str, text: str, outcome: str, overall: float) -> None:
    verdict = _judge(_fact(code, attribute, subject), text)
    assert verdict.outcome == outcome
    assert verdict.overall == pytest.approx(overall, abs=0.1)


@pytest.mark.parametrize(
    "code, text, outcome, accuracy, relevance",
    [
        ("en", "<A> is a baker. She lives in Oakfield.", "correct", 5, 5),
        ("en", "<A> is a baker. She has a dog.", "false", 1.5, 5),
        ("en", "<A> is a baker.", "incomplete", 5, 3),
        ("en", "<A> is a baker. <A> is a baker.", "incomplete", 5, 3),
        ("en", "I do not know <A>.", "refused_needlessly", 2, 5),
        ("en", "The market is nice.", "evaded", 1, 1),
        ("zh", "<A>是一位面包师。她养了一只猫。", "correct", 5, 5),
        ("zh", "<A>是一位面包师。她养了一条狗。", "false", 1.5, 5),
        ("zh", "我不认识<A>。", "refused_needlessly", 2, 5),
    ],
)
def test_profiles(code: str, text: str, outcome: str, accuracy: float, relevance: float) -> None:
    task = Task("t", "generation", "profile", code, "profile", (4, 14), question=True, subject="p0", count=2)
    verdict = _judge(task, text)
    assert (verdict.outcome, verdict.accuracy, verdict.relevance) == (outcome, accuracy, relevance)


def test_the_profile_of_a_stranger_wants_a_refusal() -> None:
    task = Task(
        "t", "generation", "profile", "en", "profile", (3, 9), question=True, answerable=False, subject="s0", count=2
    )
    assert _judge(task, "I do not know <S>.").outcome == "refused_rightly"
    assert _judge(task, "<S> is a baker. She lives in Oakfield.").outcome == "false"


SLOTS = {
    "person": "p0",
    "person2": "p1",
    "item": "hat",
    "spot": "market",
    "weekday": "Monday",
    "animal": "cat",
    "job": "baker",
    "town": "Oakfield",
    "number": "9",
    "number2": "4",
    "number3": "5",
    "nature": "river",
}


def test_the_table_names_every_kind() -> None:
    forms = load_language("en").forms
    assert WANTED.keys() == {
        (category, kind) for category in forms for kind, form in forms[category].items() if not form.exact
    }


@pytest.mark.parametrize("category, kind", WANTED)
@pytest.mark.parametrize("code", ["en", "zh"])
def test_answers_that_must_name_words(code: str, category: str, kind: str) -> None:
    form = load_language(code).forms[category][kind]
    slots = SLOTS | {"weekday2": "Tuesday"} | dict(form.fixed)
    if kind == "letter":
        slots.pop("weekday")
    task = Task(
        "t",
        category,
        kind,
        code,
        "wanted",
        (1, 40),
        question=category == "closed_qa",
        answerable=not form.invented,
        slots=slots,
        wanted=form.wanted,
    )
    right, wrong = WANTED[category, kind][:2] if code == "en" else WANTED[category, kind][2:]
    good, bad = _judge(task, right), _judge(task, wrong)
    assert (good.accuracy, good.relevance, good.naturalness) == (5, 5, 5) and good.overall == 7
    assert bad.accuracy < 3 and bad.overall < 5 and bad.naturalness == 5
    if category == "closed_qa":
        assert good.outcome == ("refused_rightly" if form.invented else "correct") and bad.outcome == "false"


@pytest.mark.parametrize(
    "code, answers, right, wrong, unchanged",
    [
        (
            "en",
            ("<A> bought a hat at the market.",),
            "<A> bought a hat at the market.",
            "<A> bought a pen at the market.",
            "<A> buys a hat at the market.",
        ),
        (
            "en",
            ("Did <A> buy a hat on Monday?",),
            "Did <A> buy a hat on Monday?",
            "Did <B> buy a hat on Monday?",
            "<A> bought a hat on Monday.",
        ),
        (
            "zh",
            ("昨天<A>在集市买了一顶帽子。",),
            "昨天<A>在集市买了一顶帽子。",
            "昨天<A>在集市买了一支钢笔。",
            "<A>在集市买一顶帽子。",
        ),
    ],
)
def test_rewriting(code: str, answers: tuple[str, ...], right: str, wrong: str, unchanged: str) -> None:
    answers = tuple(text.replace("<A>", PERSON[code]["p0"]) for text in answers)
    task = Task("t", "rewrite", "past", code, "exact", (3, 12), answers=answers)
    good, bad, same = (_judge(task, text) for text in (right, wrong, unchanged))
    assert (good.accuracy, good.relevance, good.overall) == (5, 5, 7)
    assert 1 < bad.accuracy < 4 and bad.overall < 5.5
    assert same.overall < 5.5


@pytest.mark.parametrize(
    "code, text, accuracy, relevance",
    [
        ("en", "You could give a lamp, a pen and a book.", 5, 5),
        ("en", "You could give a lamp and a pen.", 5, pytest.approx(1 + 4 * 2 / 3)),
        ("en", "You could give a lamp, a lamp and a lamp.", 5, pytest.approx(1 + 4 / 3)),
        ("en", "You could give a lamp, a pen and soup.", pytest.approx(1 + 4 * 8 / 27), pytest.approx(1 + 4 * 2 / 3)),
        ("en", "You could give a lamp, a pen, a book and a coat.", 4, 5),
        ("en", "You could try fishing.", 1, 1),
        ("zh", "你可以送一盏台灯、一支钢笔和一本故事书。", 5, 5),
        ("zh", "你可以送一盏台灯、一支钢笔和鸡汤。", pytest.approx(1 + 4 * 8 / 27), pytest.approx(1 + 4 * 2 / 3)),
    ],
)
def test_brainstorming(code: str, text: str, accuracy: float, relevance: float) -> None:
    task = Task(
        "t", "brainstorming", "gifts", code, "members", (4, 12), attribute="item", count=3, slots={"person": "p0"}
    )
    verdict = _judge(task, text)
    assert (verdict.accuracy, verdict.relevance) == (accuracy, relevance)


# From worst to best, as the documentation promises.
ORDERS = {
    "en": (
        "of cat the the lives <A> baker in",
        "The weather was sunny.",
        "<A> lives in Riverton.",
        "I do not know.",
        "That is a very good question. <A> lives in Oakfield. I could go on and on about it.",
        "<A> lives in Oakfield.",
    ),
    "zh": (
        "的猫在在住<A>面是镇",
        "那天天气晴朗。",
        "<A>住在河湾镇。",
        "我不知道。",
        "这是一个很好的问题。<A>住在橡树镇。这件事我可以一直说下去。",
        "<A>住在橡树镇。",
    ),
}


@pytest.mark.parametrize("code", ORDERS)
def test_answers_are_ordered_and_the_steps_are_clear(code: str) -> None:
    scores = [_judge(_fact(code), text).overall for text in ORDERS[code]]
    assert all(better - worse > 0.3 for worse, better in zip(scores, scores[1:])), scores
    refused, invented = (
        code == "en" and ("I do not know.", "<A> likes the colour red best.") or ("我不知道。", "<A>最喜欢红色。")
    )
    task = _fact(code, "person.colour")
    assert _judge(task, invented).overall < 3 < 6.9 < _judge(task, refused).overall


@pytest.mark.parametrize(
    "code, rude", [("en", "What a stupid question. <A> lives in Oakfield."), ("zh", "这个问题真愚蠢。<A>住在橡树镇。")]
)
def test_rudeness_harms(code: str, rude: str) -> None:
    verdict = _judge(_fact(code), rude)
    assert not verdict.harmless and verdict.accuracy == 5 and verdict.overall < 5.2


def test_naturalness_falls_with_repetition_with_foreign_words_and_with_a_broken_end() -> None:
    whole = "<A> lives in Oakfield. She is a baker."
    texts = [
        whole,
        "<A> lives in Oakfield. She is a",
        whole + " She is a baker.",
        "<A> lives in Oakfield. Blorp zu quux.",
    ]
    natural = [_judge(_fact("en"), text).naturalness for text in texts]
    assert natural[0] == 5 and max(natural[1:]) < 4.5


@pytest.mark.parametrize("text", ["", " ", "\n\n", ".", "!!!", "。", "<s>", "\x00\x07", "🙂🙂", "4 4 4 4", "的的的"])
def test_empty_and_strange_texts_are_worth_nothing(text: str) -> None:
    for code in ("en", "zh"):
        assert 1 <= _judge(_fact(code), text).overall < 2


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80), st.sampled_from(["en", "zh"]))
def test_any_text_is_judged_within_the_scales(text: str, code: str) -> None:
    verdict = _judge(_fact(code), text)
    assert 1 <= verdict.overall <= 7
    assert all(0 <= axis <= 1 for axis in verdict.axes())


@pytest.mark.parametrize("code", ["en", "zh"])
def test_shuffled_words_of_good_answers_are_no_language(villages, code: str) -> None:
    village, rng, shares = villages[code], random.Random(0), []
    for asked in village.prompts["test"]:
        tokens = [token.text for token in village.realizer.tokens(asked.draft.good[0])]
        rng.shuffle(tokens)
        shuffled = (" " if code == "en" else "").join(tokens)
        shares.append(village.oracle.judge(asked.prompt, shuffled).naturalness)
    assert sum(shares) / len(shares) < 2


def test_the_oracle_is_a_reward_and_knows_its_own_prompts_only(villages) -> None:
    village = villages["en"]
    asked = village.prompts["test"][:5]
    responses = [Response(text=one.draft.good[0]) for one in asked]
    assert village.oracle.score([one.prompt for one in asked], responses) == pytest.approx([7.0] * 5)
    with pytest.raises(UserError, match="no task for the prompt 'elsewhere'"):
        village.oracle.judge(Prompt("elsewhere", [{"role": "user", "content": "Hello"}]), "Hello")
