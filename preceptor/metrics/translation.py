"""BLEU and chrF by sacrebleu, with its signature: the only form in which these figures can be compared (Post 2018)."""

from collections.abc import Sequence
from dataclasses import dataclass

from preceptor.run.errors import UserError


@dataclass(frozen=True, slots=True)
class CorpusScore:
    """A score of a whole corpus, 0 to 100, its 95 % interval over sentences, and how it was computed."""

    score: float
    low: float
    high: float
    n: int
    signature: str


def bleu(answers: Sequence[str], references: Sequence[Sequence[str]], language: str = "en",
         resamples: int = 1000) -> CorpusScore:
    """Corpus BLEU (Papineni et al. 2002) into `language`; Chinese is cut by sacrebleu's tokenizer `zh`.

    Args:
        answers: one a sentence.
        references: for each answer the references it may match; each answer has as many.
        resamples: of the bootstrap over sentences; 1 leaves the interval at the score.

    Raises:
        UserError: sacrebleu is not installed, or there is no answer.
    """
    from_library = _sacrebleu()
    metric = from_library.BLEU(tokenize="zh" if language == "zh" else "13a")
    return _corpus_score(metric, answers, references, resamples)


def chrf(answers: Sequence[str], references: Sequence[Sequence[str]], resamples: int = 1000) -> CorpusScore:
    """Corpus chrF2 (Popovic 2015): F2 of character n-grams up to 6. It needs no tokenizer, so it suits any language.

    Arguments and errors as for `bleu`.
    """
    return _corpus_score(_sacrebleu().CHRF(), answers, references, resamples)


def _corpus_score(metric: object, answers: Sequence[str], references: Sequence[Sequence[str]],
                  resamples: int) -> CorpusScore:
    if not answers:
        raise UserError("There is no translation to score.", "Give at least one answer.")
    streams = [list(stream) for stream in zip(*references, strict=True)]
    found = metric.corpus_score(list(answers), streams, n_bootstrap=resamples)
    middle, reach = (found.score, 0.0) if resamples <= 1 else (found._mean, found._ci)
    return CorpusScore(float(found.score), max(0.0, float(middle - reach)), min(100.0, float(middle + reach)),
                       len(answers), str(metric.get_signature()))


def _sacrebleu() -> object:
    try:
        from sacrebleu import metrics
    except ImportError:
        raise UserError("BLEU and chrF are computed by sacrebleu, which is not installed.",
                        "Install it: pip install 'preceptor[scores]'.") from None
    return metrics
