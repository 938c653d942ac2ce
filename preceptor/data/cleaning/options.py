"""Options of cleaning: one class a rule family, every published constant with its source.

    Gopher    Rae et al. 2021, arXiv 2112.11446, appendix A.1.1 and table A1
    C4        Raffel et al. 2020, JMLR 21(140), section 2.2
    FineWeb   Penedo et al. 2024, arXiv 2406.17557, section 3.6
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RepairOptions:
    """Mends encodings: text that was decoded wrongly, stray control characters, broken lines."""

    on: bool = True
    """Whether this family works."""
    most_broken: float = 0.005
    """Share of replacement characters (U+FFFD) and private-use characters that survive the repair, above which a
    document is dropped."""


@dataclass(frozen=True, kw_only=True)
class PersonalOptions:
    """Masks personal data: e-mail addresses, telephone numbers, IP addresses, identity and bank card numbers."""

    on: bool = True
    """Whether this family works."""
    kinds: tuple[str, ...] = ("email", "phone", "ip", "identity", "card")
    """What is masked. Each becomes a mark such as `<email>`. Numbers with a check digit count only where it is
    right; telephone numbers only in the forms in which people write them."""


@dataclass(frozen=True, kw_only=True)
class BoilerplateOptions:
    """Takes out lines that belong to the page and not to the text: menus, adverts, notices, lines said before."""

    on: bool = True
    """Whether this family works."""
    longest_line: int = 200
    """Characters up to which a line may count as boilerplate; a long paragraph that names cookies is a text."""
    repeats: int = 4
    """A line of at least eight characters without an end of a sentence that stands in a document this often is kept
    once."""
    most_removed: float = 0.5
    """Share of the characters, above which the document is dropped as a whole."""


@dataclass(frozen=True, kw_only=True)
class LanguageOptions:
    """Keeps documents of known languages (fastText lid.176; FineWeb kept scores from 0.65 on)."""

    on: bool = True
    """Whether this family works."""
    keep: tuple[str, ...] = ("en", "zh")
    """ISO 639-1 codes of the languages to keep; empty keeps every language."""
    least_score: float = 0.65
    """Probability of the language below which a document is dropped."""


@dataclass(frozen=True, kw_only=True)
class GopherOptions:
    """Gopher's quality heuristics. For Chinese only those on symbols and lines hold; its lengths are in `chinese`."""

    on: bool = True
    """Whether this family works."""
    least_words: int = 50
    """Words (with a letter or digit) that a document has at least."""
    most_words: int = 100_000
    """Words that it has at most."""
    least_mean_word: float = 3.0
    """Characters of a word in the mean, at least."""
    most_mean_word: float = 10.0
    """Characters of a word in the mean, at most."""
    most_symbols: float = 0.1
    """Hash signs for each word, and ellipses for each word, at most."""
    most_bullets: float = 0.9
    """Share of lines that begin with a bullet, at most."""
    most_ellipses: float = 0.3
    """Share of lines that end with an ellipsis, at most."""
    least_alphabetic: float = 0.8
    """Share of words that hold a letter, at least."""
    least_stop_words: int = 2
    """Different ones of the, be, to, of, and, that, have, with, at least. English only."""


@dataclass(frozen=True, kw_only=True)
class RepetitionOptions:
    """Gopher's table A1: repeated lines, paragraphs and runs of words, by the share of characters in them. Runs of
    Chinese are of twice as many characters."""

    on: bool = True
    """Whether this family works."""
    lines: float = 0.30
    """Share of lines said before, at most."""
    paragraphs: float = 0.30
    """Share of paragraphs said before, at most."""
    line_characters: float = 0.20
    """Share of characters in lines said before, at most."""
    paragraph_characters: float = 0.20
    """Share of characters in paragraphs said before, at most."""
    top: tuple[float, ...] = (0.20, 0.18, 0.16)
    """Of runs of 2, 3 and 4 words, the share of characters in the most frequent one, at most."""
    repeated: tuple[float, ...] = (0.15, 0.14, 0.13, 0.12, 0.11, 0.10)
    """Of runs of 5, 6, 7, 8, 9 and 10 words, the share of characters in runs said before, at most."""


