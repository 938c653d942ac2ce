"""The comparison of an encoder with a language model, on the page of its run."""

from preceptor.report.understanding import understanding
from tests.report.conftest import interval


def results(because: str, model: str, gain: float) -> dict:
    def figures(quality: float, cost: float) -> dict:
        return {"quality": interval(quality, 0.02, 300), "details": {"all_right": interval(quality - 0.1, 0.02, 300)},
                "latency_ms": interval(10.0, 1.0, 64), "requests_per_second": interval(90.0, 5.0, 9),
                "memory_mb": interval(400.0, 3.0, 3), "cost_per_thousand": interval(cost, cost / 10, 9)}

    curve = [{"cost_per_thousand": cost, "quality": quality} for cost, quality in ((0.1, 0.8), (0.3, 0.9), (0.5, 0.88))]
    return {"task": "tag", "test": 300, "price": 1.0, "cheaper": "encoder", "faster": 5.0,
            "models": {"encoder": figures(0.8, 0.1), "language_model": figures(0.8 + gain, 0.5)},
            "recommended": {"model": model, "because": because, "dearer_less_cheaper": interval(gain, 0.02, 300)},
            "router": {"asked": 0.25, "quality": 0.87, "against_best": interval(-0.01, 0.01, 300), "cost_share": 0.45,
                       "curve": curve}}


def test_the_section_says_which_to_take_and_what_the_router_reaches() -> None:
    section = understanding(results("better", "language_model", 0.08))
    take, routed = (panel.sentences[0] for panel in section.panels)
    assert take("en").startswith("Take the language model, at 5.00 times the cost: its quality is above that of the ")
    assert "8.0\u00a0[6.0,\u00a010.0]" in take("zh") and "选语言模型" in take("zh")
    assert "asks the language model for 25" in routed("en") and "45\u202f% of its cost" in routed("en")
    assert [len(row) for row in section.tables[0].rows] == [7, 7]
    for because in ("cheaper", "better and cheaper"):
        cheap = understanding(results(because, "encoder", -0.05)).panels[0].sentences[0]("en")
        wanted = "it is the cheaper one" if because == "cheaper" else "it is better, and the language model costs 5.00"
        assert wanted in cheap
    assert understanding({}) is None
