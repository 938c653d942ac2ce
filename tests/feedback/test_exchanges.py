"""The log of a server: what people do with answers becomes rankings, once each, and the last word counts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from preceptor.data.records import Comparison, Response
from preceptor.feedback.exchanges import all_exchanges, edit, exchange, give_thumb, keep, rank
from preceptor.feedback.preferences import all_thumbs
from preceptor.feedback.records import comparisons
from preceptor.feedback.store import Store, open_store
from preceptor.run.errors import UserError

ASKED = [{"role": "user", "content": "Who keeps bees?"}]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "feedback.sqlite")
    for key, texts in (("one", ["Nora."]), ("two", ["Otto."]), ("three", ["Nobody.", "Nora. "])):
        keep(opened, "key", "ann", key, ASKED, [Response(text, model="m") for text in texts])
    yield opened
    opened.close()


def on(text: str, *more: str) -> list[dict[str, Any]]:
    said = [*ASKED, {"role": "assistant", "content": text}, {"role": "user", "content": "And fish?"}]
    for number, part in enumerate(more):
        said.append({"role": ("assistant", "user")[number % 2], "content": part})
    return said


def texts(one: Comparison) -> list[list[str]]:
    return [[one.responses[index].text for index in group] for group in one.ranking]


def test_the_log_holds_every_choice_as_it_was_given(store: Store) -> None:
    found = list(all_exchanges(store))
    assert [(one.key, one.choice, one.response.text) for one in found] == [
        ("one", 0, "Nora."), ("two", 0, "Otto."), ("three", 0, "Nobody."), ("three", 1, "Nora. ")]
    assert exchange(store, "key", "three", 1) == found[3] and found[0].prompt.messages == ASKED
    assert found[0].row()["response"] == {"text": "Nora.", "finish": "eos", "model": "m"}
    assert not list(comparisons(store)), "that answers were given says nothing yet"


def test_the_answer_that_a_conversation_goes_on_with_is_better_than_the_others(store: Store) -> None:
    keep(store, "key", "ann", "four", on("Otto."), [Response("Yes.")])
    keep(store, "key", "ann", "five", on("Otto."), [Response("No.")])  # asked again: learnt once
    learnt = list(comparisons(store))
    assert [texts(one) for one in learnt] == [[["Otto."], ["Nora.", "Nobody."]]]
    assert learnt[0].prompt.messages == ASKED and learnt[0].labeler == "ann" and learnt[0].kind == "person"
    assert learnt[0].responses[0].model == "m"
    keep(store, "key", "ann", "six", on("Otto.", "Yes.", "Where?"), [Response("In the pond.")])
    assert [texts(one) for one in comparisons(store)][1] == [["Yes."], ["No."]], "each turn has its own"
    keep(store, "key", "ann", "seven", on("Nora."), [Response("Yes.")])  # a change of mind
    assert [texts(one) for one in comparisons(store)] == [[["Yes."], ["No."]], [["Nora."], ["Otto.", "Nobody."]]]
    keep(store, "key", "ann", "eight", on("Otto."), [Response("Yes.")])  # and back
    assert [texts(one) for one in comparisons(store)][1] == [["Otto."], ["Nora.", "Nobody."]]


def test_somebody_else_s_answers_are_not_compared(store: Store) -> None:
    keep(store, "key", "bob", "four", on("Otto."), [Response("Yes.")])
    keep(store, "key", "ann", "five", on("Otto.")[:1] + on("x")[2:], [Response("Yes.")])
    assert not list(comparisons(store))


def test_an_edited_answer_is_better_than_what_was_given(store: Store) -> None:
    keep(store, "key", "ann", "four", on("Nora, in the valley."), [Response("Yes.")])
    assert [texts(one) for one in comparisons(store)] == [[["Nora, in the valley."], ["Nora.", "Otto.", "Nobody."]]]
    edit(store, "key", "ann", "two", 0, "Otto, perhaps.")
    kept = list(comparisons(store))
    assert [texts(one) for one in kept] == [[["Otto, perhaps."], ["Otto."]]] and kept[0].responses[0].model is None
    for text in ("Otto. ", " "):
        with pytest.raises(UserError, match="edited answer"):
            edit(store, "key", "ann", "two", 0, text)


def test_rankings_have_ties_and_are_of_one_conversation(store: Store) -> None:
    id = rank(store, "key", "ann", [[("three", 0)], [("one", 0), ("two", 0)]])
    assert id == rank(store, "key", "ann", [[("three", 0)], [("one", 0), ("two", 0)]]), "said twice, kept once"
    assert [texts(one) for one in comparisons(store)] == [[["Nobody."], ["Nora.", "Otto."]]]
    keep(store, "key", "ann", "four", on("Otto."), [Response("Yes.")])
    for wrong in ([[("one", 0)], [("four", 0)]], [[("one", 0)]], [[("one", 0)], [("three", 1)]],
                  [[("one", 0)], [("two", 0)], []], []):
        with pytest.raises(UserError, match="ranking"):
            rank(store, "key", "ann", wrong)


def test_thumbs_up_and_down_make_a_ranking_together(store: Store) -> None:
    assert give_thumb(store, "key", "ann", "one", 0, True) is None
    assert give_thumb(store, "key", "bob", "two", 0, False) is None, "by different people"
    id = give_thumb(store, "key", "ann", "two", 0, False)
    assert [(one.id, texts(one)) for one in comparisons(store)] == [(id, [["Nora."], ["Otto."]])]
    give_thumb(store, "key", "ann", "three", 0, False)
    assert [texts(one) for one in comparisons(store)] == [[["Nora."], ["Otto.", "Nobody."]]]
    assert [(one.labeler, one.response.text, one.up) for one in all_thumbs(store)] == [
        ("ann", "Nora.", True), ("bob", "Otto.", False), ("ann", "Otto.", False), ("ann", "Nobody.", False)]
    assert give_thumb(store, "key", "ann", "one", 0, False) is None  # she likes none of them any more
    assert not list(comparisons(store)), "what her thumbs said before counts no longer"
    give_thumb(store, "key", "ann", "two", 0, True)
    assert [texts(one) for one in comparisons(store)] == [[["Otto."], ["Nobody.", "Nora."]]]


def test_only_who_asked_may_judge(store: Store) -> None:
    for wrong in (lambda: edit(store, "other", "ann", "one", 0, "x"), lambda: exchange(store, "key", "one", 1),
                  lambda: give_thumb(store, "other", "ann", "one", 0, True),
                  lambda: rank(store, "other", "ann", [[("one", 0)], [("two", 0)]])):
        with pytest.raises(KeyError):
            wrong()
    assert not list(comparisons(store)) and not list(all_thumbs(store))
