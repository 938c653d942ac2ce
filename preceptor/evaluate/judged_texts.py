"""The quality of a model's answers under a judge, a model that did not write them: coherence, and MAUVE beside people.

The judge reads texts with its own tokenizer, so it may be of any family.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from preceptor.data.records import Prompt
from preceptor.metrics.language import coherence
from preceptor.metrics.mauve import mauve
from preceptor.models.causal import context_length, load_causal, model_folder
from preceptor.models.soft_prompt import refuse_soft_prompt
from preceptor.tokenizer.chat import encode_answer, encode_prompt, load_tokenizer

LEAST_TEXTS = 20
"""Of each kind, for MAUVE: two clusters of ten. Its authors want a thousand."""


class Judge:
    """The model in `folder`, reading. `cut` counts the prompts and texts so far that its context did not hold whole.

    Raises:
        UserError: there is no causal model in the folder.
    """

    def __init__(self, folder: Path) -> None:
        source = model_folder(folder)
        self.model, self.tokenizer = load_causal(source).eval(), load_tokenizer(source)
        refuse_soft_prompt(self.model, "Judging texts")
        self.context = context_length(self.model)
        self.cut = 0

    @torch.inference_mode()
    def log_probs(self, prompt: Prompt, text: str) -> list[float]:
        """log p of each token of an answer given its prompt; the prompt loses its beginning to fit the context."""
        before, answer = encode_prompt(self.tokenizer, prompt), encode_answer(self.tokenizer, prompt, text)
        self.cut += len(before) + len(answer) > self.context
        answer = answer[:self.context - 1]
        before = before[-(self.context - len(answer)):]
        tokens = torch.tensor([before + answer], device=self.model.device)
        log_probs = self.model(tokens).logits[0, len(before) - 1:-1].float().log_softmax(-1)
        return log_probs.gather(-1, tokens[0, len(before):, None])[:, 0].tolist()

    @torch.inference_mode()
    def features(self, texts: Sequence[str]) -> np.ndarray:
        """The last hidden state of each text that has a token, (texts, width); a text too long loses its end."""
        states = []
        for text in texts:
            tokens = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            self.cut += len(tokens) > self.context
            if tokens:
                read = self.model.base_model(torch.tensor([tokens[:self.context]], device=self.model.device))
                states.append(read.last_hidden_state[0, -1].float().cpu().numpy())
        return np.array(states)


def quality(judge: Judge, prompts: Sequence[Prompt], answers: Sequence[str], human: Sequence[str]) -> dict[str, float]:
    """`coherence` of the answers, and `mauve` of answers and human texts where there are 20 of each; a figure that
    cannot be measured is absent. MAUVE is for texts of like length: give human texts as long as the answers.
    """
    found = {"coherence": coherence([judge.log_probs(prompt, text) for prompt, text in zip(prompts, answers)])}
    ours, theirs = judge.features(answers), judge.features(human)
    if min(len(ours), len(theirs)) >= LEAST_TEXTS:
        found["mauve"] = mauve(theirs, ours)
    found |= {"answers_read": len(ours), "human_texts_read": len(theirs), "cut": judge.cut}
    return {name: value for name, value in found.items() if value is not None}
