"""The screening test: what candidates rank and write, how they are scored, and that they reach nothing else."""

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest

from preceptor.cli.main import main
from preceptor.data.jsonl import write_jsonl
from preceptor.data.records import Comparison, Prompt, Response
from preceptor.feedback.assign import next_item
from preceptor.feedback.audit import history
from preceptor.feedback.labelers import add_labeler, all_labelers
from preceptor.feedback.records import add_comparisons, comparisons, item_content, set_gold
from preceptor.feedback.screening import gold_questions, screening
from preceptor.feedback.store import Store, open_store
from preceptor.feedback.trials import add_trials, score_trial, to_score, trials_of, write_trial, written
from preceptor.feedback.writings import all_writings
from preceptor.run.errors import UserError
from tests.web.conftest import Person, some_items

SignIn = Callable[..., Person]
DELICATE = [Prompt(f"d{n}", [{"role": "user", "content": f"Why are they all like that? ({n})"}]) for n in range(2)]


def _gold(store: Store) -> list[Comparison]:
    """Two gold questions; the first answer of each is the best, the last is sensitive."""
    known = []
    for number, (prompt, responses) in enumerate(some_items(2, 4)):
        judged = [*responses[:3], Response(**responses[3].to_dict() | {"flags": ["violent"]})]
        known.append(Comparison(f"gold{number}", prompt, judged, [[0], [1], [2], [3]], "researchers", "person"))
    add_comparisons(store, known, who="test")
    set_gold(store, known)
    return known


def _answer(person: Person, *, rightly: bool) -> None:
    """Rank what the page shows, in the order of the gold question or its reverse."""
    page = unescape(person.client.get("/label").text)
    item = json.loads(re.search(r'data-state="(\{.*?\})">', page).group(1))["item"]
    order = _order(person, item)
    body = {"ranking": [[index] for index in (order if rightly else order[::-1])],
            "flags": [["violent"] if index == order[-1] and rightly else [] for index in range(4)]}
    assert person.send(f"/api/items/{item}/ranking", body).status_code == 200


def _order(person: Person, item: str) -> list[int]:
    """The item's answers as `_gold` made them; the store keeps them by their keys."""
    _, responses = item_content(person.client.app.state.room.store, item)
    return sorted(range(4), key=lambda index: int(responses[index].model.rsplit("-", 1)[1]))


def test_candidates_answer_gold_questions_alone_and_an_admin_admits(sign_in: SignIn, store: Store) -> None:
    _gold(store)
    good, bad, admin = sign_in("Good", "candidate"), sign_in("Bad", "candidate"), sign_in("Ada", "admin")
    assert len(gold_questions(store).ranks) == 2 and good.client.get("/write").status_code == 403
    _answer(good, rightly=True)
    assert [one.passes for one in screening(store)] == [None, None]  # not before the last question
    _answer(good, rightly=True)
    for _ in range(2):
        _answer(bad, rightly=False)
    for candidate in (good, bad):
        assert "You have answered all the questions of the test" in candidate.client.get("/label").text
    by_name = {one.labeler: one for one in screening(store)}
    assert (by_name["Good"].ranking, by_name["Good"].sensitive, by_name["Good"].passes) == (1.0, 1.0, True)
    assert (by_name["Bad"].ranking, by_name["Bad"].sensitive, by_name["Bad"].passes) == (0.0, 0.75, False)
    page = admin.client.get("/screening").text
    assert "reaches what is asked" in page and "does not reach it" in page and "2 / 2" in page
    assert admin.post("/people/role", name="Good", role="labeler").status_code == 303
    assert all_labelers(store)["Good"]["role"] == "labeler" and "data-state" in good.client.get("/label").text
    assert "data-state" not in bad.client.get("/label").text


def test_a_candidate_reaches_no_item_but_gold(sign_in: SignIn, store: Store) -> None:
    add_labeler(store, "Lee")
    item = next_item(store, "Lee").item
    cunning = sign_in("Cunning", "candidate")
    for method, path, sent in (("POST", "ranking", {"ranking": [[0, 1, 2, 3]]}), ("PUT", "draft", {"draft": {}}),
                               ("POST", "skip", {"reason": "broken"})):
        assert cunning.send(f"/api/items/{item}/{path}", sent, method).status_code == 404
    assert not list(comparisons(store)) and next_item(store, "Lee").item == item
    _gold(store)
    asked = re.search(r'"item": "(\w+)"', unescape(cunning.client.get("/label").text)).group(1)
    sent = {"ranking": [[0, 1, 2, 3]], "corrections": {"0": "train on me"}}
    assert cunning.send(f"/api/items/{asked}/ranking", sent).status_code == 400 and not all_writings(store)


