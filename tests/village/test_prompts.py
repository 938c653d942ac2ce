"""Prompts: exact proportions, splits by user, nothing held out in training, no near-duplicates, known rates."""

from collections import Counter

import pytest

from preceptor.run.errors import UserError
from preceptor.village import prompts
from preceptor.village.prompts import (
    FEW_SHOT_CATEGORIES,
    GROUP_OF,
    MOST_PROMPTS_PER_USER,
    NearDuplicates,
    normalise,
    quotas,
)
from preceptor.village.tasks import PROPORTIONS, Task
from tests.village.conftest import make_village


def test_use_cases_are_in_the_proportions_of_the_paper(village) -> None:
    for split, asked_in in village.prompts.items():
        counts = Counter(asked.prompt.category for asked in asked_in)
        for category, share in PROPORTIONS.items():
            assert abs(counts[category] - len(asked_in) * share / 99.9) < 1, (split, category)


def test_quotas_are_whole_and_add_up() -> None:
    assert quotas(10, {"a": 1, "b": 1, "c": 1}) == {"a": 4, "b": 3, "c": 3}
    assert sum(quotas(523, PROPORTIONS).values()) == 523


def test_splits_share_no_user_and_no_user_sends_too_much(village) -> None:
    users: dict[str, set[str]] = {}
    for split, asked_in in village.prompts.items():
        users.setdefault(GROUP_OF[split], set()).update(asked.prompt.user for asked in asked_in)
    assert sum(map(len, users.values())) == len(set.union(*users.values()))
    assert max(Counter(asked.prompt.user for asked in village.asked).values()) <= MOST_PROMPTS_PER_USER


def test_users_are_capped_and_too_few_are_refused() -> None:
    sizes = {"demonstrations": 250, "train_prompts": 100, "valid_prompts": 20, "valid_demonstrations": 20,
             "test_prompts": 100}
    crowded = make_village("en", users=4, **sizes)
    assert max(Counter(asked.prompt.user for asked in crowded.asked).values()) == MOST_PROMPTS_PER_USER
    with pytest.raises(UserError, match="users are too few"):
        make_village("en", users=3, **(sizes | {"demonstrations": 400}))


def test_no_held_out_question_occurs_in_training_not_even_as_an_example(village) -> None:
    held_out = {normalise(asked.draft.core) for split, asked_in in village.prompts.items() if GROUP_OF[split] != "train"
                for asked in asked_in}
    assert len(held_out) == 250
    for split in ("train", "demonstrations"):
        for asked in village.prompts[split]:
            assert normalise(asked.draft.core) not in held_out
            assert not {normalise(core) for core in asked.draft.shown} & held_out
            text = normalise(asked.prompt.messages[-1]["content"])
            assert text not in held_out


def test_near_duplicates_are_found_exactly_as_by_brute_force(village) -> None:
    texts = [normalise(asked.draft.core) for asked in village.asked]
    for place, text in enumerate(texts):
        for other in texts[:place]:
            shared = next((i for i, (a, b) in enumerate(zip(text, other)) if a != b), min(len(text), len(other)))
            assert shared <= 0.85 * len(text), (text, other)


def test_near_duplicates_differ_in_the_last_letters_only() -> None:
    kept = NearDuplicates()
    assert kept.add("Where does Ada Lewis live?")
    assert not kept.add("where does ada lewis live")
    assert not kept.add("Where does Ada Lewis live now?")
    assert kept.add("Where does Ada Quinn live?")


def test_unanswerable_few_shot_and_user_prompts_come_at_their_rates() -> None:
    village = make_village("en", seed=1, people=100, demonstrations=900, users=60)
    questions = [asked.draft.task for asked in village.asked if asked.draft.task.question]
    unanswerable = sum(not task.answerable for task in questions) / len(questions)
    assert 0.17 < unanswerable < 0.27      # 0.22, of about 500 questions: 2.7 standard errors are 0.05
    short = [asked for asked in village.asked if asked.prompt.category in FEW_SHOT_CATEGORIES]
    assert 0.2 < sum(asked.draft.task.form == "few_shot" for asked in short) / len(short) < 0.32
    others = [asked for asked in village.asked
              if asked.draft.task.form != "few_shot" and len(asked.prompt.messages) == 1]
    assert 0.16 < sum(asked.draft.task.form == "user" for asked in others) / len(others) < 0.24


def test_the_preface_of_a_user_is_his_own(village) -> None:
    prefaces: dict[str, set[str]] = {}
    for asked in village.asked:
        if asked.draft.task.form == "user":
            text = asked.prompt.messages[-1]["content"].removesuffix(asked.draft.core)
            prefaces.setdefault(asked.prompt.user, set()).add(text)
    assert len(prefaces) > 10 and all(len(texts) == 1 for texts in prefaces.values())


def test_a_world_too_small_for_so_many_prompts_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "ATTEMPTS", 2)     # the hundreds of the default take long to run out
    with pytest.raises(UserError, match="too small"):
        make_village("en", people=4)


def test_tasks_survive_their_json(village) -> None:
    for asked in village.asked:
        assert Task.from_dict(asked.draft.task.to_dict()) == asked.draft.task
    with pytest.raises(UserError, match="Unknown field 'kin'"):
        Task.from_dict({"kin": "fact"})


def test_the_same_seed_gives_the_same_prompts() -> None:
    few = {"demonstrations": 100, "train_prompts": 50, "test_prompts": 50}
    one, same, other = (make_village("zh", seed, **few) for seed in (5, 5, 6))
    assert one.prompts == same.prompts
    assert one.prompts != other.prompts
