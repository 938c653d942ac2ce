"""What a network is trained to do: the loss of its kind, and the layout that hides or damages the text for it."""

from collections.abc import Sequence
from random import Random

from preceptor.data.batches import Batch, Example, Layout, collate
from preceptor.data.denoising import Infilling, SpanCorruption
from preceptor.data.masking import Masking
from preceptor.learn.gradients import Loss
from preceptor.learn.language import language_objective, load_teacher, named_loss
from preceptor.learn.objectives import balanced_loss, masked_loss, written_loss
from preceptor.learn.options import LanguageOptions
from preceptor.models.soft_prompt import refuse_soft_prompt
from preceptor.pretrain.start import Start
from preceptor.run.errors import UserError
from preceptor.run.step import Step
from preceptor.tokenizer.pieces import sentence_ends, special_tokens, word_starts

BALANCE = 0.01  # Fedus et al. 2022, §2.2
OF_CAUSAL = ("unlikelihood", "unlikelihood_sequence", "simctg_margin", "ditto", "label_smoothing", "distillation")
OF_MASKED, OF_DENOISING = ("masking", "whole_words"), ("span",)


def objective(step: Step, begun: Start) -> Loss:
    """The loss of the network's kind.

    Raises:
        UserError: an option is set that means nothing for this kind.
    """
    options = step.options
    experts = getattr(begun.model.config, "num_experts_per_tok", 0)
    if begun.kind != "causal":
        _refuse(step, LanguageOptions, OF_CAUSAL, begun.kind)
    if begun.kind != "masked":
        _refuse(step, type(options), OF_MASKED, begun.kind)
    if begun.kind != "encoder_decoder":
        _refuse(step, type(options), OF_DENOISING, begun.kind)
    if begun.kind == "causal":
        _refuse(step, type(options), ("hidden_share",), begun.kind)
    if options.expert_balance is not None and not experts:
        raise UserError(f"'{step.name}.expert_balance' is for mixtures of experts.", "Leave it out.")
    if experts:
        refuse_soft_prompt(begun.model, "A mixture of experts")
    if options.loss:
        return named_loss(options.loss)
    if begun.kind != "causal":
        return masked_loss if begun.kind == "masked" else written_loss
    if not experts:
        return language_objective(options, load_teacher(step))
    _refuse(step, LanguageOptions, ("unlikelihood", "simctg_margin", "label_smoothing", "distillation"),
            "mixture of experts")
    return balanced_loss(BALANCE if options.expert_balance is None else options.expert_balance)


def _refuse(step: Step, owner: type, names: Sequence[str], kind: str) -> None:
    for name in names:
        if getattr(step.options, name) != getattr(owner, name):
            raise UserError(f"'{step.name}.{name}' means nothing for a network of the kind "
                            f"{kind.replace('_', '-')}.", "Leave it out.")


def training_layout(step: Step, begun: Start) -> Layout | None:
    """How a batch of the network's kind is laid out; None where it is the text itself."""
    options, tokenizer, config = step.options, begun.tokenizer, begun.model.config
    share = options.hidden_share
    if begun.kind == "causal":
        return None
    if begun.kind == "masked":
        static = (options.masking or ("static" if config.model_type == "bert" else "dynamic")) == "static"
        return Masking(mask=begun.hidden[0], pad=tokenizer.pad_token_id, vocabulary=len(tokenizer),
                       special=special_tokens(tokenizer), share=0.15 if share is None else share,
                       static_seed=step.seed if static else None,
                       starts=word_starts(tokenizer) if options.whole_words else None)
    tokens = {"end": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id, "start": config.decoder_start_token_id}
    if begun.denoising == "spans":
        return SpanCorruption(sentinels=begun.hidden, **tokens, share=0.15 if share is None else share,
                              span=options.span)
    return Infilling(mask=begun.hidden[0], **tokens, share=0.3 if share is None else share, span=options.span,
                     sentence_ends=sentence_ends(tokenizer))


def as_it_is(pad: int) -> Layout:
    """The layout of text that nothing is hidden from."""
    def layout(rows: Sequence[Sequence[Example]], draw: Random) -> Batch:
        return collate(rows, pad)
    return layout
