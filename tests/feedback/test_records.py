"""What goes into the store comes out of it: random rankings with all that a record can hold, on both databases."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preceptor.data.foreign import comparison_of
from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Comparison, Prompt, Response
from preceptor.data.sources import read_records
from preceptor.feedback.audit import history
from preceptor.feedback.formats import pairs, read_comparisons, write_comparisons
from preceptor.feedback.place import is_store
from preceptor.feedback.records import add_comparisons, add_items, comparisons, item_content, item_row, set_gold
from preceptor.feedback.store import Store, open_store
from preceptor.run.errors import UserError
from tests.feedback.conftest import asked

GOLDEN = Path(__file__).parent.parent / "data" / "golden" / "Comparison.jsonl"
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
maybe = st.none() | text
judgements = st.fixed_dictionaries({"scores": st.none() | st.dictionaries(
    st.sampled_from(["overall", "accuracy", "concision"]), st.integers(1, 7).map(float), min_size=1),
    "flags": st.none() | st.lists(text, max_size=2), "comment": maybe})
contents = text | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": text}), min_size=1, max_size=2)


@st.composite
def responses(draw: st.DrawFn) -> Response:
    return Response(draw(text), draw(st.sampled_from(["eos", "length", "stop"])), draw(maybe),
                    draw(st.none() | st.just({"temperature": 0.7, "top": [1, None]})),
                    draw(st.none() | st.lists(st.integers(0, 2**40), max_size=3)), draw(maybe), **draw(judgements))


@st.composite
def rankings(draw: st.DrawFn, count: int) -> list[list[int]]:
    order, cuts = draw(st.permutations(range(count))), draw(st.lists(st.booleans(), min_size=count, max_size=count))
    groups: list[list[int]] = []
    for index, cut in zip(order, cuts):
        if cut or not groups:
            groups.append([])
        groups[-1].append(index)
    return groups


@st.composite
def records(draw: st.DrawFn, id: str) -> Comparison:
    said = draw(st.lists(responses(), min_size=2, max_size=5))
    said += draw(st.sampled_from([[], said[:1]]))  # the same answer twice
    messages = [{"role": "user", "content": draw(contents)}, {"role": "assistant", "content": draw(text)}]
    prompt = Prompt(draw(text), messages, draw(maybe), draw(maybe), draw(maybe))
    return Comparison(id, prompt, said, draw(rankings(len(said))), draw(st.sampled_from(["ann", "bo", "judge"])),
                      draw(st.sampled_from(["person", "model", "program"])),
                      draw(st.none() | st.permutations(range(len(said)))), draw(st.none() | st.lists(text, max_size=2)),
                      draw(st.none() | st.booleans()), draw(st.none() | st.integers(0, 9)),
                      draw(st.none() | st.floats(0, 1e6)), draw(st.none() | st.just("2026-01-02T03:04:05Z")))


@st.composite
def many_records(draw: st.DrawFn) -> list[Comparison]:
    return [draw(records(f"c{n}")) for n in range(draw(st.integers(1, 4)))]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(many_records())
def test_files_and_a_store_give_back_what_they_were_given(tmp_path_factory: pytest.TempPathFactory,
                                                          given_records: list[Comparison]) -> None:
    folder = tmp_path_factory.mktemp("round")
    store = open_store(folder / "one.sqlite")
    assert add_comparisons(store, given_records) == len(given_records)
    assert list(comparisons(store)) == given_records
    for name, format in (("a.jsonl", "comparisons"), ("a.parquet", "parquet")):
        write_comparisons(folder / name, list(comparisons(store)), format)
        assert read_comparisons(folder / name) == given_records
    store.close()


def test_both_databases_hold_hard_texts(store: Store) -> None:
    [first, second] = read_jsonl(GOLDEN, Comparison)
    said = [Response("NUL \x00, 中文 🙂", comment="'; DROP TABLE labels; --"), Response("\\u0000", flags=[])]
    hard = replace(second, id="it's", prompt=Prompt("p\x00", [{"role": "user", "content": "\x00"}]), responses=said)
    assert add_comparisons(store, [first, second, hard]) == 3
    assert list(comparisons(store)) == [first, second, hard]
    assert add_comparisons(store, [first, second, hard]) == 0  # a second import changes nothing
    assert len(list(comparisons(store))) == 3
    assert [line["what"] for line in history(store)] == ["comparisons added"] * 2
    assert [one.id for one in comparisons(store, kinds=["program"])] == ["k2", "it's"]


def test_an_id_that_names_two_things_is_refused_and_nothing_is_added(small_store: Store) -> None:
    [first, second] = read_jsonl(GOLDEN, Comparison)
    add_comparisons(small_store, [first])
    with pytest.raises(UserError, match="another comparison with the id 'k1'"):
        add_comparisons(small_store, [second, replace(first, ranking=[[0], [1], [2]])])
    with pytest.raises(UserError, match="Two different comparisons have the id"):
        add_comparisons(small_store, [second, replace(second, ranking=[[1], [0]])])
    assert list(comparisons(small_store)) == [first]


def test_rankings_of_the_same_answers_in_another_order_meet_in_one_item(small_store: Store) -> None:
    [(prompt, said)] = asked(1)
    one = Comparison("a", prompt, said, [[0], [1, 2]], "ann", "person")
    other = Comparison("b", prompt, said[::-1], [[2], [0, 1]], "bo", "person")
    [key] = add_items(small_store, [(prompt, said)])
    add_comparisons(small_store, [one, other])
    assert list(comparisons(small_store, item=key)) == [one, other]
    assert set_gold(small_store, [other]) == 1
    _, shown = item_content(small_store, key)
    with small_store.reading() as connection:
        [[best], rest] = item_row(connection, key)["gold"]["ranking"]
    assert shown[best] == said[0] and len(rest) == 2


def test_datasets_loads_the_table(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rankings = read_jsonl(GOLDEN, Comparison)
    write_comparisons(tmp_path / "a.parquet", rankings, "parquet")
    loaded = datasets.Dataset.from_parquet(str(tmp_path / "a.parquet"), cache_dir=str(tmp_path / "cache"))
    assert loaded["ranking"][:] == [one.ranking for one in rankings]
    assert loaded[0]["prompt"]["messages"] == rankings[0].prompt.messages
    loaded.to_parquet(str(tmp_path / "b.parquet"))
    assert read_comparisons(tmp_path / "b.parquet") == rankings


def test_foreign_formats_keep_order_and_ties(tmp_path: Path) -> None:
    [first, second] = read_jsonl(GOLDEN, Comparison)
    assert write_comparisons(tmp_path / "ranked.jsonl", [first, second], "ranked") == {"rows": 2, "ties": 0}
    back = read_records(tmp_path / "ranked.jsonl", comparison_of, Counter())
    assert [one.ranking for one in back] == [first.ranking, second.ranking]
    assert write_comparisons(tmp_path / "pairs.jsonl", [first, second], "pairs") == {"rows": 2, "ties": 2}
    for row, better in zip(pairs(first), ("Nora does.", "Nora.")):
        assert row["chosen"] == [{"role": "assistant", "content": better}]
        assert row["rejected"] == [{"role": "assistant", "content": "Tom."}]
    again = read_records(tmp_path / "pairs.jsonl", comparison_of, Counter())
    assert [one.ranking for one in again] == [[[0], [1]]] * 2
    write_jsonl(tmp_path / "bad.jsonl", [{"prompt": "?", "candidates": ["a", "b"], "ranks": [1]}])
    with pytest.raises(UserError, match="one number for each answer"):
        read_records(tmp_path / "bad.jsonl", comparison_of, Counter())


@pytest.mark.parametrize(("make", "said"), [
    (lambda path: add_items(open_store(path / "a.sqlite"), [(asked(1)[0][0], [])]), "nothing to compare"),
    (lambda path: open_store(path / "b.sqlite", create=False), "no store of labels"),
    (lambda path: open_store("mysql://x/y"), "cannot be a database of 'mysql'"),
    (lambda path: open_store("postgresql://x:secret@127.0.0.1:1/y"), r"x:\*\*\*@127.0.0.1:1/y' cannot be opened"),
    (lambda path: write_comparisons(path / "c", [], "csv"), "no format 'csv'"),
])
def test_bad_places_and_formats_are_named(tmp_path: Path, make: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make(tmp_path)


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite").write_text(json.dumps({"no": "store"}) * 200)
    with pytest.raises(UserError, match="cannot be opened"):
        open_store(tmp_path / "x.sqlite")
    assert is_store(tmp_path / "x.sqlite") and is_store("postgresql://h/d") and not is_store(tmp_path)
