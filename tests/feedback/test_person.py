"""A person as a reward: a scripted one works through the store while the program waits."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from preceptor.data.jsonl import read_jsonl, write_jsonl
from preceptor.data.records import Prompt, Response
from preceptor.feedback.assign import next_item, skip
from preceptor.feedback.judgements import Judgement, submit
from preceptor.feedback.labelers import add_labeler, exclude
from preceptor.feedback.machines import rank_with
from preceptor.feedback.person import WaitingPerson
from preceptor.feedback.records import comparisons
from preceptor.feedback.store import Store, open_store
from preceptor.models.causal import save_model
from preceptor.recipe.load import load_recipe
from preceptor.recipe.runner import run_recipe
from preceptor.reward.described import run_person
from preceptor.reward.options import PersonOptions
from preceptor.run import machine
from preceptor.run.errors import UserError
from preceptor.run.log import Log, read_log
from preceptor.run.step import Step
from tests.rlhf.tiny import tiny_policy, tiny_prompts, word_tokenizer

PROMPTS = [Prompt(id, [{"role": "user", "content": f"What is {id}?"}]) for id in ("p", "p", "q", "q", "q")]
ANSWERS = [Response(text) for text in ("a", "bb", "a", "ccc", "ccc")]


def by_length(text: str) -> int:
    return min(7, 1 + len(text))


def rank_one(store: Store, name: str, mark: Callable[[str], int] = by_length, marks: bool = True) -> bool:
    """Rank what comes next as on the page; false where there is nothing."""
    held = next_item(store, name)
    if held is None:
        return False
    values = [mark(answer.text) for answer in held.responses]
    ranking = [[n for n, value in enumerate(values) if value == level] for level in sorted(set(values), reverse=True)]
    scores = [{"overall": value} for value in values] if marks else []
    submit(store, name, held.item, Judgement(ranking, scores=scores))
    return True


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "feedback.sqlite")
    for name in ("ada", "bob", "eve"):
        add_labeler(opened, name)
    yield opened
    opened.close()


def waiting(tmp_path: Path, sleep: Callable[[float], None], said: list[str] | None = None,
            **options: object) -> WaitingPerson:
    say = said.append if said is not None else lambda _: None
    return WaitingPerson(tmp_path / "feedback.sqlite", sleep=sleep, say=say,
                         **{"overlap": 1, "score_by": "overall", "every": 1.0, **options})


def nobody(_: float) -> None:
    raise AssertionError("it waits though all is ranked")


def test_it_waits_for_marks_and_asks_for_nothing_twice(tmp_path: Path, store: Store) -> None:
    said: list[str] = []
    person = waiting(tmp_path, lambda _: rank_one(store, "ada"), said)
    assert person.score(PROMPTS, ANSWERS) == [2, 3, 2, 4, 4]
    assert said == ["2 prompts wait for a person to rank their answers; show them with preceptor label, where the "
                    "store is 'feedback.sqlite'"]
    assert waiting(tmp_path, nobody).score(PROMPTS, ANSWERS) == [2, 3, 2, 4, 4]  # as a resumed run does
    assert waiting(tmp_path, nobody, score_by="ranking").score(PROMPTS[:2], ANSWERS[:2]) == [0, 1]
    found = list(comparisons(store))
    assert [(one.labeler, one.kind, len(one.responses)) for one in found] == [("ada", "person", 2)] * 2


def test_scores_of_several_people_are_averaged_and_ties_count_half(tmp_path: Path, store: Store) -> None:
    taste = {"ada": lambda text: 5, "bob": by_length, "eve": by_length}
    work = iter(["ada", "bob", "ada", "bob", "eve"])

    def look(_: float) -> None:
        name = next(work)
        rank_one(store, name, taste[name])

    assert waiting(tmp_path, look, overlap=2).score(PROMPTS, ANSWERS) == [3.5, 4.0, 3.5, 4.5, 4.5]
    again = waiting(tmp_path, nobody, overlap=2, score_by="ranking")
    assert again.score(PROMPTS, ANSWERS) == [0.25, 0.75, 0.25, 0.75, 0.75]


def test_rankings_of_excluded_labelers_and_of_machines_do_not_count(tmp_path: Path, store: Store) -> None:
    """Nor does an item hang when its only place was filled by somebody who is excluded afterwards, or skipped it."""
    steps = iter(range(100))

    class Machine:
        def score(self, prompts: list[Prompt], responses: list[Response]) -> list[float]:
            return [0.0] * len(responses)

    def look(_: float) -> None:
        number = next(steps)
        if number == 0:
            rank_with(store, Machine(), "robot", "model")
            exclude(store, "eve", True, "admin")
            rank_one(store, "eve", lambda text: 7)
        elif number == 1:
            skip(store, "ada", next_item(store, "ada").item, "too_long")
        else:
            rank_one(store, "bob")

    assert waiting(tmp_path, look).score(PROMPTS, ANSWERS) == [2, 3, 2, 4, 4]
    assert {one.labeler for one in comparisons(store, kinds=["person"])} == {"bob"}


def test_what_has_nothing_to_rank(tmp_path: Path, store: Store) -> None:
    same = waiting(tmp_path, nobody)
    assert same.score(PROMPTS[:2], [Response("a"), Response("a")]) == [4.0, 4.0]
    with pytest.raises(UserError, match="one answer only to the prompt 'q'"):
        same.score(PROMPTS[:3], ANSWERS[:3])
    with pytest.raises(UserError, match="'p' by 'ada' has no overall marks"):
        waiting(tmp_path, lambda _: rank_one(store, "ada", marks=False)).score(PROMPTS[:2], ANSWERS[:2])


def test_a_policy_learns_from_a_person_who_works_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 1)
    save_model(tiny_policy(), word_tokenizer(), tmp_path / "policy")
    write_jsonl(tmp_path / "prompts.jsonl", tiny_prompts())
    (tmp_path / "recipe.yaml").write_text(f"""