def test_demonstrations_are_scored_blindly_and_decide(sign_in: SignIn, store: Store) -> None:
    assert add_trials(store, DELICATE) == 2 and add_trials(store, DELICATE) == 0
    good, bad = sign_in("Good Hand", "candidate"), sign_in("Bad Hand", "candidate")
    rea, ada = sign_in("Rea", "reviewer"), sign_in("Ada", "admin")
    keys = [trial.key for trial in trials_of(store, "Good Hand")]
    for person, text in ((good, "People differ; ask them."), (bad, "They just are <b>bad</b>.")):
        for key in keys:
            assert person.post("/test", trial=key, text="a first try").status_code == 303
            assert person.post("/test", trial=key, text=text).status_code == 303
    assert "People differ" in good.client.get("/test").text and "People differ" not in bad.client.get("/test").text
    assert good.post("/test", trial="none", text="x").status_code == 400 == good.post("/test", text="x").status_code
    assert good.post("/test", trial=keys[0], text=" ").status_code == 303  # nothing is written, and nothing is lost
    assert [trial.text for trial in trials_of(store, "Good Hand")] == ["People differ; ask them."] * 2
    assert {one.passes for one in screening(store)} == {None}
    waiting = to_score(store, "Rea")
    assert len(waiting) == 4 and waiting[0].prompt == waiting[1].prompt
    page = rea.client.get("/screening").text
    assert "<b>bad" not in page and "Hand" not in page[page.index('id="demonstrations"'):]
    for one in waiting:
        mark = 7 if "differ" in one.text else 2
        assert rea.post("/screening/score", demonstration=str(one.number), score=str(mark)).status_code == 303
    assert ada.post("/screening/score", demonstration=str(waiting[0].number), score="8").status_code == 422
    assert ada.post("/screening/score", demonstration="99", score="3").status_code == 404
    assert good.post("/test", trial=keys[0], text="better still").status_code == 400  # it has a score
    assert "<textarea name=\"text\"" not in good.client.get("/test").text
    by_name = {one.labeler: one for one in screening(store)}
    assert by_name["Good Hand"].passes and by_name["Bad Hand"].passes is False
    assert by_name["Good Hand"].written.mean == 7 and not to_score(store, "Rea") and len(to_score(store, "Ada")) == 4
    assert not all_writings(store)  # nothing of the test is ever trained on
    assert [line["who"] for line in history(store) if line["what"] == "demonstration scored"] == ["Rea"] * 4


def test_a_score_is_the_mean_over_raters_and_never_of_oneself(store: Store) -> None:
    add_trials(store, DELICATE)
    first, second = (trial.key for trial in trials_of(store, "Ann"))
    write_trial(store, "Ann", first, "one")
    write_trial(store, "Ann", second, "two")
    numbers = {one.text: one.number for one in to_score(store, "Rea")}
    assert not to_score(store, "Ann")
    with pytest.raises(KeyError):
        score_trial(store, "Ann", numbers["one"], 7)
    score_trial(store, "Rea", numbers["one"], 3)
    score_trial(store, "Rea", numbers["one"], 4)  # the later word counts
    score_trial(store, "Bob", numbers["one"], 7)
    assert (written(store)["Ann"].written, written(store)["Ann"].scored, written(store)["Ann"].mean) == (2, 1, 5.5)
    score_trial(store, "Rea", numbers["two"], 6)
    assert written(store)["Ann"].mean == 5.75  # each demonstration counts the same
    with pytest.raises(UserError):
        score_trial(store, "Rea", numbers["two"], 0)


def test_a_candidate_says_what_he_can_judge(sign_in: SignIn, store: Store) -> None:
    cal, rea = sign_in("Cal", "candidate"), sign_in("Rea", "reviewer")
    assert "not said" in rea.client.get("/screening").text
    assert cal.client.post("/test", data={"form": cal.form, "topics": ["religion", "age"], "words": "<i>also</i>"},
                           follow_redirects=False).status_code == 303
    page = rea.client.get("/screening").text
    assert "Religion · Age" in page and "&lt;i&gt;also" in page
    assert cal.client.get("/test").text.count(" checked") == 2
    assert cal.post("/test", topics="nonsense").status_code == 400
    assert screening(store)[0].assessment.topics == ["religion", "age"]


def test_prompts_for_the_test_come_from_a_file_and_an_empty_store_says_how(sign_in: SignIn, tmp_path: Path,
                                                                           capsys: pytest.CaptureFixture) -> None:
    page = sign_in("Rea", "reviewer").client.get("/screening").text
    assert "no gold questions yet" in page and "--trials FILE" in page and "no candidates yet" in page
    write_jsonl(tmp_path / "delicate.jsonl", DELICATE)
    (tmp_path / "run").mkdir()
    assert main(["label", str(tmp_path / "run"), "--trials", str(tmp_path / "delicate.jsonl")]) == 0
    assert "2 new prompts" in capsys.readouterr().err
    store = open_store(tmp_path / "run" / "feedback.sqlite")
    assert [trial.prompt for trial in trials_of(store, "x")] in (DELICATE, DELICATE[::-1])
    assert screening(store) == [] and gold_questions(store).ranks == {}
    store.close()
