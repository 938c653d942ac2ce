"""A small village in each language, drawn once for all tests of the room."""

from dataclasses import dataclass

import pytest

from preceptor.village.language import Language, load_language
from preceptor.village.options import VillageOptions
from preceptor.village.oracle import Oracle
from preceptor.village.prompts import Asked, draw_prompts
from preceptor.village.realizer import Realizer
from preceptor.village.world import World, build_world

SMALL = {"people": 60, "documents": 1800, "demonstrations": 250, "valid_demonstrations": 40, "train_prompts": 200,
         "valid_prompts": 60, "test_prompts": 150, "users": 30}


@dataclass(frozen=True)
class Village:
    """A village of one language with everything that its tests look at."""

    options: VillageOptions
    language: Language
    world: World
    realizer: Realizer
    prompts: dict[str, list[Asked]]
    oracle: Oracle

    @property
    def asked(self) -> list[Asked]:
        """All prompts of all splits."""
        return [one for split in self.prompts.values() for one in split]


def make_village(code: str, seed: int = 0, **changes: object) -> Village:
    """Draw a small village."""
    options = VillageOptions(language=code, **(SMALL | changes))
    language = load_language(code)
    world = build_world(options, seed, language.words)
    realizer = Realizer(language, world)
    prompts = draw_prompts(options, seed, [realizer])
    tasks = [asked.draft.task for split in prompts.values() for asked in split]
    return Village(options, language, world, realizer, prompts, Oracle(world, tasks, [code]))


@pytest.fixture(scope="session")
def villages() -> dict[str, Village]:
    """The villages by language."""
    return {code: make_village(code) for code in ("en", "zh")}


@pytest.fixture(params=["en", "zh"])
def village(request: pytest.FixtureRequest, villages: dict[str, Village]) -> Village:
    """The village of each language in turn."""
    return villages[request.param]