name: by_hand
steps:
  - {{name: me, stage: person, options: {{every: 0.02}}}}
  - name: best
    stage: rlhf
    needs: {{policy: {tmp_path}/policy, reward: me, prompts: {tmp_path}/prompts.jsonl}}
    options: {{algorithm: best_of_n, answers: 3, max_tokens: 4, epochs: 1}}
  - name: rloo
    stage: rlhf
    needs: {{policy: {tmp_path}/policy, reward: me, prompts: {tmp_path}/prompts.jsonl}}
    options: {{algorithm: rloo, iterations: 2, episodes: 4, answers_per_prompt: 2, minibatches: 1, max_tokens: 4}}
""")
    (tmp_path / "run").mkdir()
    store = open_store(tmp_path / "run" / "feedback.sqlite")
    add_labeler(store, "ada")
    done = threading.Event()

    def works() -> None:
        while not done.is_set():
            if not rank_one(store, "ada", lambda text: 1 + min(6, text.split().count("good"))):
                done.wait(0.02)

    person = threading.Thread(target=works)
    person.start()
    try:
        run_recipe(load_recipe(str(tmp_path / "recipe.yaml")), tmp_path / "run")
    finally:
        done.set()
        person.join()
        store.close()
    for answer in read_jsonl(tmp_path / "run" / "01-best" / "answers.jsonl", Response):
        assert answer.scores["reward"] in (1 + answer.text.split().count("good"), 4.0)
    assert {1, 2} <= set(read_log(tmp_path / "run" / "log.jsonl")["rloo"])


@pytest.mark.parametrize(("options", "cause"), [({"overlap": 0}, "wait for 0 rankings"), ({"every": 0.0}, "every 0 s"),
                                                ({"store": "labels.db"}, "'labels.db' is no store")])
def test_options_that_cannot_work_are_refused(tmp_path: Path, options: dict[str, object], cause: str) -> None:
    step = Step("me", tmp_path, {}, PersonOptions(**options), 0, Log(tmp_path / "log.jsonl", "me", 1))
    with pytest.raises(UserError, match=cause):
        run_person(step)
