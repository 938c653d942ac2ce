"""CLIP, SigLIP, FLAVA and Chameleon as networks of transformers, both ways: the weights are the same, only their names
are others.

    ours                          CLIPModel                       ours                 SiglipModel
    image.*                       *                               image.*              vision_model.*
    text.*                        *                               text.*               text_model.*
    scale.log_scale               logit_scale                     scale.log_scale      logit_scale (1,)
                                                                  scale.bias           logit_bias (1,)

    ours, of FLAVA                FlavaForPreTraining
    image.*, text.*, fusion.*     flava.image_model.*, text_model.*, multimodal_model.*
    image_vector, text_vector     flava.image_projection, text_projection
    image_bridge, text_bridge     flava.image_to_mm_projection, text_to_mm_projection
    codes_head, words_head        mim_head, mlm_head; with fused_ in front mmm_image_head, mmm_text_head
    matching_head                 itm_head

    ours, of Chameleon            ChameleonForConditionalGeneration
    language_model.*              *
    encoder.network               model.vqmodel.encoder
    quantizer.codebook            model.vqmodel.quantize.embedding
    quantizer.inward, outward     model.vqmodel.quant_conv, post_quant_conv

Theirs has a pooler on each of FLAVA's encoders that no loss and no vector passes through; ours has none. Theirs has no
decoder of Chameleon's codes, nor how often each was chosen; these stay ours. Places of a picture are written to theirs
as the first code, and it gives no logits to codes.
"""

from torch import Tensor, nn

from preceptor.models.vision.autoencoders import conv_config
from preceptor.models.vision.chameleon import chameleon_config
from preceptor.run.errors import UserError

PREFIXES = {"clip": {"image.": "", "text.": "", "scale.log_scale": "logit_scale"},
            "siglip": {"image.": "vision_model.", "text.": "text_model.", "scale.log_scale": "logit_scale",
                       "scale.bias": "logit_bias"},
            "flava": {"image.": "flava.image_model.", "text.": "flava.text_model.",
                      "fusion.": "flava.multimodal_model.", "image_vector.": "flava.image_projection.",
                      "text_vector.": "flava.text_projection.", "image_bridge.": "flava.image_to_mm_projection.",
                      "text_bridge.": "flava.text_to_mm_projection.", "codes_head.": "mim_head.",
                      "words_head.": "mlm_head.", "fused_codes_head.": "mmm_image_head.",
                      "fused_words_head.": "mmm_text_head.", "matching_head.": "itm_head.",
                      "scale.log_scale": "flava.logit_scale"},
            "chameleon": {"language_model.": "", "encoder.network.": "model.vqmodel.encoder.",
                          "quantizer.codebook.": "model.vqmodel.quantize.embedding.",
                          "quantizer.inward.": "model.vqmodel.quant_conv.",
                          "quantizer.outward.": "model.vqmodel.post_quant_conv."}}
OURS_ALONE = ("decoder.", "quantizer.sizes")


def as_transformers(towers: nn.Module, kind: str) -> nn.Module:
    """A `CLIPModel`, `SiglipModel`, `FlavaForPreTraining` or `ChameleonForConditionalGeneration` with copies of the
    weights of a system of that kind.

    Raises:
        UserError: there is no such network for this kind.
    """
    if kind not in PREFIXES:
        raise UserError(f"transformers has no network of the kind '{kind}'.", f"Only {', '.join(PREFIXES)} have one.")
    network = _fresh(towers, kind)
    own = network.state_dict()
    mapped = {name: value.view_as(own[name]) for name, value in
              ((_theirs(name, kind), value) for name, value in _shared(towers).items())}
    without = [name for name in own if name not in mapped and "_model.pooler." not in name]
    assert not without, f"weights that nothing of ours stands for: {without}"
    network.load_state_dict(own | mapped)
    return network.eval()


def _fresh(towers: nn.Module, kind: str) -> nn.Module:
    """The network of transformers in the shape of the towers."""
    from transformers import (
        CLIPConfig,
        CLIPModel,
        FlavaConfig,
        FlavaForPreTraining,
        SiglipConfig,
        SiglipModel,
    )
    if kind == "chameleon":
        return _fresh_chameleon(towers)
    image, text = towers.image.config.to_dict(), towers.text.config.to_dict()
    if kind == "clip":
        return CLIPModel(CLIPConfig(vision_config=image, text_config=text, projection_dim=image["projection_dim"]))
    if kind == "siglip":
        return SiglipModel(SiglipConfig(vision_config=image, text_config=text))
    return FlavaForPreTraining(FlavaConfig(
        image_config=image, text_config=text, multimodal_config=towers.fusion.config.to_dict(), init_codebook=False,
        hidden_size=towers.fusion.config.hidden_size, projection_dim=towers.image_vector.out_features))


def _fresh_chameleon(system: nn.Module) -> nn.Module:
    """Theirs names codes by their digits as letters, and wants pictures of the size that its encoder was made for."""
    from transformers import ChameleonForConditionalGeneration
    options, config = system.options, system.language_model.config.to_dict()
    digits = str.maketrans("0123456789", "ABCDEFGHIJ")
    codes = {f"IMGIMG{str(code).translate(digits)}Z": system.words + code for code in range(options.codes)}
    encoder = conv_config(options.channels, options.halvings, options.blocks, options.code_width).to_dict()
    encoder |= {"num_embeddings": options.codes, "resolution": system.size}
    return ChameleonForConditionalGeneration(chameleon_config(
        **config | {"vocabulary_map": {"<image>": system.words, **codes}, "vq_config": encoder}))


def take_transformers(towers: nn.Module, network: nn.Module, kind: str) -> None:
    """Copy the weights of such a network, of the same shape, into a system.

    Raises:
        UserError: the shapes differ.
    """
    theirs: dict[str, Tensor] = network.state_dict()
    try:
        towers.load_state_dict(towers.state_dict() | {name: theirs[_theirs(name, kind)].view_as(value)
                                                      for name, value in _shared(towers).items()})
    except (KeyError, RuntimeError) as error:
        raise UserError(f"The checkpoint has not the shape of these towers: {str(error).splitlines()[0]}",
                        "Give the options of the checkpoint: width, layers, heads, patch, picture size.") from None


def _shared(towers: nn.Module) -> dict[str, Tensor]:
    """The weights that both have."""
    return {name: value for name, value in towers.state_dict().items() if not name.startswith(OURS_ALONE)}


def _theirs(name: str, kind: str) -> str:
    prefix = next(prefix for prefix in PREFIXES[kind] if name.startswith(prefix))
    return PREFIXES[kind][prefix] + name.removeprefix(prefix)
