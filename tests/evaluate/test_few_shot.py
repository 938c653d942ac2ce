"""How a base model is asked."""

import random
from typing import Any

import pytest

from preceptor.data.records import Conversation, Prompt
from preceptor.evaluate.few_shot import LABELS, choose_shots, few_shot_prompt, language_of, plain_prompt, verbatim
from preceptor.tokenizer.chat import encode_prompt, encode_text
from preceptor.village.language import load_language


def ask(text: str) -> Prompt:
    return Prompt("p", [{"role": "user", "content": text}], category="open_qa", user="u")


def show(number: int, question: str, answer: str, category: str = "chat") -> Conversation:
    return Conversation(f"d{number}", [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
                        category=category)


@pytest.mark.parametrize("language", LABELS)
def test_the_labels_are_those_that_the_corpus_of_the_village_writes(language: str) -> None:
    village = load_language(language)
    assert LABELS[language] == (village.question_label, village.answer_label)


def test_a_plain_prompt_is_its_text_and_a_line_break() -> None:
    assert plain_prompt(ask("Who?")).messages == [{"role": "user", "content": "Who?\n"}]
    assert plain_prompt(ask("Question: Who?\nAnswer:")).messages[0]["content"].endswith("Answer:")  # waits already
    talk = Prompt("p", [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Yes?"},
                        {"role": "user", "content": "Who?"}])
    assert plain_prompt(talk).messages[0]["content"] == "Hello\nYes?\nWho?\n"


def test_a_few_shot_prompt_in_words(tokenizer: Any) -> None:
    shots = {"en": [show(1, "Hi", "Hello."), show(2, "One?", "Two.")], "zh": [show(3, "你好", "您好。")]}
    asked, shown = few_shot_prompt(ask("Who?"), shots, tokenizer, room=1000)
    assert asked.messages[0]["content"] == ("Question: Hi\nAnswer: Hello.\nQuestion: One?\nAnswer: Two.\n"
                                            "Question: Who?\nAnswer:")
    assert (asked.id, asked.category, asked.user, shown) == ("p", "open_qa", "u", 2)
    chinese, _ = few_shot_prompt(ask("她是谁？"), shots, tokenizer, room=1000)
    assert chinese.messages[0]["content"] == "问：你好\n答：您好。\n问：她是谁？\n答："


def test_shots_that_do_not_fit_are_left_out_and_the_question_never_is(tokenizer: Any) -> None:
    shots = {"en": [show(n, f"Question number {n}?", "A fairly long answer, as answers go.") for n in range(6)]}
    lengths = []
    for room in range(0, 200, 5):
        asked, shown = few_shot_prompt(ask("Who?"), shots, tokenizer, room)
        text = asked.messages[0]["content"]
        assert text.count("Answer: ") == shown and text.endswith("Question: Who?\nAnswer:")
        lengths.append(len(encode_text(tokenizer, text)))
        assert lengths[-1] <= max(room, lengths[0])
    assert lengths == sorted(lengths) and lengths[0] < lengths[-1]


def test_shots_are_of_one_line_of_many_use_cases_and_drawn_by_the_seed() -> None:
    draw = random.Random(0)
    pool = [show(n, f"q{n}", "two\nlines" if n % 5 == 0 else f"a{n}", category=draw.choice("abcd")) for n in range(80)]
    pool += [show(100 + n, f"问{n}", "答", category="a") for n in range(9)]
    pool += [Conversation("long", [*pool[1].messages, *pool[2].messages], category="z")]
    shots = choose_shots(pool, 4, seed=5)
    assert {one.category for one in shots["en"]} == set("abcd")  # the four use cases there are, one of each
    assert len(shots["zh"]) == 4 and all(language_of(one.messages[0]["content"]) == "zh" for one in shots["zh"])
    assert all("\n" not in one.messages[1]["content"] and len(one.messages) == 2 for one in shots["en"])
    assert choose_shots(pool, 4, seed=5) == shots != choose_shots(pool, 4, seed=6)
    assert len(choose_shots(pool, 30, seed=5)["en"]) == 30


def test_shots_come_from_the_shortest_quarter() -> None:
    pool = [show(n, "q" * (1 + n), "a", category="abcd"[n % 4]) for n in range(80)]
    random.Random(1).shuffle(pool)
    drawn = {one.id for seed in range(30) for one in choose_shots(pool, 4, seed)["en"]}
    assert drawn <= {f"d{n}" for n in range(20)} and len(drawn) > 15


def test_a_verbatim_tokenizer_adds_nothing_and_leaves_the_other_alone(tokenizer: Any) -> None:
    plain = verbatim(tokenizer)
    assert encode_prompt(plain, ask("Who?\n")) == encode_text(tokenizer, "Who?\n")
    assert encode_prompt(tokenizer, ask("Who?\n")) != encode_text(tokenizer, "Who?\n")
