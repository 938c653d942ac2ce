"""Generated cases for the guard: loops as models write them, and honest texts that repeat, in English and Chinese.

Everything is drawn from a seed, so that the same cases can be made anywhere.
"""

import random

from preceptor.metrics.watch import units

ENGLISH = {
    "who": ["The keeper", "My sister", "A tall man", "The old doctor", "Our neighbour", "The captain", "A young nurse"],
    "did": ["opened the gate", "counted the coins", "looked at the river", "wrote a long letter", "closed the shop",
            "asked about the price", "painted the fence", "carried the basket home", "waited for the train"],
    "when": ["in the morning", "after the rain", "before the feast", "on the third day", "without a word", "at noon"]}
CHINESE = {
    "who": ["守门人", "我的姐姐", "那位医生", "邻居", "船长", "年轻的护士", "老师傅"],
    "did": ["打开了大门", "数着硬币", "望着河水", "写了一封长信", "关上了店铺", "询问价钱", "粉刷篱笆", "提着篮子回家"],
    "when": ["清晨", "雨后", "节日之前", "第三天", "一言不发地", "正午时分"]}


def sentence(draw: random.Random, chinese: bool) -> str:
    """A sentence that says something."""
    words = CHINESE if chinese else ENGLISH
    who, did, when = (draw.choice(words[part]) for part in ("who", "did", "when"))
    return f"{when}，{who}{did}。" if chinese else f"{who} {did} {when}. "


def prose(draw: random.Random, chinese: bool, sentences: int) -> str:
    """Sentences of which no two that follow each other are the same."""
    said: list[str] = []
    while len(said) < sentences:
        one = sentence(draw, chinese)
        if one not in said:
            said.append(one)
    return "".join(said)


def loop_cases(count: int, seed: int) -> list[tuple[str, int, int]]:
    """(text, units before the loop, units of its period): a lead of prose and a loop of one of six kinds."""
    draw = random.Random(seed)
    cases = []
    for number in range(count):
        chinese, kind = number % 2 == 1, number // 2 % 6
        lead = prose(draw, chinese, draw.randint(1, 5))
        copies = [_copy(draw, chinese, kind)] * 80
        if kind == 4:
            start = draw.randint(1, 90)
            copies = [copies[0].replace("17", str(start + n)) for n in range(80)]
        cases.append((lead + "".join(copies), len(units(lead)), len(units(copies[0]))))
    return cases


def _copy(draw: random.Random, chinese: bool, kind: int) -> str:
    """One copy of a loop: a character or word, a phrase, a sentence, several sentences, a count, a line."""
    words = CHINESE if chinese else ENGLISH
    if kind == 0:
        return draw.choice("好的啊了是" if chinese else ["ha ", "the ", "yes ", "very ", "and "])
    if kind == 1:
        phrase = draw.choice(words["did"]) + ("，" if chinese else " and ")
        return phrase + (draw.choice(words["when"]) + "，" if chinese else draw.choice(words["when"]) + ", ")
    if kind == 2:
        return sentence(draw, chinese)
    if kind == 3:
        return prose(draw, chinese, draw.randint(2, 4))
    if kind == 4:
        said = draw.choice(words["did"])
        return f"第17步：{said}，然后继续。" if chinese else f"Step 17: he {said} and went on. "
    line = draw.choice(words["who"]) + draw.choice(words["did"]) if chinese else \
        f"{draw.choice(words['who'])} {draw.choice(words['did'])} {draw.choice(words['when'])}"
    return f"- {line}\n"


def period_of(period: int) -> int:
    """Units within which a loop must be stopped: three periods; 40 of the shortest, which honest texts have, too."""
    return max(3 * period, 40)


def honest_cases(count: int, seed: int) -> list[str]:
    """Texts that repeat and are no loops: tables, code, lists, refrains, laughter, separators, and plain prose."""
    draw = random.Random(seed)
    makers = [_table, _code, _steps, _song, _laughter, _rules, _prose]
    return [makers[number // 2 % len(makers)](draw, number % 2 == 1) for number in range(count)]


def _table(draw: random.Random, chinese: bool) -> str:
    head = "| 名称 | 数量 | 价格 |" if chinese else "| name | number | price |"
    who = (CHINESE if chinese else ENGLISH)["who"]
    rows = [f"| {draw.choice(who)} | {draw.randint(1, 99)} | {draw.randint(1, 9)}.50 |"
            for _ in range(draw.randint(4, 9))]
    return "\n".join([head, "|------|------|------|", *rows]) + "\n"


def _code(draw: random.Random, chinese: bool) -> str:
    note = "# 打印所有名字" if chinese else "# print all the names"
    names = draw.sample(["alpha", "beta", "gamma", "delta", "omega", "sigma", "kappa"], 5)
    body = draw.choice([[f"    print({name}.name, {name}.price)" for name in names], ["    total += step(total)"] * 4,
                        [f"    case {n}: return {n * 2};" for n in range(1, 7)], ["    0, 0, 0, 0, 0, 0,"] * 6])
    return "\n".join(["```", note, *body, "```"]) + "\n"


def _steps(draw: random.Random, chinese: bool) -> str:
    words = CHINESE if chinese else ENGLISH
    did = draw.sample(words["did"], 6)
    return "".join(f"{n}. {'请' if chinese else 'Then someone '}{what}{'。' if chinese else '.'}\n"
                   for n, what in enumerate(did, start=1))


def _song(draw: random.Random, chinese: bool) -> str:
    words = CHINESE if chinese else ENGLISH
    refrain = ("啦啦啦，" * 3 + "月亮出来了\n") if chinese else "la la la la, the moon is coming up\n"
    verses = [f"{draw.choice(words['when'])} {draw.choice(words['did'])}\n{draw.choice(words['who'])}\n"
              for _ in range(3)]
    return "".join(verse + refrain * 2 for verse in verses)


def _laughter(draw: random.Random, chinese: bool) -> str:
    laugh = "哈" * draw.randint(4, 14) if chinese else "ha " * draw.randint(3, 12)
    return f"{prose(draw, chinese, 2)}{laugh}{'！' if chinese else '! '}{prose(draw, chinese, 2)}"


def _rules(draw: random.Random, chinese: bool) -> str:
    rule = draw.choice(["-" * 60, "=" * 80, "* " * 20, "~" * 40])
    return f"{prose(draw, chinese, 2)}\n{rule}\n{prose(draw, chinese, 2)}\n{rule}\n"


def _prose(draw: random.Random, chinese: bool) -> str:
    return prose(draw, chinese, draw.randint(6, 14))
