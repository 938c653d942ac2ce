"""The experiment's table is made of the comparison's figures, its signs and ratios are those that it states."""

from pathlib import Path

import pytest

from experiments.encoder_or_llm import PACKS, crosswoz_rows, row, table
from preceptor.recipe.load import load_recipe
from preceptor.run.files import read_json
from tests.understand.conftest import folder_of


def test_the_row_of_a_pack_says_how_far_the_encoder_is_ahead(tagged: Path) -> None:
    results = read_json(folder_of(tagged, "compare") / "results.json")
    found = row(results)
    encoder, other = (found[name] for name in ("encoder", "language_model"))
    assert found["gain"]["mean"] == pytest.approx(encoder["quality"]["mean"] - other["quality"]["mean"])
    assert found["gain"]["low"] <= found["gain"]["mean"] <= found["gain"]["high"]
    assert found["speed"] == pytest.approx(
        encoder["requests_per_second"]["mean"] / other["requests_per_second"]["mean"])
    assert f"{100 * encoder['quality']['mean']:.1f} [" in table({"tagged": found})
    turned = row(results | {"cheaper": "language_model"})["gain"]  # then the difference is the encoder's lead itself
    assert turned == results["recommended"]["dearer_less_cheaper"]


def test_every_pack_is_there_and_its_recipe_takes_its_options(public_data: Path) -> None:
    for recipe, records, test, options in PACKS.values():
        for name in filter(None, (records, test)):
            assert (public_data / "nlu" / f"{name}.jsonl.gz").is_file()
        load_recipe(recipe, sets=[f"data.needs.records={public_data}", *options])
    rows = list(crosswoz_rows(public_data / "nlu" / "dialog_zh_crosswoz.dev.jsonl.gz"))
    assert len(rows) > 500 and all(value in one["text"] for one in rows for value in one["facts"].values())
    assert rows[0]["text"].startswith("你好") and rows[0]["facts"] == {"人均消费": "100-150元", "推荐菜": "驴杂汤"}
