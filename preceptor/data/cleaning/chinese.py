"""Rules made for Chinese: how much of it is Han, whether it has marks, which script, and whether it is classical.

The rules of other corpora count words with spaces between them and say nothing of such text.
"""

import re

from preceptor.data.cleaning.options import ChineseOptions
from preceptor.data.cleaning.verdict import Drop, first_over, first_under
from preceptor.data.cleaning.words import HAN, han_share

MARKS = re.compile(r"[，。、；：？！“”‘’「」『』（）《》…—,.;:?!]")
RUN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]+")
FROM_LENGTH = 200  # Han characters from which a text without marks is suspect

# Frequent characters whose form differs between the scripts, pair by pair.
SIMPLIFIED = ("国们这时来对为说过还会个学没现经发开后当样动进种关问长间车见电话听让觉应该认识万与业东丝两严丧丰"
              "临丽举义乌乐习书买乱争亏云亚产亲亿仅从仑仓仪价众优伟传伤伦体余佣侠侣侦侧侨")
TRADITIONAL = ("國們這時來對為說過還會個學沒現經發開後當樣動進種關問長間車見電話聽讓覺應該認識萬與業東絲兩嚴喪豐"
               "臨麗舉義烏樂習書買亂爭虧雲亞產親億僅從侖倉儀價眾優偉傳傷倫體餘傭俠侶偵側僑")
# Function words of the classical and of the modern language. Those that both use (以, 不, 而 in set phrases) are out.
CLASSICAL = re.compile("[之乎者也矣焉哉兮曰吾汝尔其乃弗耳耶欤孰]")
MODERN = re.compile("的|了|是|在|这|那|们|吗|呢|吧|着|個|个|這|們|嗎|說|说|很|把|被|没|沒|都|就|我|你|他|她|它")


def script_of(text: str) -> tuple[str, float]:
    """`simplified` or `traditional`, and the share of characters that tell which are of that script; `both` where
    none tells."""
    simplified = sum(map(text.count, set(SIMPLIFIED) - set(TRADITIONAL)))
    traditional = sum(map(text.count, set(TRADITIONAL) - set(SIMPLIFIED)))
    total = simplified + traditional
    if not total:
        return "both", 1.0
    return ("simplified", simplified / total) if simplified >= traditional else ("traditional", traditional / total)


def classical_share(text: str) -> float:
    """Share of classical among all function words; 0 where there is none of either kind."""
    classical, modern = len(CLASSICAL.findall(text)), len(MODERN.findall(text))
    return classical / (classical + modern) if classical + modern else 0.0


def poor_chinese(text: str, options: ChineseOptions) -> Drop | None:
    """Whether a Chinese text is too little Chinese, too short, or not prose, verse or a statute."""
    han = len(HAN.findall(text))
    drop = first_under([("chinese: share of Han", han_share(text), options.least_han),
                        ("chinese: too few characters", han, options.least_characters)])
    if drop:
        return drop
    marks = len(MARKS.findall(text)) / han
    share = classical_share(text)
    classical = share >= options.classical
    if classical and not options.keep_classical:
        return Drop("chinese: classical", share, options.classical)
    verse = max(map(len, text.split("\n"))) <= 40  # lines do what marks do elsewhere
    if not classical and not verse:
        drop = first_under([("chinese: no punctuation", marks if han >= FROM_LENGTH else 1.0, options.least_marks)])
        longest = max((len(run) for run in RUN.findall(text)), default=0)
        drop = drop or first_over([("chinese: run without a mark", longest, options.longest_run)])
    drop = drop or first_over([("chinese: too much punctuation", marks, options.most_marks)])
    script, certain = script_of(text)
    if drop is None and options.script != "any" and script not in (options.script, "both"):
        return Drop(f"chinese: {script}", certain, 0.5)
    return drop
