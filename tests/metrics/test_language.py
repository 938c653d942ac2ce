"""Perplexity and bits per byte of models whose figures are known."""

import math

import pytest

from preceptor.metrics.language import bits_per_byte, perplexity
from preceptor.run.errors import UserError


def test_a_uniform_model_hesitates_among_the_whole_vocabulary():
    assert perplexity(7 * math.log(50), 7) == pytest.approx(50)
    assert perplexity(0.0, 3) == 1.0


def test_a_uniform_model_of_bytes_costs_eight_bits_whatever_the_tokenizer():
    text = "一个 word".encode()
    assert bits_per_byte(len(text) * math.log(256), len(text)) == pytest.approx(8)
    assert bits_per_byte(3 * math.log(2), 6) == pytest.approx(0.5)


def test_a_diverged_model_has_infinite_perplexity():
    assert perplexity(1e6, 1) == math.inf
    assert math.isnan(perplexity(math.nan, 1))


@pytest.mark.parametrize("measure", [perplexity, bits_per_byte])
def test_nothing_to_measure(measure):
    with pytest.raises(UserError, match="There is no"):
        measure(1.0, 0)
