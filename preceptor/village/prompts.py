"""The prompts of all splits: ten use cases in exact proportions, three kinds of prompt, users, no near-duplicates.

Two prompts are near-duplicates when, written in lower case without marks and spaces, they begin alike for more than
85 % of the later one. (The templates share beginnings by design: at 85 % only the last letters of a name or a trailing
word may differ.) The rule is applied to the question itself, without examples or preface, over all splits together,
held-out splits first, so that no held-out question, not even as a solved example, is met in training.
"""

import bisect
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from preceptor.data.records import Prompt
from preceptor.run.errors import UserError
from preceptor.village.forms import draft_form, draft_ideas, draw_slots, slot_names
from preceptor.village.options import VillageOptions
from preceptor.village.questions import draft_fact, draft_profile, true_remark, weighted
from preceptor.village.realizer import Realizer
from preceptor.village.tasks import PROPORTIONS, Draft, budget

LONGEST_COMMON_PREFIX = 0.85
MOST_PROMPTS_PER_USER = 200
ATTEMPTS = 300                                                  # per prompt, before the world counts as too small
FEW_SHOT_CATEGORIES = ("open_qa", "rewrite", "classification", "other")     # short enough to show two examples
EXAMPLES = 2
GROUP_OF = {"test": "test", "valid": "valid", "valid_demonstrations": "valid", "train": "train",
            "demonstrations": "train"}                          # the group of users of every split
GROUPS = ("train", "test", "valid")
GENERATION = {"profile": 0.4, "letter": 0.15, "story": 0.13, "invitation": 0.1, "thanks": 0.08, "poem": 0.07,
              "sign": 0.07}
CHAT = {"follow_up": 0.4, "greeting": 0.2, "comfort": 0.15, "share_joy": 0.15, "farewell": 0.1}


class Drafter:
    """Draws drafts of any use case in one language."""

    def __init__(self, options: VillageOptions, realizer: Realizer) -> None:
        self.options, self.realizer, self.world = options, realizer, realizer.world

    def draft(self, rng: random.Random, category: str) -> Draft:
        """A plain prompt of a use case."""
        kind = weighted(rng, self._kinds(category))
        rates = (self.options.unanswerable, self.options.obscure_questions)
        if kind in ("fact", "follow_up"):
            return draft_fact(rng, self.world, self.realizer, *rates, chat=kind == "follow_up")
        if kind == "profile":
            return draft_profile(rng, self.world, self.realizer, *rates)
        wander = true_remark(rng, self.world, self.realizer)
        language = self.realizer.language
        if category == "brainstorming":
            return draft_ideas(rng, self.realizer, kind, language.ideas[kind], wander)
        return draft_form(rng, self.realizer, category, kind, language.forms[category][kind], wander)

    def _kinds(self, category: str) -> dict[str, float]:
        """The kinds of task of a use case with their weights."""
        language, share = self.realizer.language, self.options.unanswerable
        if category == "open_qa":
            return {"fact": 1.0}
        if category == "generation":
            return GENERATION
        if category == "chat":
            return CHAT
        if category == "brainstorming":
            return dict.fromkeys(language.ideas, 1.0)
        forms = language.forms[category]
        refused = sum(bool(form.invented) for form in forms.values())
        return {kind: share / refused if form.invented else (1 - share * bool(refused)) / (len(forms) - refused)
                for kind, form in forms.items()}

    def few_shot(self, rng: random.Random, draft: Draft) -> Draft:
        """The prompt after two solved examples of its use case."""
        language, examples = self.realizer.language, []
        while len(examples) < EXAMPLES:
            example = self.draft(rng, draft.task.category)
            if example.task.answerable and example.core not in (draft.core, *(one.core for one in examples)):
                examples.append(example)
        shown = [f"{language.question_label}{one.core}\n{language.answer_label}{rng.choice(one.good)}"
                 for one in examples]
        asked = f"{language.question_label}{draft.core}\n{language.answer_label}".rstrip()
        return draft.with_last_message("\n\n".join([*shown, asked]), "few_shot", tuple(one.core for one in examples))

    def preface(self, rng: random.Random) -> str:
        """Who a user is, in a sentence."""
        text = rng.choice(self.realizer.language.prefaces)
        return self.realizer.fill(text, draw_slots(rng, self.realizer, slot_names([text])))


def normalise(text: str) -> str:
    """Lower case, letters and digits only."""
    return "".join(filter(str.isalnum, text.lower()))


class NearDuplicates:
    """Texts kept so far, in sorted order: the longest common prefix of a text is with one of its neighbours."""

    def __init__(self) -> None:
        self._kept: list[str] = []

    def add(self, text: str) -> bool:
        """Keep the text unless it is a near-duplicate; says whether it was kept."""
        text = normalise(text)
        place = bisect.bisect_left(self._kept, text)
        for other in self._kept[max(0, place - 1):place + 1]:
            if _common_prefix(text, other) > LONGEST_COMMON_PREFIX * len(text):
                return False
        self._kept.insert(place, text)
        return True


def _common_prefix(one: str, other: str) -> int:
    for place, (left, right) in enumerate(zip(one, other)):
        if left != right:
            return place
    return min(len(one), len(other))


