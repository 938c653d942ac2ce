"""Assignment: overlap, leases, gold questions, and labelers who never collide, on both databases."""

import random
import threading
from collections import Counter

import pytest
import sqlalchemy as sql

from preceptor.data.records import Comparison
from preceptor.feedback.assign import left_to_do, next_item, shown_order, skip
from preceptor.feedback.audit import history
from preceptor.feedback.judgements import Judgement, draft_of, save_draft, submit, withdraw
from preceptor.feedback.labelers import add_labeler, all_labelers, exclude, set_role
from preceptor.feedback.records import MANY, add_comparisons, add_items, comparisons, set_gold
from preceptor.feedback.store import Store, open_store
from preceptor.feedback.tables import labelers
from preceptor.run.errors import UserError
from tests.feedback.conftest import Clock, asked

ORDER = Judgement([[2], [0, 1]])


def _people(store: Store, count: int) -> list[str]:
    names = [f"ann{n}" for n in range(count)]
    for name in names:
        add_labeler(store, name)
    return names


def test_labelers_who_work_at_once_never_collide(store: Store) -> None:
    """Twelve at a time, some of whom abandon items: every item gets its three rankings, by three labelers."""
    keys = add_items(store, asked(20), overlap=3)
    names, errors = _people(store, 12), []

    def work(name: str) -> None:
        draw = random.Random(name)
        try:
            while held := next_item(store, name):
                if draw.random() < 0.1:
                    skip(store, name, held.item, "dull")
                else:
                    submit(store, name, held.item, ORDER)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in names:  # what the last one at work passed over, when the others had gone, waits for who comes back
        work(name)
    assert not errors
    found = list(comparisons(store))
    by_item = Counter(one.prompt.id for one in found)
    assert len(keys) == 20 and set(by_item.values()) == {3} and len(by_item) == 20
    assert max(Counter((one.prompt.id, one.labeler) for one in found).values()) == 1


def test_abandoned_items_return_and_late_rankings_are_kept(store: Store, clock: Clock) -> None:
    add_items(store, asked(1), overlap=1)
    ann, bo = _people(store, 2)
    held = next_item(store, ann, lease=60)
    assert next_item(store, bo) is None and left_to_do(store, bo) == 0 and left_to_do(store, ann) == 1
    clock.seconds += 59
    assert next_item(store, bo) is None
    clock.seconds += 2
    assert next_item(store, bo).item == held.item
    submit(store, ann, held.item, ORDER)   # she had worked on it: nothing that was sent is lost
    submit(store, bo, held.item, ORDER)
    assert [one.labeler for one in comparisons(store)] == [ann, bo]
    assert "late" in [line["what"] for line in history(store)]
    assert next_item(store, ann) is None and next_item(store, bo) is None


def test_what_is_held_comes_back_with_its_draft_and_the_same_order(store: Store, clock: Clock) -> None:
    add_items(store, asked(5, answers=6), overlap=1)
    [ann] = _people(store, 1)
    held = next_item(store, ann)
    save_draft(store, ann, held.item, {"ranking": [[1]]})
    save_draft(store, ann, held.item, {"ranking": [[1], [2]], "note": "中 \x00"})
    clock.seconds += 10**6
    assert next_item(store, ann) == held and held.shown == shown_order(held.item, ann, 6)
    assert draft_of(store, ann, held.item) == {"ranking": [[1], [2]], "note": "中 \x00"}
    label = submit(store, ann, held.item, Judgement([[k] for k in range(6)]))
    assert draft_of(store, ann, held.item) is None
    assert submit(store, ann, held.item, Judgement([[k] for k in range(6)])) == label
    assert len(list(comparisons(store))) == 1


def test_a_ranking_taken_back_stays_and_does_not_count(store: Store) -> None:
    add_items(store, asked(2), overlap=1)
    ann, bo = _people(store, 2)
    held = next_item(store, ann)
    label = submit(store, ann, held.item, ORDER)
    assert withdraw(store, bo, label) is None
    assert withdraw(store, ann, label) == held.item
    assert list(comparisons(store)) == [] and next_item(store, ann) == held
    again = submit(store, ann, held.item, Judgement([[0, 1, 2]]))
    assert again and [one.ranking for one in comparisons(store)] == [[[0, 1, 2]]]


def test_the_record_says_what_was_judged_and_nothing_else(store: Store, clock: Clock) -> None:
    add_items(store, asked(1), overlap=2, round=3)
    ann, bo = _people(store, 2)
    held = next_item(store, ann)
    submit(store, ann, held.item, Judgement([[1], [2, 0]], scores=[{"overall": 7, "accuracy": 5}, {}, {"overall": 1}],
                                            flags=[["opinion", "sexual"], [], []], comments=["", "so", ""],
                                            prompt_flags=["unclear"], seconds=9.5))
    submit(store, bo, next_item(store, bo).item, ORDER)
    full, bare = comparisons(store)
    assert [response.text for response in full.responses] == [response.text for response in held.responses]
    assert [response.scores for response in full.responses] == [{"overall": 7, "accuracy": 5}, None, {"overall": 1}]
    assert full.responses[0].flags == ["sexual", "opinion"] and full.responses[1].comment == "so"
    assert (full.prompt_flags, full.seconds, full.round, full.kind) == (["unclear"], 9.5, 3, "person")
    assert full.ranking == [[1], [0, 2]] and full.created == "2027-01-15T08:00:00.000Z"
    assert bare.prompt_flags is bare.seconds is bare.responses[0].flags is bare.gold is None


