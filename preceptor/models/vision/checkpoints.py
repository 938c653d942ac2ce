"""Two towers as networks of transformers, both ways: the weights are the same, only their names are others.

    ours                          CLIPModel                       ours                 SiglipModel
    image.*                       *                               image.*              vision_model.*
    text.*                        *                               text.*               text_model.*
    scale.log_scale               logit_scale                     scale.log_scale      logit_scale (1,)
                                                                  scale.bias           logit_bias (1,)
"""

from typing import Any

from torch import Tensor, nn

from preceptor.run.errors import UserError

PREFIXES = {"clip": {"image.": "", "text.": "", "scale.log_scale": "logit_scale"},
            "siglip": {"image.": "vision_model.", "text.": "text_model.", "scale.log_scale": "logit_scale",
                       "scale.bias": "logit_bias"}}


def as_transformers(towers: nn.Module, kind: str) -> nn.Module:
    """A `CLIPModel` or `SiglipModel` with copies of the weights of two towers.

    Raises:
        UserError: there is no such network for this kind.
    """
    from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel
    if kind not in PREFIXES:
        raise UserError(f"transformers has no network of the kind '{kind}'.", f"Only {', '.join(PREFIXES)} have one.")
    image, text = towers.image.config, towers.text.config
    parts: dict[str, Any] = {"vision_config": image.to_dict(), "text_config": text.to_dict()}
    network = (CLIPModel(CLIPConfig(**parts, projection_dim=image.projection_dim)) if kind == "clip"
               else SiglipModel(SiglipConfig(**parts)))
    own = network.state_dict()
    network.load_state_dict({name: value.view_as(own[name]) for name, value in
                             ((_theirs(name, kind), value) for name, value in towers.state_dict().items())})
    return network.eval()


def take_transformers(towers: nn.Module, network: nn.Module, kind: str) -> None:
    """Copy the weights of a `CLIPModel` or `SiglipModel` of the same shape into two towers.

    Raises:
        UserError: the shapes differ.
    """
    theirs: dict[str, Tensor] = network.state_dict()
    try:
        towers.load_state_dict({name: theirs[_theirs(name, kind)].view_as(value)
                                for name, value in towers.state_dict().items()})
    except (KeyError, RuntimeError) as error:
        raise UserError(f"The checkpoint has not the shape of these towers: {str(error).splitlines()[0]}",
                        "Give the options of the checkpoint: width, layers, heads, patch, picture size.") from None


def _theirs(name: str, kind: str) -> str:
    prefix = next(prefix for prefix in PREFIXES[kind] if name.startswith(prefix))
    return PREFIXES[kind][prefix] + name.removeprefix(prefix)
