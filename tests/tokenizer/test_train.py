"""Every kind of vocabulary: what it loses, what it says of its entries, and the study that compares sizes."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preceptor.cli.main import main
from preceptor.run.errors import UserError
from preceptor.run.files import read_json
from preceptor.tokenizer.chat import load_tokenizer
from preceptor.tokenizer.options import TokenizerOptions
from preceptor.tokenizer.pieces import sentence_ends, token_pieces, word_starts
from preceptor.tokenizer.special import mask_token, sentinel_tokens
from preceptor.tokenizer.study import Coverage, Trial, coverage, recommended
from preceptor.tokenizer.train import train_tokenizer

TEXTS = ["the cat sat on the mat. the dog ran to the cat! " * 3, "猫坐在垫子上。狗跑向猫。 GPT模型很大 " * 3,
         "a line\n  another\tline, with 12 numbers and 3.5 more\n"] * 4
LOSSLESS = [("bpe", "bytes"), ("bpe", "fallback"), ("unigram", "bytes"), ("unigram", "fallback")]
ALL = [*LOSSLESS, ("bpe", "characters"), ("wordpiece", "characters"), ("unigram", "characters")]
_made: dict[tuple[str, ...], Any] = {}


def made(algorithm: str, alphabet: str, han: str = "runs", vocabulary: int = 420) -> Any:
    key = (algorithm, alphabet, han, str(vocabulary))
    if key not in _made:
        _made[key] = train_tokenizer(TEXTS, TokenizerOptions(algorithm=algorithm, alphabet=alphabet, han=han,
                                                             vocabulary=vocabulary))
    return _made[key]


@pytest.mark.parametrize("algorithm, alphabet", LOSSLESS)
@pytest.mark.parametrize("han", ["runs", "apart", "single"])
@given(st.text(st.characters(exclude_characters="▁", exclude_categories=("Cs",)), max_size=30).map(
    lambda text: text + " the cat 猫"))
@settings(deadline=None, max_examples=25)
def test_nothing_is_lost_of_any_text(algorithm: str, alphabet: str, han: str, text: str) -> None:
    tokenizer = made(algorithm, alphabet, han)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text
    pieces = token_pieces(tokenizer)
    assert b"".join(pieces[token] for token in ids) == text.encode()


@pytest.mark.parametrize("algorithm, alphabet", ALL)
def test_a_vocabulary_keeps_to_its_size_and_survives_saving(algorithm: str, alphabet: str, tmp_path: Path) -> None:
    tokenizer = made(algorithm, alphabet)
    assert len(tokenizer) <= 420 and tokenizer.eos_token_id != tokenizer.pad_token_id
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again(TEXTS[1])["input_ids"] == tokenizer(TEXTS[1])["input_ids"]
    assert again.chat_template == tokenizer.chat_template


def test_what_has_no_entry_is_bytes_or_unknown() -> None:
    fallback, characters = made("bpe", "fallback"), made("bpe", "characters")
    names = fallback.convert_ids_to_tokens(fallback("龘", add_special_tokens=False)["input_ids"])
    assert names == ["<0xE9>", "<0xBE>", "<0x98>"]
    assert characters("龘", add_special_tokens=False)["input_ids"] == [characters.unk_token_id]


@pytest.mark.parametrize("algorithm, alphabet", [("bpe", "bytes"), ("wordpiece", "characters")])
def test_chinese_is_split_as_asked(algorithm: str, alphabet: str) -> None:
    longest = {han: max(sum(0x4E00 <= ord(c) <= 0x9FFF for c in piece.decode(errors="ignore"))
                        for piece in token_pieces(made(algorithm, alphabet, han, 700)))
               for han in ("runs", "single")}
    assert longest["single"] == 1 < longest["runs"]
    mixed = [piece.decode(errors="ignore") for piece in token_pieces(made("bpe", "bytes", "apart", 700))]
    assert not any("T模" in piece for piece in mixed)


def test_entries_say_where_words_begin_and_sentences_end() -> None:
    tokenizer = made("bpe", "bytes", "single", 700)
    starts, pieces = word_starts(tokenizer), token_pieces(tokenizer)
    by_piece = {piece: starts[number] for number, piece in enumerate(pieces)}
    assert by_piece[b" the"] and by_piece["猫".encode()] and by_piece[b"."]
    assert not by_piece[b"t"] and not by_piece[b"\x8c"]
    ends = {pieces[number] for number in sentence_ends(tokenizer)}
    assert b"." in ends and "。".encode() in ends and b"\n" in ends and b"the" not in ends
    wordpiece = made("wordpiece", "characters")
    assert {name.startswith("##") for name, start in zip(wordpiece.convert_ids_to_tokens(range(len(wordpiece))),
                                                        word_starts(wordpiece)) if start} == {False}


def test_mask_and_sentinels_stand_for_no_text() -> None:
    tokenizer = train_tokenizer(TEXTS, TokenizerOptions(vocabulary=300))
    added = [mask_token(tokenizer, add=True), *sentinel_tokens(tokenizer, 3, add=True)]
    assert added == [300, 301, 302, 303] and len(tokenizer) == 304
    assert all(token_pieces(tokenizer)[token] == b"" for token in [*added, *tokenizer.all_special_ids])
    assert tokenizer("a<extra_id_1>b", add_special_tokens=False)["input_ids"][1] == added[2]
    assert sentinel_tokens(tokenizer, 9, add=False) == added[1:]
    with pytest.raises(UserError, match="no mask"):
        mask_token(made("bpe", "bytes"), add=False)


def test_coverage_counts_bytes_in_whole_characters() -> None:
    tokenizer = made("bpe", "fallback")
    assert coverage(tokenizer, ["the cat"]).covered == 1.0
    found = coverage(tokenizer, ["the cat龘"])
    assert found.covered == pytest.approx(7 / 10)
    tokens = len(tokenizer("the cat龘", add_special_tokens=False)["input_ids"])
    assert found.bytes_per_token == pytest.approx(10 / tokens)


def test_the_smallest_vocabulary_within_two_per_cent_of_the_least_cost_is_recommended() -> None:
    trials = [Trial(size, Coverage(1, 1), None, 0, 0, cost)
              for size, cost in ((512, 130.0), (1024, 101.9), (2048, 100.0), (4096, 100.5))]
    assert recommended(trials).vocabulary == 1024


def test_the_command_compares_sizes_and_recommends_one(tmp_path: Path, corpus: Path,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "v.json"
    command = ["tune", "tokenizer", str(corpus), "--sizes", "270,300", "--other", str(corpus), "--out", str(out)]
    assert main(command) == 0
    found = read_json(out)
    assert [trial["vocabulary"] for trial in found["trials"]] == [270, 300]
    first = found["trials"][0]
    assert first["embedding_share"] == pytest.approx(128 * 270 / (128 * 270 + 12 * 4 * 128 ** 2))
    assert first["cost"] == pytest.approx((12 * 4 * 128 ** 2 + 128 * 270) / first["held_out"]["bytes_per_token"])
    assert f"Recommended: {found['recommended']}" in capsys.readouterr().out
    assert main(["tune", "tokenizer", str(corpus), "--sizes", "many"]) == 2


def test_what_does_not_go_together_is_refused() -> None:
    for wrong, said in (({"algorithm": "wordpiece"}, "alphabet"), ({"vocabulary": 200}, "too small")):
        with pytest.raises(UserError, match=said):
            train_tokenizer(TEXTS, TokenizerOptions(**wrong))
