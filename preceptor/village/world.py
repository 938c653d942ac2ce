"""The world: residents, towns, animals, jobs and prices, drawn from a seed, and every fact about them.

The world knows no language: entities and values are keys of the word lists ("baker", "Oakfield"), numbers in digits,
and people "p0", "p1", …. Strangers ("s0", …) have names but no facts. An attribute that is not recorded has no fact
for anyone, and the neighbour is recorded for about half of the residents: such questions have no answer.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from preceptor.run.errors import UserError
from preceptor.village.options import VillageOptions

MALE_NAMES, FEMALE_NAMES, LAST_NAMES = 75, 75, 24     # names of both languages; a test counts them
STRANGER_NAMES = 18                                   # first names of each sex that no resident bears


@dataclass(frozen=True)
class Attribute:
    """What can be asked of a class of entities. `value` is the slot of the answer in the templates."""

    subject: str
    value: str
    recorded: bool = True
    extra: str = ""

    @property
    def value_class(self) -> str:
        """The word class of the value."""
        return self.value.rstrip("0123456789")


ATTRIBUTES: dict[str, Attribute] = {
    "person.age": Attribute("person", "number"),
    "person.job": Attribute("person", "job"),
    "person.workplace": Attribute("person", "workplace"),
    "person.home": Attribute("person", "town"),
    "person.pet": Attribute("person", "animal"),
    "person.hobby": Attribute("person", "hobby"),
    "person.food": Attribute("person", "food"),
    "person.friend": Attribute("person", "person2"),
    "person.neighbour": Attribute("person", "person2"),
    "person.colour": Attribute("person", "colour", recorded=False),
    "person.birthday": Attribute("person", "month", recorded=False),
    "person.shoes": Attribute("person", "number", recorded=False),
    "person.savings": Attribute("person", "number", recorded=False),
    "person.sale": Attribute("person", "month", recorded=False, extra="animal"),
    "town.product": Attribute("town", "product"),
    "town.landmark": Attribute("town", "landmark"),
    "town.nature": Attribute("town", "nature"),
    "town.mayor": Attribute("town", "person", recorded=False),
    "animal.feed": Attribute("animal", "feed"),
    "animal.den": Attribute("animal", "den"),
    "job.workplace": Attribute("job", "workplace"),
    "job.tool": Attribute("job", "tool"),
    "item.price": Attribute("item", "number"),
}

# The places and tools of the jobs, and what the animals may eat and sleep in, are as in any village; the seed chooses.
JOBS = {"baker": ("bakery", "oven"), "teacher": ("school", "blackboard"), "farmer": ("farm", "plough"),
        "doctor": ("clinic", "thermometer"), "nurse": ("clinic", "thermometer"), "fisher": ("harbour", "net"),
        "smith": ("forge", "anvil"), "tailor": ("shop", "needle"), "painter": ("studio", "palette"),
        "gardener": ("nursery", "spade"), "chef": ("kitchen", "pan"), "carpenter": ("workshop", "drill"),
        "potter": ("pottery", "wheel"), "weaver": ("mill", "loom"), "shepherd": ("meadow", "whistle"),
        "librarian": ("library", "catalogue"), "postman": ("office", "bag"), "singer": ("theatre", "piano"),
        "builder": ("workshop", "hammer"), "miner": ("quarry", "pickaxe")}
ANIMALS = {"cat": ("fish meat", "barn kennel"), "dog": ("meat fish", "kennel barn"),
           "horse": ("hay carrots", "stable barn"), "cow": ("grass hay", "barn stable"),
           "sheep": ("grass hay", "barn stable"), "goat": ("grass hay", "stable barn"),
           "hen": ("seeds insects", "nest cage"), "duck": ("seeds insects", "pond nest"),
           "rabbit": ("carrots grass", "burrow cage"), "mouse": ("seeds nuts", "burrow nest"),
           "owl": ("meat insects", "tree nest"), "fox": ("meat fish", "burrow kennel"),
           "donkey": ("hay carrots", "stable barn"), "pig": ("nuts carrots", "barn stable"),
           "parrot": ("nuts seeds", "cage tree"), "turtle": ("grass fish", "pond cage")}


@dataclass(frozen=True)
class Person:
    """A resident or a stranger; the names are indices into the lists of either language."""

    key: str
    first: int
    last: int
    female: bool
    age: int = 0


@dataclass
class World:
    """Entities and facts. `facts[attribute, entity]` is the key of the value; what is absent is not known."""

    seed: int
    people: dict[str, Person]
    strangers: dict[str, Person]
    facts: dict[tuple[str, str], str] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    obscure: set[str] = field(default_factory=set)

    def value(self, attribute: str, entity: str) -> str | None:
        """The recorded value, or None where the world has none."""
        return self.facts.get((attribute, entity))

    def known_attributes(self, subject: str, entity: str) -> list[str]:
        """The attributes recorded of an entity of the class `subject`."""
        return [name for name, attribute in ATTRIBUTES.items()
                if attribute.subject == subject and (name, entity) in self.facts]

    def residents(self, obscure: bool) -> list[str]:
        """The obscure residents, or the known ones."""
        return [key for key in self.people if (key in self.obscure) == obscure]

    def person(self, key: str) -> Person:
        """A resident or a stranger by key."""
        return self.people.get(key) or self.strangers[key]


def build_world(options: VillageOptions, seed: int, words: Mapping[str, Mapping[str, object]]) -> World:
    """Draw the world of a seed. `words` are the word lists of any language (only the keys are used).

    Raises:
        UserError: more residents are asked for than there are names, or fewer than four.
    """
    rng = random.Random(f"village/{seed}/world")
    most = (MALE_NAMES + FEMALE_NAMES - 2 * STRANGER_NAMES) * LAST_NAMES
    if not 4 <= options.people <= most:
        raise UserError(f"A village cannot have {options.people} residents.", f"Set 'people' between 4 and {most}.")
    people = _draw_people(rng, options.people)
    world = World(seed, people, _draw_strangers(rng))
    keys = list(people)
    ranked = rng.sample(keys, len(keys))
    obscure = round(options.obscure_people * len(keys))
    world.obscure = set(ranked[len(keys) - obscure:])
    # A mild Zipf law over the known residents; how often the obscure ones are named is counted out in the corpus.
    world.weights = {key: (rank + 8) ** -0.6 for rank, key in enumerate(ranked) if key not in world.obscure}
    for key in keys:
        _draw_person_facts(world, rng, key, words)
    _draw_neighbours(world, rng)
    _draw_other_facts(world, rng, words)
    return world


def _draw_people(rng: random.Random, count: int) -> dict[str, Person]:
    firsts = [(index, female) for female, names in ((False, MALE_NAMES), (True, FEMALE_NAMES))
              for index in range(names - STRANGER_NAMES)]
    people: dict[str, Person] = {}
    while len(people) < count:
        # Each round gives every first name once, with the last name moved on, so that full names never collide.
        turn = len(people) // len(firsts)
        for index, female in rng.sample(firsts, len(firsts))[:count - len(people)]:
            key = f"p{len(people)}"
            people[key] = Person(key, index, (index * 7 + 11 * female + turn) % LAST_NAMES, female, rng.randint(18, 79))
    return people


def _draw_strangers(rng: random.Random) -> dict[str, Person]:
    firsts = [(index, female) for female, names in ((False, MALE_NAMES), (True, FEMALE_NAMES))
              for index in range(names - STRANGER_NAMES, names)]
    return {f"s{number}": Person(f"s{number}", index, rng.randrange(LAST_NAMES), female)
            for number, (index, female) in enumerate(firsts)}


def _draw_person_facts(world: World, rng: random.Random, key: str, words: Mapping[str, Mapping[str, object]]) -> None:
    job = rng.choice(list(words["job"]))
    friend = rng.choice([other for other in world.people if other != key])
    values = {"age": str(world.people[key].age), "job": job, "workplace": JOBS[job][0], "friend": friend}
    for name, slot in (("home", "town"), ("pet", "animal"), ("hobby", "hobby"), ("food", "food")):
        values[name] = rng.choice(list(words[slot]))
    world.facts.update({(f"person.{name}", key): value for name, value in values.items()})


def _draw_neighbours(world: World, rng: random.Random) -> None:
    by_town: dict[str, list[str]] = {}
    for key in world.people:
        by_town.setdefault(world.facts["person.home", key], []).append(key)
    for residents in by_town.values():
        rng.shuffle(residents)
        for one, other in zip(residents[::4], residents[1::4]):
            world.facts["person.neighbour", one] = other
            world.facts["person.neighbour", other] = one


def _draw_other_facts(world: World, rng: random.Random, words: Mapping[str, Mapping[str, object]]) -> None:
    facts, towns = world.facts, list(words["town"])
    for name in ("product", "landmark"):
        drawn = rng.sample(list(words[name]), len(towns))
        facts.update({(f"town.{name}", town): value for town, value in zip(towns, drawn)})
    for town in towns:
        facts["town.nature", town] = rng.choice(list(words["nature"]))
    for animal, (feeds, dens) in ANIMALS.items():
        facts["animal.feed", animal] = rng.choice(feeds.split())
        facts["animal.den", animal] = rng.choice(dens.split())
    for job, (workplace, tool) in JOBS.items():
        facts["job.workplace", job] = workplace
        facts["job.tool", job] = tool
    for item in words["item"]:
        facts["item.price", item] = str(rng.randint(2, 30))
