"""A Preceptor model as a model of lm-evaluation-harness, so that its hundreds of tasks run on our folders.

    pip install lm-eval        # optional; some thirty packages, none of them large, no CUDA
    from preceptor.evaluate.suites.harness import harness_model
    lm_eval.simple_evaluate(model=harness_model(Path("runs/demo/03-sft"), form="plain"), tasks=["hellaswag"])

Its own class for Hugging Face models reads our folders as well. This one asks through our tokenisation, truncation and
decoder, so that equal scores prove ours (docs/suites.md gives the comparison).
"""

from pathlib import Path
from typing import Any

from preceptor.evaluate.suites.examinee import LocalExaminee
from preceptor.generate.decoder import Sampling
from preceptor.run.errors import UserError


def harness_model(folder: Path, form: str = "plain", rows: int = 16) -> Any:
    """An `lm_eval.api.model.LM` over a model folder.

    Raises:
        UserError: lm-evaluation-harness is not installed, or there is no model.
    """
    try:
        from lm_eval.api.model import LM
    except ImportError:
        raise UserError("lm-evaluation-harness is not installed.", "Install it: pip install lm-eval.") from None
    examinee = LocalExaminee(folder, folder.name, form, rows)

    class PreceptorModel(LM):
        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            return examinee.likelihoods([request.args for request in requests])

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            return [nats for nats, _ in examinee.likelihoods([("", request.args[0]) for request in requests])]

        def generate_until(self, requests: list[Any]) -> list[str]:
            found = []
            for request in requests:
                context, options = request.args
                stop = options.get("until") or ()
                sampling = Sampling(temperature=0.0, max_tokens=int(options.get("max_gen_toks", 256)),
                                    stop=(stop,) if isinstance(stop, str) else tuple(stop))
                found += examinee.write([context], sampling, seed=0)
            return found

    return PreceptorModel()