@pytest.mark.parametrize("judgement", [
    Judgement([[0], [1]]), Judgement([[0, 1, 2], [2]]), Judgement([[0, 1, 2], []]), Judgement([[0, 1, 3]]),
    Judgement([[0, 1, 2]], scores=[{"overall": 8}, {}, {}]), Judgement([[0, 1, 2]], scores=[{"accuracy": 6}, {}, {}]),
    Judgement([[0, 1, 2]], scores=[{"overall": True}, {}, {}]), Judgement([[0, 1, 2]], scores=[{"overall": 1}]),
    Judgement([[0, 1, 2]], flags=[["rude"], [], []]), Judgement([[0, 1, 2]], prompt_flags=["sexual"]),
    Judgement([[0, 1, 2]], comments=["x" * 5000, "", ""])])
def test_a_judgement_that_the_page_cannot_make_is_refused(small_store: Store, judgement: Judgement) -> None:
    add_items(small_store, asked(1))
    [ann] = _people(small_store, 1)
    with pytest.raises(UserError):
        submit(small_store, ann, next_item(small_store, ann).item, judgement)
    assert list(comparisons(small_store)) == []


def test_gold_questions_are_mixed_in_and_every_labeler_may_have_them(small_store: Store) -> None:
    add_items(small_store, asked(140), overlap=1)
    known = [Comparison(f"g{n}", prompt, said, [[0], [1], [2]], "expert", "person")
             for n, (prompt, said) in enumerate(asked(40))]
    set_gold(small_store, known)
    ann, bo = _people(small_store, 2)
    golden = Counter()
    for name in (ann, bo):
        for _ in range(50):
            submit(small_store, name, next_item(small_store, name, gold_share=0.3).item, ORDER)
        mine = list(comparisons(small_store, labeler=name))
        assert len({one.prompt.id for one in mine}) == 50
        golden[name] = sum(one.gold is True for one in mine)
    assert 7 <= golden[ann] <= 23 and 7 <= golden[bo] <= 23  # binomial with p = 0.3: 15 ± 2.5 deviations
    while held := next_item(small_store, ann, gold_share=0.0):
        assert submit(small_store, ann, held.item, ORDER)
    assert sum(one.gold is True for one in comparisons(small_store, labeler=ann)) == golden[ann]


def test_a_large_store_is_drawn_from_evenly_and_to_its_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only a pool of the open items is looked at, every item still comes, early ones and late ones alike."""
    monkeypatch.setattr("preceptor.feedback.assign.POOL", 4)
    keys = sorted(add_items(store, asked(MANY), overlap=1))
    names, places = _people(store, 5), []
    for number in range(MANY):
        name = names[number % 5]
        assert left_to_do(store, name, most=30) == min(30, MANY - number) and left_to_do(store, name) == MANY - number
        held = next_item(store, name)
        places.append(keys.index(held.item))
        submit(store, name, held.item, ORDER)
    assert sorted(places) == list(range(MANY)) and next_item(store, names[0]) is None
    assert 25 < sum(places[:40]) / 40 < 75  # an even draw has 49.5, with a deviation of 3.5


def test_nobody_is_asked_what_he_has_said_elsewhere(small_store: Store) -> None:
    [(prompt, said)] = asked(1)
    add_items(small_store, [(prompt, said)])
    add_comparisons(small_store, [Comparison("c", prompt, said, [[0, 1, 2]], "ann0", "person")])
    assert next_item(small_store, "ann0") is None and left_to_do(small_store, "ann0") == 0
    assert next_item(small_store, "ann1") is not None


def test_the_policy_decides_and_exclusion_is_reversible(small_store: Store) -> None:
    keys = add_items(small_store, asked(6))
    [ann] = _people(small_store, 1)
    held = next_item(small_store, ann, policy=lambda open_items, draw: sorted(open_items, reverse=True))
    assert held.item == max(keys)
    submit(small_store, ann, held.item, ORDER)
    exclude(small_store, ann, True, who="root", reason="answers at random")
    assert list(comparisons(small_store)) == [] and len(list(comparisons(small_store, excluded=True))) == 1
    exclude(small_store, ann, False, who="root")
    assert len(list(comparisons(small_store))) == 1
    assert [line["what"] for line in history(small_store)][:2] == ["taken back in", "excluded"]
    set_role(small_store, ann, "reviewer", "root")
    assert all_labelers(small_store)[ann]["role"] == "reviewer"
    for wrong in (lambda: set_role(small_store, ann, "king", "root"), lambda: exclude(small_store, "no", True, "root"),
                  lambda: add_labeler(small_store, "bell\a"), lambda: add_labeler(small_store, "x", kind="dog")):
        with pytest.raises(UserError):
            wrong()


def test_what_is_read_within_a_transaction_is_read_by_it(store: Store) -> None:
    with store.writing() as writing:
        writing.execute(labelers.insert().values(name="Ann", kind="person", role="labeler", created="now"))
        with store.reading() as within:
            assert within is writing
        assert list(all_labelers(store)) == ["Ann"]
    with store.reading() as outer:
        assert outer is not writing and list(all_labelers(store)) == ["Ann"]
    with pytest.raises(ZeroDivisionError), store.writing() as writing:
        writing.execute(labelers.delete())
        assert 1 / 0
    assert list(all_labelers(store)) == ["Ann"]


def test_a_connection_that_died_while_it_was_idle_is_replaced(
        postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("preceptor.feedback.store.IDLE", -1)
    store, other = open_store(postgresql), open_store(postgresql)
    with store.reading() as connection:
        number = connection.scalar(sql.text("SELECT pg_backend_pid()"))
    with other.reading() as connection:  # of which it is told when it is gone
        assert connection.scalar(sql.text("SELECT pg_terminate_backend(:number, 5000)"), {"number": number})
    assert all_labelers(store) == {}
    store.close()
    other.close()
