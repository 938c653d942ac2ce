"""Every format read, the small well-formed file of each, and what real broken archives yield."""

import gzip
import importlib.util
import json
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from preceptor.data.reading.corpus import Cursor, Found, read_corpus
from preceptor.data.reading.files import expand, format_of
from preceptor.data.reading.options import ReadingOptions
from preceptor.run.errors import UserError

FAST = ReadingOptions(extractor="fast", seconds=30)


@pytest.fixture(scope="module")
def malformed() -> ModuleType:
    path = Path(__file__).parents[3] / "benchmarks/malformed.py"
    spec = importlib.util.spec_from_file_location("malformed", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _read(source: Path, options: ReadingOptions = FAST) -> tuple[dict[str, list[str]], Counter[str]]:
    """Texts by file name, and how often each problem came."""
    texts: dict[str, list[str]] = {}
    problems: Counter[str] = Counter()
    for found in read_corpus(expand([source]), options):
        texts.setdefault(found.path.name, []).extend(document.text for document in found.documents)
        if found.problem:
            problems[found.problem.what] += 1
    return texts, problems


def test_the_well_formed_file_of_every_format_gives_its_text(malformed: ModuleType, tmp_path: Path) -> None:
    for number, (name, content) in enumerate(malformed.well_formed()):
        (tmp_path / f"{number:02}-{name}").write_bytes(content)
    texts, problems = _read(tmp_path)
    joined = {name.partition("-")[2] + name[:2]: "\n".join(parts) for name, parts in texts.items()}
    assert all("bee" in text.lower() for text in joined.values()), joined
    pages = [text for name, text in joined.items() if name.startswith(("p.html", "a.warc0", "a.warc1"))]
    assert pages and all("蜜蜂" in text and "Home | About" not in text for text in pages)
    assert texts["10-b.epub"][0].count("hum in the morning") == 8 and len(texts["10-b.epub"]) == 2
    assert texts["08-w.xml"][3] == "Bee 3\n\nBee 3 is a bee."
    assert len(texts["05-l.jsonl"]) == 30 and texts["14-t.parquet"] == ["The bees hum.", "蜜蜂"]
    assert problems == {"no page: request record": 2, "row has no text": 1}


def test_a_json_file_holds_a_list_a_row_or_lines(tmp_path: Path) -> None:
    """None of them is prose: read as text, a model would learn brackets."""
    rows = [{"text": "The bees hum."}, {"no": "text"}, {"text": "蜜蜂", "id": "b"}]
    (tmp_path / "list.json").write_text(json.dumps(rows, indent=1))
    (tmp_path / "unnamed").write_text(json.dumps(rows))
    (tmp_path / "one.json").write_text(json.dumps(rows[0], indent=1))
    (tmp_path / "lines.json").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "cut.json").write_text(json.dumps(rows, indent=1)[:60])
    texts, problems = _read(tmp_path)
    assert texts == {"list.json": ["The bees hum.", "蜜蜂"], "unnamed": ["The bees hum.", "蜜蜂"],
                     "lines.json": ["The bees hum.", "蜜蜂"], "one.json": ["The bees hum."], "cut.json": []}
    assert problems == {"row has no text": 3, "file is not valid JSON": 1}


def test_broken_archives_yield_what_can_be_read_and_say_what_cannot(public_data: Path) -> None:
    texts, problems = _read(public_data / "web/warc")
    one = [name for name, found in texts.items() if len(found) == 1 and "documentation examples" in found[0]
           or len(found) == 1 and "illustrative examples" in found[0]]
    assert {"example.warc", "example.warc.gz", "example.arc", "example.arc.gz", "example-trunc.warc",
            "example-bad-non-chunked.warc.gz", "example-bad.warc.gz.bad", "example-wrong-chunks.warc.gz"} <= set(one)
    assert "Escopete" in texts["whirlwind.warc.gz"][0] and "Escopete" in texts["whirlwind.warc.wet.gz"][0]
    assert problems["WAT record has no title or description"] == 1  # the pack's is of a request
    assert texts["example-space-in-url.arc"] == [] and problems["record is cut short"] == 1
    assert len(texts) == 19


@pytest.mark.parametrize("extractor", ["careful", "fast"])
def test_pages_in_other_encodings_keep_what_people_marked(public_data: Path, extractor: str) -> None:
    truth = json.loads((public_data / "web/html_raw/index.json").read_text(encoding="utf-8"))
    options = ReadingOptions(extractor=extractor, seconds=60)
    texts, _ = _read(public_data / "web/html_raw/*html", options)
    marked = [(part, name) for name, page in truth.items() for part in page.get("must_contain") or []]
    missing = [part for part, name in marked if part not in texts[name][0]]
    assert len(marked) > 20 and len(missing) / len(marked) < 0.15, missing


