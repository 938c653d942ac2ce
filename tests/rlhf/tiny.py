"""A world to know by heart: twelve words, models of a few thousand weights, rewards that one line computes."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from preceptor.data.records import Prompt, Response
from preceptor.learn.fit import Term, fit
from preceptor.rlhf.algorithms import ppo
from preceptor.rlhf.batches import RolloutBatches
from preceptor.rlhf.experience import Episodes, Experience
from preceptor.rlhf.loss import ActorCritic
from preceptor.rlhf.options import PpoOptions
from preceptor.rlhf.rollouts import Rollouts
from preceptor.run.log import Log
from preceptor.run.progress import Progress
from preceptor.tokenizer.chat import END, PAD, SPECIALS, TEMPLATE

WORDS = ("good", "bad", "red", "blue", "one", "two", "up")
VOCABULARY = len(SPECIALS) + len(WORDS)
GOOD = len(SPECIALS)


def word_tokenizer() -> Any:
    """One token a word; the specials and the template are those of every tokenizer here."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    names = {name: number for number, name in enumerate((*SPECIALS, *WORDS))}
    words = Tokenizer(models.WordLevel(names, unk_token=WORDS[-1]))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token=END, pad_token=PAD,
                                        additional_special_tokens=list(SPECIALS[2:]))
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def shape(**changes: Any) -> dict[str, Any]:
    return {"vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 32,
            "tie_word_embeddings": True, "bos_token_id": None, "eos_token_id": 0, "pad_token_id": 1,
            "initializer_range": 0.3, "attn_implementation": "sdpa", **changes}


def tiny_policy(seed: int = 0, **changes: Any) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**shape(**changes)))


def tiny_value(seed: int = 1, **changes: Any) -> nn.Module:
    from transformers import LlamaConfig, LlamaForSequenceClassification
    torch.manual_seed(seed)
    return LlamaForSequenceClassification(LlamaConfig(**shape(num_labels=1, **changes)))


def tiny_model(**changes: Any) -> ActorCritic:
    return ActorCritic(tiny_policy(**changes), tiny_value(**changes))


def tiny_prompts(count: int = 6) -> list[Prompt]:
    """Of different lengths, so that no two rows align."""
    return [Prompt(id=f"p{n}", messages=[{"role": "user", "content": " ".join(WORDS[2:][: 1 + n % 5])}])
            for n in range(count)]


class ShareOfGood:
    """The share of an answer's tokens that are the word `good`, its end included: at most 1, without ever ending."""

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
        return [response.token_ids.count(GOOD) / len(response.token_ids) for response in responses]


def tiny_options(**changes: Any) -> PpoOptions:
    return PpoOptions(**{"iterations": 2, "episodes": 8, "minibatches": 2, "max_tokens": 6, "learning_rate": 1e-2,
                          "value_learning_rate": 1e-2, "warmup": 0.0, "ema": 0.0, **changes})


def tiny_episodes(answers: Sequence[Sequence[int]], seed: int = 0, pad: int = 1) -> Episodes:
    """Prompts of one to three tokens before the given answers."""
    draw = torch.Generator().manual_seed(seed)
    prompts = [torch.randint(5, VOCABULARY, (1 + n % 3,), generator=draw).tolist() for n in range(len(answers))]
    return Episodes([f"e{n}" for n in range(len(answers))], prompts, [list(answer) for answer in answers], pad)


def tiny_experience(episodes: Episodes, options: PpoOptions, seed: int = 0) -> Experience:
    """Made-up measurements of the episodes."""
    draw = torch.Generator().manual_seed(seed)
    count, mask = len(episodes.ids), episodes.mask

    def table() -> torch.Tensor:
        return torch.where(mask, torch.randn(mask.shape, generator=draw), 0.0)

    return Experience.estimate(
        episodes, scores=torch.randn(count, generator=draw),
        ended=torch.tensor([answer[-1] == 0 for answer in episodes.answers]), log_probs=-table().abs() - 1,
        reference_log_probs=-table().abs() - 1, values=table(), algorithm=ppo, options=options)


def tiny_batches(model: ActorCritic, options: PpoOptions, reward: Any = None, seed: int = 5) -> RolloutBatches:
    from preceptor.generate.local import LocalDecoder
    reference = tiny_policy()
    reference.load_state_dict(model["policy"].state_dict())
    decoder = LocalDecoder(model["policy"], word_tokenizer(), rows=options.episodes)
    rollouts = Rollouts(model, reference.requires_grad_(False).eval(), decoder, reward or ShareOfGood(), ppo,
                        options, pad=1)
    return RolloutBatches(rollouts, tiny_prompts(), options, seed)


def train(model: ActorCritic, batches: RolloutBatches, options: PpoOptions, folder: Path,
          extra: Sequence[Term] = (), loss: Any = ppo.loss) -> dict[str, torch.Tensor] | None:
    """`fit` as the stage calls it, without a run around it."""
    folder.mkdir(exist_ok=True)
    return fit(model, batches, partial(loss, options=options), options, folder=folder,
               log=Log(folder / "log.jsonl", "ppo", 1), progress=Progress("ppo", 1), extra=extra,
               rates={"value": options.value_learning_rate},
               after_step=lambda number: batches.experience.metrics() if batches.fresh else None)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