@dataclass(frozen=True, kw_only=True)
class C4Options:
    """C4's rules: lines that are no sentences go, then pages that are no prose.

    The two counts are those that the article printed, and datatrove's; its authors' code, and later versions of the
    article (arXiv 1910.10683), have lines of at least 5 words and pages of at least 3 sentences.
    """

    on: bool = False
    """Whether this family works. Off unless asked for: it takes headings, verse and dialogue out of clean books."""
    least_line_words: int = 3
    """Words of a line that stays, at least."""
    longest_word: int = 1000
    """Characters of a word; a line with a longer one goes."""
    least_sentences: int = 5
    """Sentences of a document, at least."""
    terminal: bool = True
    """Whether a line must end in terminal punctuation. (English and Chinese marks.)"""
    braces: bool = True
    """Whether a document with a curly bracket is dropped, as C4 does to be rid of code."""


@dataclass(frozen=True, kw_only=True)
class FineWebOptions:
    """FineWeb's three filters, chosen there by training on what they keep, and its list filter."""

    on: bool = True
    """Whether this family works."""
    least_terminal: float = 0.12
    """Share of lines that end in terminal punctuation, at least."""
    most_short: float = 0.67
    """Share of lines of at most `short` characters, at most."""
    short: int = 30
    """Characters up to which a line is short; a Chinese line is short at a fifth of them."""
    most_repeated: float = 0.1
    """Share of characters in lines said before, at most. (The paper's figure; datatrove's default is 0.01.)"""
    most_breaks: float = 0.3
    """Line breaks for each word, at most. English and its like only."""


@dataclass(frozen=True, kw_only=True)
class ChineseOptions:
    """Rules made for Chinese. They are ours: thresholds are set on the Chinese text of `text/zh` so that clean text
    passes (docs/corpora.md shows the rates)."""

    on: bool = True
    """Whether this family works."""
    least_han: float = 0.4
    """Share of Han characters among all letters and digits, at least: technical prose with code passes, pages of part
    numbers do not."""
    least_characters: int = 60
    """Han characters of a document, at least."""
    least_marks: float = 0.01
    """Punctuation marks for each Han character, at least, from 200 characters on: lists of keywords have none. Verse
    and classical text, printed without marks at times, are let through by `classical`."""
    most_marks: float = 0.5
    """Punctuation marks for each Han character, at most."""
    longest_run: int = 300
    """Han characters without any mark or line break, at most, in modern text."""
    classical: float = 0.6
    """Share of classical among all function words from which a text is classical; 1 means that none is."""
    keep_classical: bool = True
    """Whether classical text stays in the corpus."""
    script: str = "any"
    """`simplified` or `traditional` drops documents mostly in the other script; `any` keeps both."""


@dataclass(frozen=True, kw_only=True)
class DuplicateOptions:
    """Drops documents that were there before, and sentences that were."""

    on: bool = True
    """Whether this family works."""
    threshold: float = 0.7
    """Similarity (Jaccard, of 8-grams of characters, by MinHash) from which a document is a near-duplicate."""
    span: int = 3
    """Sentences of a run that is looked for in earlier documents (C4 used three); 0 turns this off."""
    least_span: int = 60
    """Characters of such a run at least: "See below." is said by everybody."""


@dataclass(frozen=True, kw_only=True)
class ContaminationOptions:
    """Drops documents that share text with evaluation sets."""

    on: bool = True
    """Whether this family works, once `against` names something."""
    against: tuple[str, ...] = ()
    """Files or folders of evaluation records (JSONL); every text field in them counts."""
    words: int = 13
    """Words of a shared run, as GPT-3 used (Brown et al. 2020, arXiv 2005.14165, appendix C)."""
    characters: int = 24
    """Han characters of a shared run in Chinese text."""


@dataclass(frozen=True, kw_only=True)
class CleaningOptions:
    """All rule families, in the order in which they are applied."""

    repair: RepairOptions = RepairOptions()
    """Encodings."""
    personal: PersonalOptions = PersonalOptions()
    """Personal data."""
    boilerplate: BoilerplateOptions = BoilerplateOptions()
    """Lines of the page."""
    language: LanguageOptions = LanguageOptions()
    """Languages to keep."""
    c4: C4Options = C4Options()
    """C4's rules."""
    gopher: GopherOptions = GopherOptions()
    """Gopher's quality."""
    repetition: RepetitionOptions = RepetitionOptions()
    """Gopher's repetition."""
    fineweb: FineWebOptions = FineWebOptions()
    """FineWeb's filters."""
    chinese: ChineseOptions = ChineseOptions()
    """Chinese."""
    contamination: ContaminationOptions = ContaminationOptions()
    """Evaluation sets."""
    duplicates: DuplicateOptions = DuplicateOptions()
    """Duplicates."""
