"""What one person does twice at once, as by a button that is pressed twice, and what comes between two readings."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from preceptor.data.records import Comparison, Prompt, Response
from preceptor.feedback import rankers
from preceptor.feedback.assign import next_item, skip
from preceptor.feedback.exchanges import edit, keep
from preceptor.feedback.judgements import Judgement, submit
from preceptor.feedback.labelers import add_labeler
from preceptor.feedback.preferences import all_thumbs, thumb
from preceptor.feedback.records import add_comparisons, add_items, comparisons
from preceptor.feedback.store import Store
from preceptor.feedback.trials import (
    add_trials,
    assess_self,
    score_trial,
    self_assessed,
    to_score,
    trials_of,
    write_trial,
    written,
)
from preceptor.run.errors import UserError
from tests.feedback.conftest import asked

AT_ONCE, TIMES = 4, 12


def at_once(does: Callable[[int], Any]) -> None:
    """Call `does` with 0, 1, ... in threads that start together; what one of them raises is raised."""
    errors: list[BaseException] = []
    together = threading.Barrier(AT_ONCE)

    def run(number: int) -> None:
        together.wait()
        try:
            does(number)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_a_thumb_given_twice_at_once_is_one_thumb(store: Store) -> None:
    prompt = Prompt("p", [{"role": "user", "content": "Who?"}])
    for time in range(TIMES):
        said = Response(f"answer {time}")
        at_once(lambda number, said=said: thumb(store, "ann", prompt, said, bool(number % 2)))
    assert len(list(all_thumbs(store))) == TIMES


def test_of_two_edits_at_once_one_counts(store: Store) -> None:
    keep(store, "key", "ann", "one", [{"role": "user", "content": "Who keeps bees?"}], [Response("Nora.")])
    for time in range(TIMES):
        at_once(lambda number, time=time: edit(store, "key", "ann", "one", 0, f"Nora {time}, or {number}."))
        assert len(list(comparisons(store))) == 1


def test_the_screening_test_bears_buttons_that_are_pressed_twice(store: Store) -> None:
    for name in ("Ann", "Rea"):
        add_labeler(store, name)
    add_trials(store, [prompt for prompt, _ in asked(TIMES)])
    for trial in trials_of(store, "Ann"):
        at_once(lambda number, key=trial.key: write_trial(store, "Ann", key, f"text {number}"))
    for demonstration in to_score(store, "Rea"):
        at_once(lambda number, place=demonstration.number: score_trial(store, "Rea", place, 1 + number))
        at_once(lambda number: assess_self(store, "Ann", ["age"], str(number)))
    assert (written(store)["Ann"].written, written(store)["Ann"].scored) == (TIMES, TIMES)
    assert list(self_assessed(store)) == ["Ann"]


def test_a_text_that_is_scored_while_it_is_rewritten_is_one_or_the_other(store: Store) -> None:
    """Either it has its score and stays, or it is another text without one."""
    for name in ("Ann", "Rea"):
        add_labeler(store, name)
    add_trials(store, [prompt for prompt, _ in asked(TIMES)])
    for trial in trials_of(store, "Ann"):
        write_trial(store, "Ann", trial.key, "before")
        [one] = [one for one in to_score(store, "Rea") if one.text == "before"]

        def either(number: int, key: str = trial.key, place: int = one.number) -> None:
            try:
                write_trial(store, "Ann", key, "after") if number % 2 else score_trial(store, "Rea", place, 5)
            except (UserError, KeyError):  # the other was first, and that is said
                pass

        at_once(either)
    assert all(one.scored == (one.text == "before") for one in trials_of(store, "Ann"))


def test_what_was_passed_on_in_one_window_and_ranked_in_another_is_kept_once(store: Store) -> None:
    add_items(store, asked(1), overlap=1)
    add_labeler(store, "ann")
    item = next_item(store, "ann").item
    skip(store, "ann", item, "dull")
    sent: list[str] = []
    at_once(lambda number: sent.append(submit(store, "ann", item, Judgement([[2], [0], [1]]))))
    assert [one.id for one in comparisons(store)] == [*set(sent)] != [""]


def test_a_ranking_that_comes_while_they_are_counted_is_for_the_next_time(
        small_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = add_items(small_store, asked(2))
    ranked = [Comparison(f"c{number}", prompt, said, [[0], [1], [2]], "ann", "person")
              for number, (prompt, said) in enumerate(asked(2))]
    add_comparisons(small_store, ranked[:1])

    def meanwhile(*given: Any, **named: Any) -> Any:
        add_comparisons(small_store, ranked[1:])
        return comparisons(*given, **named)

    monkeypatch.setattr(rankers, "comparisons", meanwhile)
    assert rankers._of_items(small_store, keys) == [(keys[0], ranked[0])]


def test_what_programs_rank_is_not_taken_for_people(small_store: Store) -> None:
    keys = add_items(small_store, asked(1))
    [(prompt, said)] = asked(1)
    add_comparisons(small_store, [Comparison("m", prompt, said, [[0], [1], [2]], "oracle", "program")])
    assert rankers._of_items(small_store, keys) == []
    one = Comparison("p", prompt, said, [[2], [1], [0]], "ann", "person")
    add_comparisons(small_store, [one])
    assert rankers._of_items(small_store, keys) == [(keys[0], one)]
