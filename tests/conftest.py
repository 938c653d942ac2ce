"""Shared fixtures: a tiny corpus, tiny recipes, the folder of public data, and both databases."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sql

from benchmarks.postgresql import initdb, server
from preceptor.data.jsonl import write_jsonl
from preceptor.data.records import Document


@pytest.fixture(autouse=True, scope="session")
def _quiet_libraries() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"  # no test may reach for the network
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


@pytest.fixture(scope="session")
def public_data() -> Path:
    """The folder that PRECEPTOR_DATA names; the test is skipped, with the reason, where it is unset."""
    folder = os.environ.get("PRECEPTOR_DATA")
    if not folder:
        pytest.skip("PRECEPTOR_DATA is not set: this test reads public data that is not part of the project")
    return Path(folder)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of 200 short made-up documents."""
    draw = random.Random(0)
    words = [f"{a}{b}" for a in "bdfgkl" for b in ("ado", "emi", "iru", "ona")]
    documents = [Document(" ".join(draw.choices(words, k=draw.randint(3, 40))) + ".", id=f"d{n}", source="made")
                 for n in range(200)]
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    write_jsonl(path, documents)
    return path


@pytest.fixture(scope="session")
def tiny_recipe(corpus: Path) -> Path:
    """A recipe of two steps, one of them trained, that takes about two seconds."""
    path = corpus.parent / "tiny.yaml"
    path.write_text(f"""
name: tiny
description: A vocabulary and a base model of a made-up corpus.
steps:
  - {{name: tokenizer, stage: tokenizer, needs: {{corpus: {corpus}}}, options: {{vocabulary: 300}}}}
  - name: base
    stage: pretrain
    needs: {{corpus: {corpus}, tokenizer: tokenizer, validation: {corpus}}}
    options: {{width: 16, layers: 1, heads: 2, feed_forward: 32, context: 32, rows: 4, steps: 30,
               checkpoint_every: 5, evaluate_every: 15, log_every: 1}}
""")
    return path


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a database server of the session's own, on a socket in a folder that nobody else sees."""
    if initdb() is None and "CI" in os.environ:
        pytest.fail("no PostgreSQL here, and CI must test on it")
    if initdb() is None:
        pytest.skip("PostgreSQL is not installed: this test needs its initdb and pg_ctl")
    with server(durable=False) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty store may be made, on each database in turn."""
    if request.param == "sqlite":
        return str(tmp_path / "feedback.sqlite")
    url = request.getfixturevalue("postgresql")
    name = f"t{abs(hash(request.node.nodeid))}"
    engine = sql.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine.dispose()
    return url.replace("/postgres?", f"/{name}?")
