"""Shared fixtures: a tiny corpus, tiny recipes, and the folder of public data."""

import os
import random
from pathlib import Path

import pytest

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
