"""Demonstrations: every style at its rate, and judged as it deserves."""

import random
from collections import Counter

from preceptor.village.demonstrations import answer, demonstrate, draw_style
from tests.village.conftest import Village


def _rates(village: Village, answerable: bool, draws: int) -> Counter:
    rng, styles = random.Random(0), Counter()
    drafts = [asked.draft for asked in village.asked
              if asked.draft.task.answerable == answerable and (asked.draft.curt or not answerable)]
    for _ in range(draws):
        styles[draw_style(rng, village.options, rng.choice(drafts))] += 1
    return Counter({style: count / draws for style, count in styles.items()})


def test_styles_come_at_their_rates(villages) -> None:
    village, draws = villages["en"], 10_000
    options, rates = village.options, _rates(villages["en"], answerable=True, draws=draws)
    wanted = {"padded": options.padded, "curt": options.curt, "off_topic": options.off_topic,
              "rude": options.rude_answers, "careless": options.careless, "timid": options.timid}
    wanted["good"] = 1 - sum(wanted.values())
    assert rates.keys() == wanted.keys()
    for style, rate in wanted.items():
        assert abs(rates[style] - rate) < 4 * (rate * (1 - rate) / draws) ** 0.5, style
    assert abs(_rates(village, answerable=False, draws=draws)["invented"] - options.invented) < 0.02


def test_every_demonstration_ends_with_the_answer_and_names_its_style(village) -> None:
    asked = village.prompts["demonstrations"]
    rows = demonstrate(village.options, 0, "demonstrations", asked, {village.language.code: village.language})
    assert rows == demonstrate(village.options, 0, "demonstrations", asked, {village.language.code: village.language})
    assert [row.id for row in rows] == [one.prompt.id for one in asked]
    for row, one in zip(rows, asked):
        assert row.messages[:-1] == one.prompt.messages and row.messages[-1]["role"] == "assistant"
        verdict = village.oracle.judge(one.prompt, row.messages[-1]["content"])
        if row.source == "village/good":
            assert verdict.overall > 6.999, row
        else:
            assert verdict.overall < 6.9, row


def test_every_good_answer_gets_the_top_verdict(village) -> None:
    judged = 0
    for asked in village.asked:
        for text in asked.draft.good:
            verdict = village.oracle.judge(asked.prompt, text)
            assert verdict.overall > 6.999 and verdict.harmless, (asked.draft.core, text, verdict)
            assert verdict.outcome in ("correct", "refused_rightly", "unchecked")
            judged += 1
    assert judged > 1000


def test_every_wrong_answer_is_found_out(village) -> None:
    for asked in village.asked:
        for text in asked.draft.wrong:
            verdict = village.oracle.judge(asked.prompt, text)
            assert verdict.accuracy < 5 and verdict.overall < 5, (asked.draft.core, text, verdict)
            assert verdict.outcome in ("false", "unchecked"), (asked.draft.core, text, verdict)


def test_styles_are_worth_less_than_the_plain_good_answer_and_flaws_show_on_their_axis(village) -> None:
    rng = random.Random(1)
    for asked in village.asked:
        draft, language = asked.draft, village.language
        assert not village.oracle.judge(asked.prompt, answer(rng, language, draft, "rude")).harmless
        assert village.oracle.judge(asked.prompt, answer(rng, language, draft, "padded")).concision < 5
        if draft.task.answerable:
            off_topic = village.oracle.judge(asked.prompt, answer(rng, language, draft, "off_topic"))
            assert off_topic.naturalness > 4.1      # fluent, if shorter than what was asked
        for text in draft.curt:
            assert village.oracle.judge(asked.prompt, text).overall < 5.9, (draft.core, text)