def test_metadata_records_give_title_and_description(malformed: ModuleType, tmp_path: Path) -> None:
    head = {"Title": "Bees", "Metas": [{"name": "description", "content": "All of them."}]}
    envelope = {"Envelope": {"Payload-Metadata": {"HTTP-Response-Metadata": {"HTML-Metadata": {"Head": head}}}}}
    record = malformed.conversion(json.dumps(envelope).encode()).replace(b"conversion", b"metadata", 1)
    (tmp_path / "a.wat").write_bytes(record.replace(b"text/plain", b"application/json"))
    assert _read(tmp_path)[0] == {"a.wat": ["Bees\nAll of them."]}


def test_dumps_keep_articles_and_count_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "zhwiki.xml"
    path.write_text("""<mediawiki><siteinfo><dbname>zhwiki</dbname></siteinfo>
      <page><title>蜜蜂</title><ns>0</ns><id>7</id><revision><id>8</id><text>'''蜜蜂'''是[[昆虫|昆虫]]。&lt;ref&gt;注&lt;/ref&gt;
{{信息框|a=b}}
{| class="x"
| 表格
|}
== 习性 ==
* 采蜜
[[分类:昆虫]][[File:Bee.jpg|thumb|图]]</text></revision></page>
      <page><title>蜂</title><ns>0</ns><id>9</id><redirect title="蜜蜂"/><revision><text>#R</text></revision></page>
      <page><title>Talk:蜂</title><ns>1</ns><id>9</id><revision><text>hm</text></revision></page>
      <page><title>空</title><ns>0</ns><id>9</id><revision><text/></revision></page></mediawiki>""", encoding="utf-8")
    found = [one for one in read_corpus([path], FAST)]
    article = found[0].documents[0]
    assert (article.id, article.source) == ("7", "zhwiki")
    assert article.text.split() == ["蜜蜂", "蜜蜂是昆虫。", "习性", "采蜜"]
    assert [one.problem.what for one in found if one.problem] == [
        "no article: redirect", "no article: other namespace", "article is empty"]


def test_text_is_cut_at_blank_lines_and_decoded_as_it_is_written(tmp_path: Path) -> None:
    paragraphs = [f"Paragraph {n}. " + "bees " * 40 for n in range(100)]
    (tmp_path / "a.txt").write_text("\r\n\r\n".join(paragraphs), encoding="utf-8", newline="")
    (tmp_path / "b.txt").write_bytes("蜜蜂在花园里嗡嗡作响，花开了，春天来了。\n".encode("gb18030") * 30)
    (tmp_path / "c.txt").write_bytes("蜜蜂".encode("utf-16"))
    (tmp_path / "d.md").write_bytes(b"\xef\xbb\xbf# Title")
    texts, problems = _read(tmp_path, ReadingOptions(passage=3000))
    assert len(texts["a.txt"]) > 3 and all(text.startswith("Paragraph") for text in texts["a.txt"])
    assert "\n\n".join(texts["a.txt"]).split() == " ".join(paragraphs).split()
    assert texts["b.txt"][0].startswith("蜜蜂在花园里") and texts["c.txt"] == ["蜜蜂"] and texts["d.md"] == ["# Title"]
    assert not problems


def test_paths_folders_and_patterns_name_each_file_once(tmp_path: Path) -> None:
    for name in ("a.txt", "sub/b.jsonl.gz", ".hidden/c.txt", "sub/d"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "sub/d").write_bytes(gzip.compress(b"<!doctype html><p>hi"))
    files = expand([tmp_path, tmp_path / "a.txt", f"{tmp_path}/sub/*"])
    assert [file.relative_to(tmp_path).as_posix() for file in files] == ["a.txt", "sub/b.jsonl.gz", "sub/d"]
    assert [format_of(file) for file in files] == ["text", "jsonl", "html"]
    for missing in (tmp_path / "no", f"{tmp_path}/*.pdf"):
        with pytest.raises(UserError, match="no file"):
            expand([missing])


def test_reading_goes_on_from_any_cursor(malformed: ModuleType, tmp_path: Path) -> None:
    for name, content in malformed.well_formed()[:9]:
        (tmp_path / name).write_bytes(content)
    files = expand([tmp_path])
    whole = list(read_corpus(files, FAST))
    for place in (0, 3, len(whole) // 2, len(whole) - 2):
        assert list(read_corpus(files, FAST, whole[place].next)) == whole[place + 1:]
    assert isinstance(whole[0], Found) and whole[-1].next == Cursor(len(files), 0)
