"""The adopt stage: a model that others pretrained becomes the base of a run.

The run keeps a copy in fp32 with a tokenizer that has a chat template and a padding token, so that nothing later
depends on a folder or a hub that may change.
"""

from pathlib import Path

from preceptor.models.causal import context_length, load_causal, model_folder, parameter_count, save_model
from preceptor.run.errors import UserError
from preceptor.run.step import Step
from preceptor.tokenizer.chat import load_tokenizer


def run(step: Step) -> None:
    """Read `model`, or the hub's model of the option `hub`; write model/."""
    source = _source(step)
    tokenizer, model = load_tokenizer(source), load_causal(source)
    embeddings = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > embeddings:
        raise UserError(f"The tokenizer of '{source}' has {len(tokenizer)} entries, its model only {embeddings}.",
                        "Give a folder in which both belong together.")
    step.plan(parameters=parameter_count(model), vocabulary=len(tokenizer), context=context_length(model))
    save_model(model, tokenizer, step.folder / "model")


def _source(step: Step) -> Path | str:
    hub = step.options.hub
    if bool(hub) == ("model" in step.inputs):
        raise UserError(f"Step '{step.name}' needs either a model folder or the name of a model on the hub.",
                        f"Give --set {step.name}.needs.model=FOLDER or --set {step.name}.hub=NAME.")
    return hub or model_folder(step.input("model"))