def quotas(total: int, shares: dict[str, float]) -> dict[str, int]:
    """Whole counts in proportion to the shares, by the largest remainders."""
    exact = {name: total * share / sum(shares.values()) for name, share in shares.items()}
    counts = {name: int(value) for name, value in exact.items()}
    for name in sorted(exact, key=lambda name: counts[name] - exact[name])[:total - sum(counts.values())]:
        counts[name] += 1
    return counts


@dataclass(frozen=True)
class Asked:
    """A draft and the prompt record that asks it."""

    draft: Draft
    prompt: Prompt


def draw_users(rng: random.Random, users: int, sizes: dict[str, int]) -> dict[str, list[str]]:
    """Users for groups of splits in proportion to their prompts; each user belongs to one group.

    Raises:
        UserError: there are fewer users than prompts need at 200 each.
    """
    names = [f"user{number:03d}" for number in range(users)]
    rng.shuffle(names)
    counts = {group: max(count, 1) for group, count in quotas(users, sizes).items()}
    counts[max(counts, key=counts.__getitem__)] -= sum(counts.values()) - users
    groups = {}
    for group, count in counts.items():
        groups[group], names = names[:max(count, 0)], names[max(count, 0):]
        if sizes[group] > MOST_PROMPTS_PER_USER * len(groups[group]):
            raise UserError(f"{users} users are too few: a user sends at most {MOST_PROMPTS_PER_USER} prompts.",
                            "Raise 'users' or lower the numbers of prompts and demonstrations.")
    return groups


def draw_prompts(options: VillageOptions, seed: int, realizers: Sequence[Realizer]) -> dict[str, list[Asked]]:
    """The prompts of the splits "test", "valid", "valid_demonstrations", "train", "demonstrations".

    Raises:
        UserError: the world has too few different questions, or there are too few users.
    """
    rng = random.Random(f"village/{seed}/prompts")
    sizes = {"test": options.test_prompts, "valid": options.valid_prompts,
             "valid_demonstrations": options.valid_demonstrations, "train": options.train_prompts,
             "demonstrations": options.demonstrations}
    totals = {group: sum(sizes[split] for split in sizes if GROUP_OF[split] == group) for group in GROUPS}
    groups = draw_users(rng, options.users, totals)
    senders = {group: _Senders(rng, users) for group, users in groups.items()}
    drafters = [Drafter(options, realizer) for realizer in realizers]
    kept, held_out, splits = NearDuplicates(), set(), {}
    for split, size in sizes.items():
        training = GROUP_OF[split] == "train"
        categories = [name for name, count in quotas(size, PROPORTIONS).items() for _ in range(count)]
        rng.shuffle(categories)
        splits[split] = []
        for number, category in enumerate(categories):
            drafter, user = rng.choice(drafters), senders[GROUP_OF[split]].draw()
            draft = _new_draft(rng, drafter, category, user, seed, kept, held_out if training else frozenset())
            if not training:
                held_out.add(normalise(draft.core))
            splits[split].append(_ask(draft, drafter.realizer, f"{split}-{number:05d}", user))
    return splits


def _new_draft(rng: random.Random, drafter: Drafter, category: str, user: str, seed: int, kept: NearDuplicates,
               forbidden: set[str] | frozenset[str]) -> Draft:
    """A draft whose question is not a near-duplicate and whose examples are not held-out questions."""
    options = drafter.options
    for _ in range(ATTEMPTS):
        draft = drafter.draft(rng, category)
        if category in FEW_SHOT_CATEGORIES and rng.random() < options.few_shot:
            draft = drafter.few_shot(rng, draft)
        elif len(draft.messages) == 1 and rng.random() < options.user_based:
            # What a user says of himself is his own, in every prompt.
            preface = drafter.preface(random.Random(f"village/{seed}/{user}/{drafter.realizer.language.code}"))
            draft = draft.with_last_message(preface + drafter.realizer.language.space + draft.core, "user")
        if not any(normalise(core) in forbidden for core in draft.shown) and kept.add(draft.core):
            return draft
    raise UserError(f"The village is too small: it has no more new prompts for '{category}'.",
                    "Raise 'people', or lower the numbers of prompts and demonstrations.")


class _Senders:
    """Users of one group; some send much more than others, none more than 200 prompts."""

    def __init__(self, rng: random.Random, users: list[str]) -> None:
        self._rng = rng
        self._weights = {user: (rank + 1) ** -0.5 for rank, user in enumerate(users)}
        self._sent = dict.fromkeys(users, 0)

    def draw(self) -> str:
        user = weighted(self._rng, self._weights)
        self._sent[user] += 1
        if self._sent[user] == MOST_PROMPTS_PER_USER:
            del self._weights[user]
        return user


def _ask(draft: Draft, realizer: Realizer, identity: str, user: str) -> Asked:
    draft = replace(draft, task=replace(draft.task, id=identity, budget=budget(realizer, draft.good)))
    messages = [{"role": role, "content": content} for role, content in draft.messages]
    return Asked(draft, Prompt(id=identity, messages=messages, category=draft.task.category, user=user,
                               source=f"village/{draft.task.form}"))


def core_filter(splits: dict[str, list[Asked]]) -> Callable[[str], bool]:
    """A test for text of the corpus: is this a question of the validation or test prompts?"""
    held_out = {normalise(asked.draft.core) for split, prompts in splits.items() if GROUP_OF[split] != "train"
                for asked in prompts}
    return lambda question: normalise(question) in held_out
