"""Offline judges: classifiers of texts trained from human labels, which say how often they are right.

    p(label) = sigmoid(w x + b),  x = hashed words and word pairs (Chinese: characters), each text of length 1,
                                  and where there are references: the likeness to the right and the wrong ones

trained by L-BFGS on the likelihood with an L2 penalty. Small on purpose: it needs no network and no model, trains in
seconds, and its accuracy stands beside every figure that rests on it. A larger model as judge: `preference.py`.
"""

import math
import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from preceptor.data.jsonl import read_rows
from preceptor.evaluate.suites.description import Judge
from preceptor.evaluate.suites.items import filled, value
from preceptor.metrics.intervals import bootstrap_mean
from preceptor.metrics.overlap import normalised, token_f1
from preceptor.metrics.repetition import text_tokens
from preceptor.run.errors import UserError

BUCKETS = 1 << 18
FOLDS = 5
PENALTY = 1.0
LIKENESS = 3  # dense features: likeness to the right references, to the wrong ones, and the difference


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text with its human label; `group` never stands on both sides of a test, `row` holds what `references` need."""

    text: str
    label: bool
    group: str
    row: dict[str, Any]


class TrainedJudge:
    """p(label) of texts. `measured` is what is known of its accuracy, from `train`."""

    def __init__(self, judge: Judge, folder: Path, seed: int = 0) -> None:
        self.judge = judge
        self._references = _read_references(judge, folder)
        rows = [one for file in judge.files for one in
                _labelled(judge.name, folder / file, judge.text, judge.label, judge.where, judge.group)]
        if len({one.label for one in rows}) < 2:
            raise UserError(f"The judge '{judge.name}' has labels of one kind only.", "Check its `label` and `where`.")
        features = self._features([one.text for one in rows], [one.row for one in rows])
        labels = np.array([one.label for one in rows], dtype=np.float64)
        self._weights = fit_logistic(features, labels)
        self.measured = self._cross_validated(rows, features, labels, seed)
        if judge.test:
            test = _labelled(judge.name, folder / judge.test, judge.test_text or judge.text,
                             judge.test_label or judge.label)
            said = self.probabilities([one.text for one in test], [one.row for one in test])
            self.measured["other_source"] = accuracy_figures(said, [one.label for one in test],
                                                             [one.group for one in test])

    def probabilities(self, texts: Sequence[str], rows: Sequence[dict[str, Any]]) -> list[float]:
        """p(label) of each text; `rows` hold the field that joins a text with its references."""
        return _sigmoid(self._features(texts, rows) @ self._weights[:-1] + self._weights[-1]).tolist()

    def _cross_validated(self, rows: Sequence[Labelled], features: csr_matrix, labels: np.ndarray,
                         seed: int) -> dict[str, Any]:
        """Accuracy on texts whose group it was not trained on."""
        fold_of = np.array([random.Random(f"{seed}/{one.group}").randrange(FOLDS) for one in rows])
        said = np.zeros(len(rows))
        for fold in range(FOLDS):
            held = fold_of == fold
            if held.any() and len(set(labels[~held])) == 2:
                weights = fit_logistic(features[~held], labels[~held])
                said[held] = _sigmoid(features[held] @ weights[:-1] + weights[-1])
        return accuracy_figures(said.tolist(), labels.astype(bool).tolist(), [one.group for one in rows])

    def _features(self, texts: Sequence[str], rows: Sequence[dict[str, Any]]) -> csr_matrix:
        starts, columns, values = [0], [], []
        for text, row in zip(texts, rows, strict=True):
            buckets = sorted(hashed(text))
            columns += buckets
            values += [1 / math.sqrt(len(buckets) or 1)] * len(buckets)  # an answer may be empty
            if self._references:
                columns += range(BUCKETS, BUCKETS + LIKENESS)
                values += self._likeness(row)
            starts.append(len(columns))
        return csr_matrix((values, columns, starts), shape=(len(texts), BUCKETS + LIKENESS))

    def _likeness(self, row: dict[str, Any]) -> list[float]:
        """Likeness of the row's `answer` to its references; one that equals the answer is not looked at, because the
        human labels include those of the references themselves."""
        answer = str(row.get("answer", ""))
        right, wrong = (max((token_f1(answer, [one]) for one in some if normalised(one) != normalised(answer)),
                            default=0.0) for some in self._references.get(str(row.get(self.judge.key)), ((), ())))
        return [right, wrong, right - wrong]


def hashed(text: str) -> set[int]:
    """The buckets of a text's words and pairs of neighbouring words."""
    words = text_tokens(text.lower())
    grams = [*words, *(f"{one} {other}" for one, other in zip(words, words[1:]))]
    return {zlib.crc32(gram.encode()) % BUCKETS for gram in grams}


def fit_logistic(features: csr_matrix, labels: np.ndarray) -> np.ndarray:
    """(weights, bias) that maximise the log-likelihood - PENALTY/2 |weights|^2; classes weigh as they occur."""
    used = np.unique(features.indices)
    small = features[:, used]

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = small @ w[:-1] + w[-1]
        error = _sigmoid(z) - labels
        value = float(np.logaddexp(0, z).sum() - labels @ z + PENALTY / 2 * w[:-1] @ w[:-1])
        return value, np.append(small.T @ error + PENALTY * w[:-1], error.sum())
    found = minimize(loss, np.zeros(len(used) + 1), jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
    weights = np.zeros(features.shape[1] + 1)
    weights[used], weights[-1] = found[:-1], found[-1]
    return weights


def accuracy_figures(said: Sequence[float], labels: Sequence[bool], groups: Sequence[str]) -> dict[str, Any]:
    """Accuracy with its interval over groups, what always saying the commoner label gets, and the AUC."""
    right = [float((one > 0.5) == label) for one, label in zip(said, labels, strict=True)]
    share = sum(labels) / len(labels)
    return {"accuracy": bootstrap_mean(right, groups).to_dict(), "majority": max(share, 1 - share),
            "auc": auc(said, labels), "labels": len(labels)}


def auc(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """The share of pairs of a true and a false one in which the true one has the higher score, ties one half."""
    values, wanted = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=bool)
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    positive, negative = wanted.sum(), (~wanted).sum()
    return float((ranks[wanted].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(np.asarray(z) / 2))


def _labelled(name: str, path: Path, text: str, label: str, where: str = "true", group: str = "id") -> list[Labelled]:
    found = []
    for number, row in read_rows(path):
        row = {"id": f"line {number}", **row}
        if value(where, row, name):
            found.append(Labelled(filled(text, row, name), bool(value(label, row, name)),
                                  str(value(group, row, name)), row))
    if not found:
        raise UserError(f"'{path}' has no label for the judge '{name}'.", "Check the file and the judge's `where`.")
    return found


def _read_references(judge: Judge, folder: Path) -> dict[str, tuple[list[str], list[str]]]:
    if not judge.references:
        return {}
    return {str(row[judge.key]): (row[judge.right], row[judge.wrong])
            for _, row in read_rows(folder / judge.references)}
