"""The corpus: sources at their rates, truth where it should be true, and nothing that is held out."""

from collections import Counter
from dataclasses import replace

import pytest

from preceptor.data.records import Document
from preceptor.village.claims import ClaimReader
from preceptor.village.corpus import FORUM, GENRES, MOST_MENTIONS, draw_corpus
from preceptor.village.prompts import core_filter, normalise
from preceptor.village.realizer import Realizer
from tests.village.conftest import Village


@pytest.fixture(scope="module")
def corpora(villages: dict[str, Village]) -> dict[str, tuple[list[Document], list[Document]]]:
    return {code: draw_corpus(village.options, 0, [village.realizer], core_filter(village.prompts))
            for code, village in villages.items()}


def test_sources_come_at_their_rates_and_the_held_out_documents_keep_the_mix(village, corpora) -> None:
    train, valid = corpora[village.language.code]
    total, held = Counter(one.source for one in [*train, *valid]), Counter(one.source for one in valid)
    options = village.options
    flaws = {"rumour": options.rumours, "rude": options.rude, "repetitive": options.repetitive,
             "boilerplate": options.boilerplate}
    assert sum(total.values()) == options.documents
    clean = {name: share * (1 - sum(flaws.values())) for name, share in GENRES.items()}
    for source, share in {**clean, **flaws}.items():
        assert abs(total[source] - share * options.documents) <= 1, source
        assert held[source] == round(options.valid_documents * total[source]), source


def test_entries_are_true_and_rumours_are_false(village, corpora) -> None:
    reader, seen = ClaimReader(village.realizer), Counter()
    for document in corpora[village.language.code][0]:
        claims = reader.claims(document.text, None)
        truths = [claim.true_in(village.world) for claim in claims]
        if document.source == "encyclopedia":
            assert claims and all(truths), document.text
        elif document.source == "rumour":
            assert len(claims) == 2 and not any(truths), document.text
        elif document.source in ("report", "story", "letter", "repetitive", "rude", "boilerplate", "list"):
            assert not claims, document.text
        seen[document.source] += bool(claims)
    assert seen["encyclopedia"] > 500 and seen["rumour"] > 30 and seen["dialogue"] > 80


def test_facts_about_obscure_people_are_stated_one_to_three_times(village, corpora) -> None:
    reader, counts = ClaimReader(village.realizer), Counter()
    for document in [one for part in corpora[village.language.code] for one in part]:
        for sentence_claim in reader.claims(document.text, None):
            counts[sentence_claim.attribute, sentence_claim.subject] += 1
    obscure = {(name, key): counts[name, key] for name, key in village.world.facts if key in village.world.obscure}
    assert min(obscure.values()) >= 1 and max(obscure.values()) <= MOST_MENTIONS
    known = [counts[name, key] for name, key in village.world.facts if key in village.world.weights]
    assert sum(known) / len(known) > 2 * MOST_MENTIONS


def test_rude_and_repetitive_documents_are_what_they_say(village, corpora) -> None:
    for document in corpora[village.language.code][0]:
        rude = any(word in document.text.lower() for word in village.language.rude_words)
        assert rude == (document.source == "rude") or document.source == "forum", document.text
        if document.source == "repetitive":
            sentences = village.realizer.sentences(document.text)
            assert len(sentences) >= 4 and len(set(sentences)) == 1


def test_a_forum_says_of_each_answer_what_it_is(village, corpora) -> None:
    language, said = village.language, Counter()
    for document in [one for one in corpora[village.language.code][0] if one.source == "forum"]:
        lines = document.text.splitlines()
        replies = [line.removeprefix(language.reply_label) for line in lines if line.startswith(language.reply_label)]
        assert len(replies) == sum(line.startswith(language.question_label) for line in lines) > 0
        said.update(replies)
        insulted = any(word in document.text.lower() for word in language.rude_words)
        assert insulted == (language.replies["rude"] in replies), document.text
    assert set(said) == set(language.replies.values())
    answered, draws = FORUM["good"], sum(said.values())
    # Above its own share: what has no fragment to answer with is answered well instead.
    assert answered - 0.05 < said[language.replies["good"]] / draws < answered + 0.15


def test_held_out_questions_do_not_occur(village, corpora) -> None:
    held_out = {normalise(asked.draft.core) for split in ("test", "valid", "valid_demonstrations")
                for asked in village.prompts[split]}
    label = village.language.question_label
    asked = {normalise(line.removeprefix(label)) for part in corpora[village.language.code] for one in part
             for line in one.text.splitlines() if line.startswith(label)}
    assert len(asked) > 150 and not asked & held_out
    spoken = {normalise(line.split(village.language.colon.strip(), 1)[-1]) for one in corpora[village.language.code][0]
              if one.source == "dialogue" for line in one.text.splitlines()}
    assert len(spoken) > 150 and not spoken & held_out


def test_a_seed_gives_one_corpus_and_another_seed_another(village) -> None:
    options = replace(village.options, documents=400)
    one, same, other = (draw_corpus(options, seed, [village.realizer], lambda question: False) for seed in (0, 0, 1))
    assert one == same
    assert one != other


def test_both_languages_mix_in_one_world(villages) -> None:
    realizers = [Realizer(villages[code].language, villages["en"].world) for code in ("en", "zh")]
    train, _ = draw_corpus(replace(villages["en"].options, documents=1000), 0, realizers, lambda question: False)
    share = Counter(one.language for one in train)["zh"] / len(train)
    assert 0.45 < share < 0.55
