"""Implicit language Q-learning (Snell et al. 2022, arXiv 2206.11871): values of tokens, from answers that are there.

One trunk carries the model of the data's answers and the heads of Q and V. The heads are linear, so that the policy
pi_data exp(beta Q) is linear in the trunk's states too: what is written is an ordinary language model whose unembedding
is W + beta W_Q. (The paper keeps Q beside a second network and adds the two while decoding.)

The reward of an answer is its place in the ranking: the share of the others that it beats less the share that beat it,
from -1 to 1, paid at its last token.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from preceptor.data.batches import Batch
from preceptor.data.ranked import AnswerTokens, RankedBatches, RankedPrompt, answer_tokens
from preceptor.learn.adapting import adapt
from preceptor.learn.fit import fit
from preceptor.losses.implicit_q import conservative_loss, follow, implicit_policy, q_loss, value_loss
from preceptor.losses.likelihood import selected_log_probs
from preceptor.models.attention import shared_prompt_mask
from preceptor.models.causal import context_length, hidden_states, load_causal, model_folder, save_model
from preceptor.models.reward_model import AnswerEncoder
from preceptor.rlhf.offline_options import IlqlOptions
from preceptor.rlhf.rankings import HeldOut, announce, training_rankings
from preceptor.run.step import Step
from preceptor.tokenizer.chat import load_tokenizer

HEADS = 2  # the lesser of two estimates, against the optimism of a maximum over noise


class ValuedModel(nn.ModuleDict):
    """`policy` (a causal model, the trunk), `q`, its slow copy `target`, and `value`: linear heads that start at 0."""

    def __init__(self, policy: nn.Module) -> None:
        vocabulary, width = policy.get_output_embeddings().weight.shape
        super().__init__({"policy": policy, "q": nn.Linear(width, HEADS * vocabulary, bias=False),
                          "target": nn.Linear(width, HEADS * vocabulary, bias=False),
                          "value": nn.Linear(width, 1)})
        with torch.no_grad():
            self["q"].weight.normal_(0, 0.01)  # not 0: two heads that start alike stay alike
            self["target"].weight.copy_(self["q"].weight)
            self["value"].weight.zero_()
            self["value"].bias.zero_()
        self["target"].requires_grad_(False)
        self.to(policy.device)


def run(step: Step) -> None:
    """Read `policy` and `comparisons`; write model/ and results.json."""
    options: IlqlOptions = step.options
    folder = model_folder(step.input("policy"))
    tokenizer, policy = load_tokenizer(folder), load_causal(folder)
    adapt(step, policy)
    model = ValuedModel(policy)
    encoder = AnswerEncoder(tokenizer, context_length(model["policy"]))
    prompts = [rewarded(one) for one in training_rankings(step, encoder)]
    batches = RankedBatches(prompts, rows=options.rows, epochs=options.epochs, pad=encoder.pad, seed=step.seed)
    announce(step, model, prompts, batches)
    held_out = HeldOut.read(step, encoder, model["policy"], reference=False)

    def move_target(_: int) -> None:
        follow(model["target"].weight, model["q"].weight, options.target_rate)

    rate = options.heads_learning_rate
    fit(model, batches, partial(loss, options=options), options, folder=step.folder, log=step.log,
        progress=step.progress(batches.total), rates={"q": rate, "value": rate}, after_step=move_target)
    held_out.measure(model, final_values)
    save_model(merged(model, options.beta), tokenizer, step.folder / "model")


def rewarded(one: RankedPrompt) -> RankedPrompt:
    """The prompt with the reward of each answer; its loss counts the tokens of its answers."""
    others = max(len(one.ranks) - 1, 1)
    places = [sum((other > rank) - (other < rank) for other in one.ranks) / others for rank in one.ranks]
    return replace(one, tables={"reward": places}, count=sum(map(len, one.answers)))


def loss(model: ValuedModel, batch: Batch, options: IlqlOptions) -> tuple[Tensor, int, dict[str, Tensor]]:
    """L_Q + L_V + conservative_weight L_C, plus the cross-entropy by which the trunk stays a model of the data."""
    at, hidden_ND, q_HNV = _read(model, batch, "q")
    values_N = model["value"](hidden_ND).squeeze(-1).float()
    with torch.no_grad():
        target_HN = _chosen(_heads(model["target"], hidden_ND), at)
    rewards_N = torch.where(at.last, batch["reward"][at.rows, at.answers], 0.0)
    of_q = q_loss(_chosen(q_HNV, at), values_N, rewards_N, at.last, options.discount)
    of_value = value_loss(values_N, target_HN, options.expectile)
    cautious = conservative_loss(q_HNV, at.targets)
    head = model["policy"].get_output_embeddings()
    likelihood = -selected_log_probs(hidden_ND, head.weight, at.targets, bias=head.bias).sum()
    total = of_q + of_value + options.conservative_weight * cautious + likelihood
    return total, len(at.targets), {"q_loss": of_q, "value_loss": of_value, "conservative_loss": cautious,
                                    "cross_entropy": likelihood, "value": values_N.detach().sum()}


def final_values(model: ValuedModel, batch: Batch) -> Tensor:
    """The lesser Q of the last token of every answer, [B, K]: what the answer is thought to be worth once written."""
    at, _, q_HNV = _read(model, batch, "q")
    worth_N = _chosen(q_HNV, at).amin(0)
    table = torch.zeros(batch["ranks"].shape, device=worth_N.device)
    return table.index_put((at.rows[at.last], at.answers[at.last]), worth_N[at.last])


def _read(model: ValuedModel, batch: Batch, head: str) -> tuple[AnswerTokens, Tensor, Tensor]:
    """The answers' tokens, the states that choose them [N, D], and all Q there [H, N, V]."""
    at = answer_tokens(batch)
    hidden_ND = hidden_states(model["policy"], batch, shared_prompt_mask)[at.rows, at.sources]
    return at, hidden_ND, _heads(model[head], hidden_ND)


def _heads(head: nn.Linear, hidden_ND: Tensor) -> Tensor:
    return head(hidden_ND).float().unflatten(-1, (HEADS, -1)).transpose(0, 1)


def _chosen(q_HNV: Tensor, at: AnswerTokens) -> Tensor:
    """Q of the tokens that the answers have, [H, N]."""
    return q_HNV.gather(2, at.targets.expand(HEADS, -1)[:, :, None]).squeeze(2)


@torch.no_grad()
def merged(model: ValuedModel, beta: float) -> Any:
    """The policy pi_data exp(beta Q) as one causal model; Q is the mean of the slow heads."""
    policy = model["policy"]
    old = policy.get_output_embeddings()
    q_VD = model["target"].weight.unflatten(0, (HEADS, -1)).mean(0)
    new = nn.Linear(*reversed(old.weight.shape), bias=old.bias is not None, device=old.weight.device)
    new.weight.copy_(implicit_policy(old.weight, q_VD, beta))
    if old.bias is not None:
        new.bias.copy_(old.bias)
    policy.config.tie_word_embeddings = False  # what reads tokens stays as it was
    policy.set_output_embeddings(new)
    return policy
