"""A world to know by heart: twelve words, models of a few thousand weights, rewards that one line computes."""

from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from preceptor.data.records import Prompt, Response
from preceptor.learn.fit import Term, fit
from preceptor.rlhf.batches import RolloutBatches
from preceptor.rlhf.experience import Episodes, Experience
from preceptor.rlhf.networks import Networks
from preceptor.rlhf.nucleus import MaskedPolicy, NucleusMask
from preceptor.rlhf.options import CriticOptions, NlpoOptions, OnlineOptions, PpoOptions
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


def tiny_networks(options: OnlineOptions | None = None, seed: int = 0, **changes: Any) -> Networks:
    """The networks that an algorithm wants (PPO's without options); the reference is the policy as it begins."""
    options = options or tiny_options()
    policy, reference = tiny_policy(seed, **changes), tiny_policy(seed, **changes)
    value = tiny_value(seed + 1, **changes) if isinstance(options, CriticOptions) else None
    mask = NucleusMask(policy, options.mask_top_p, options.temperature) if isinstance(options, NlpoOptions) else None
    return Networks(policy, reference, value, mask)


def tiny_prompts(count: int = 6) -> list[Prompt]:
    """Of different lengths, so that no two rows align."""
    return [Prompt(id=f"p{n}", messages=[{"role": "user", "content": " ".join(WORDS[2:][: 1 + n % 5])}])
            for n in range(count)]


class ShareOfGood:
    """The share of an answer's tokens that are the word `good`, its end included: at most 1, without ever ending."""

    def score(self, prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[float]:
        return [response.token_ids.count(GOOD) / len(response.token_ids) for response in responses]


def tiny_options(kind: type[OnlineOptions] = PpoOptions, **changes: Any) -> Any:
    chosen = {"iterations": 2, "episodes": 8, "minibatches": 2, "max_tokens": 6, "learning_rate": 1e-2,
              "value_learning_rate": 1e-2, "warmup": 0.0, "ema": 0.0, "answers_per_prompt": 4}
    known = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in chosen.items() if name in known} | changes)


def algorithm_of(options: OnlineOptions) -> Any:
    return import_module(f"preceptor.rlhf.algorithms.{options.algorithm}")


def tiny_episodes(answers: Sequence[Sequence[int]], seed: int = 0, pad: int = 1) -> Episodes:
    """Prompts of one to three tokens before the given answers."""
    draw = torch.Generator().manual_seed(seed)
    prompts = [torch.randint(5, VOCABULARY, (1 + n % 3,), generator=draw).tolist() for n in range(len(answers))]
    return Episodes([f"e{n}" for n in range(len(answers))], prompts, [list(answer) for answer in answers], pad)


def estimate(episodes: Episodes, options: OnlineOptions, **measured: Any) -> Experience:
    """`Experience.estimate` with what does not matter made up: scores 0, paid as scored, values 0."""
    count, none = len(episodes.ids), torch.zeros(episodes.mask.shape)
    given = {"scores": torch.zeros(count), "ended": torch.ones(count, dtype=torch.bool), "log_probs": none,
             "reference_log_probs": none, "values": none if isinstance(options, CriticOptions) else None,
             "kl_coefficient": options.kl_coefficient, **measured}
    return Experience.estimate(episodes, **{"paid": given["scores"], **given}, algorithm=algorithm_of(options),
                               options=options)


def tiny_experience(episodes: Episodes, options: OnlineOptions, seed: int = 0) -> Experience:
    """Made-up measurements of the episodes."""
    draw = torch.Generator().manual_seed(seed)
    count, mask = len(episodes.ids), episodes.mask

    def table() -> torch.Tensor:
        return torch.where(mask, torch.randn(mask.shape, generator=draw), 0.0)

    found = {"scores": torch.randn(count, generator=draw), "log_probs": -table().abs() - 1,
             "reference_log_probs": -table().abs() - 1}
    values = {"values": table()} if isinstance(options, CriticOptions) else {}
    return estimate(episodes, options, **found, **values,
                    ended=torch.tensor([answer[-1] == 0 for answer in episodes.answers]))


def tiny_batches(networks: Networks, options: OnlineOptions, reward: Any = None, seed: int = 5) -> RolloutBatches:
    from preceptor.generate.local import LocalDecoder
    writer = MaskedPolicy(networks.policy, networks.mask) if networks.mask else networks.policy
    decoder = LocalDecoder(writer, word_tokenizer(), rows=options.episodes)
    rollouts = Rollouts(networks, decoder, reward or ShareOfGood(), algorithm_of(options), options, pad=1)
    return RolloutBatches(rollouts, tiny_prompts(), options, seed)


def train(networks: Networks, batches: RolloutBatches, options: OnlineOptions, folder: Path,
          extra: Sequence[Term] = (), loss: Any = None) -> dict[str, torch.Tensor] | None:
    """`fit` as the stage calls it, without a run around it."""
    folder.mkdir(exist_ok=True)
    return fit(networks, batches, loss or batches.loss, options, folder=folder,
               log=Log(folder / "log.jsonl", "ppo", 1), progress=Progress("ppo", 1), extra=extra,
               rates={"value": options.value_learning_rate} if networks.value else {},
               after_step=lambda number: batches.end_step())


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
