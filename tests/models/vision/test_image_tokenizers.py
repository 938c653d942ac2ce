"""Quantizer, autoencoders and discriminator: parity with transformers and diffusers, and what each promises."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from preceptor.losses.adversarial import generator_sum
from preceptor.losses.quantisation import codebook_sum, squared_error_sum
from preceptor.models.vision.autoencoders import ConvDecoder, ConvEncoder, VitDecoder, VitEncoder, unpatched
from preceptor.models.vision.discriminator import PatchDiscriminator, judged_apart
from preceptor.models.vision.quantizer import DECAY, Quantizer


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def bare(codes: int, dimensions: int, **options: object) -> Quantizer:
    """A quantizer whose states are its inputs."""
    torch.manual_seed(0)
    quantizer = Quantizer(codes, dimensions, dimensions, **{"learn": "gradient", **options})
    for linear in (quantizer.inward, quantizer.outward):
        nn.init.eye_(linear.weight)
        nn.init.zeros_(linear.bias)
    return quantizer


def test_encoder_and_quantizer_are_those_of_chameleon() -> None:
    from transformers import ChameleonVQVAEConfig
    from transformers.models.chameleon.modeling_chameleon import ChameleonVQVAE
    torch.manual_seed(0)
    config = ChameleonVQVAEConfig(base_channels=32, channel_multiplier=[1, 2, 2], num_res_blocks=1, latent_channels=16,
                                  embed_dim=8, num_embeddings=24, resolution=16, attn_resolutions=None)
    theirs = ChameleonVQVAE(config).eval()
    encoder, quantizer = ConvEncoder(32, 2, 1, 16).eval(), Quantizer(24, 16, 8, learn="gradient").eval()
    encoder.network.load_state_dict(theirs.encoder.state_dict())
    quantizer.codebook.load_state_dict(theirs.quantize.embedding.state_dict())
    for ours, other in ((quantizer.inward, theirs.quant_conv), (quantizer.outward, theirs.post_quant_conv)):
        ours.load_state_dict({"weight": other.weight[:, :, 0, 0], "bias": other.bias})
    pixels = draw(2, 3, 16, 16)
    found, expected = quantizer(encoder(pixels)), theirs.encode(pixels)
    assert found.indices.flatten().tolist() == expected.image_tokens.flatten().tolist()
    assert len(set(found.indices.flatten().tolist())) > 3
    assert torch.equal(quantizer.encode(encoder(pixels)), found.indices)
    torch.testing.assert_close(quantizer.decode(found.indices), found.vectors, rtol=1e-5, atol=1e-5)
    # Theirs has beta on the codebook: with 1 / beta times beta on the other term it is ours.
    ours = codebook_sum(found.states, found.codes, beta=4.0) / 4 / 2
    torch.testing.assert_close(ours, expected.embedding_loss, rtol=1e-5, atol=1e-6)


def test_encoder_and_decoder_are_those_of_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed")
    torch.manual_seed(0)
    theirs = diffusers.VQModel(block_out_channels=(32, 64, 64), layers_per_block=1, latent_channels=16, sample_size=16,
                               down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3)
    ours = ConvDecoder(32, 2, 1, 16)
    ours.load_state_dict(decoder_weights(theirs.decoder, ours))
    states = draw(2, 16, 16).requires_grad_()
    mine, other = ours(states), theirs.decoder(states.transpose(1, 2).unflatten(2, (4, 4)))
    torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)
    direction = draw(2, 3, 16, 16, seed=1)
    torch.testing.assert_close(*(torch.autograd.grad((one * direction).sum(), states)[0] for one in (mine, other)),
                               rtol=1e-4, atol=1e-4)


def decoder_weights(decoder: nn.Module, ours: nn.Module) -> dict[str, Tensor]:
    """The weights of diffusers' decoder under our names; its attention is linear where ours is a 1 x 1 convolution."""
    names = {"conv_in": "first", "conv_norm_out": "norm", "conv_out": "last", "mid_block.resnets.0": "middle.0",
             "mid_block.attentions.0": "middle.1", "mid_block.resnets.1": "middle.2", "group_norm": "norm",
             "to_out.0": "proj_out", "to_q": "q", "to_k": "k", "to_v": "v", "conv_shortcut": "nin_shortcut"}
    names |= {f"up_blocks.{n}.resnets": f"levels.{n}" for n in range(3)}
    names |= {f"up_blocks.{n}.upsamplers.0.conv": f"doublings.{n}" for n in range(3)}
    shapes, found = ours.state_dict(), {}
    for name, value in decoder.state_dict().items():
        for theirs, mine in names.items():
            name = name.replace(theirs, mine)
        found[name] = value.view(shapes[name].shape)
    return found


@pytest.mark.parametrize("cosine", [False, True])
def test_the_nearest_code_is_chosen(cosine: bool) -> None:
    quantizer = bare(11, 5, cosine=cosine).eval()
    states = draw(2, 7, 5)
    found = quantizer(states)
    compared = normalize(states, dim=-1) if cosine else states
    codes = normalize(quantizer.codebook.weight, dim=-1) if cosine else quantizer.codebook.weight
    distances = torch.cdist(compared.flatten(0, 1), codes)
    assert torch.equal(found.indices.flatten(), distances.argmin(1))
    torch.testing.assert_close(found.codes, codes[found.indices])
    torch.testing.assert_close(found.states, compared)


def test_the_moving_average_is_that_of_the_states_that_chose_a_code() -> None:
    quantizer = bare(2, 1, learn="average").train()
    with torch.no_grad():
        quantizer.codebook.weight.copy_(torch.tensor([[0.0], [10.0]]))
        quantizer.sizes.fill_(2.0)
    found = quantizer(torch.tensor([[[1.0], [2.0], [3.0], [11.0]]]))
    assert found.indices.tolist() == [[0, 0, 0, 1]] and found.codes.flatten().tolist() == [0, 0, 0, 10]
    sizes = [DECAY * 2 + (1 - DECAY) * 3, DECAY * 2 + (1 - DECAY)]
    assert quantizer.sizes.tolist() == pytest.approx(sizes)
    assert quantizer.codebook.weight.flatten().tolist() == pytest.approx(
        [(1 - DECAY) * 6 / sizes[0], (DECAY * 20 + (1 - DECAY) * 11) / sizes[1]], rel=1e-5)


def test_codes_that_nothing_chooses_start_anew_among_the_states() -> None:
    quantizer = bare(8, 3, learn="average").train()
    states = 5 + 0.1 * draw(4, 16, 3)
    first = quantizer(states)
    assert (torch.cdist(quantizer.codebook.weight, states.flatten(0, 1)).min(1).values < 0.2).all()
    assert first.indices.unique().numel() > 4       # a fresh codebook is made of states
    with torch.no_grad():
        quantizer.codebook.weight[3], quantizer.sizes[3] = -100.0, 0.0
    quantizer(states)
    assert quantizer.codebook.weight[3].min() > 4


@pytest.mark.parametrize("how", ["eval", "frozen"])
def test_a_codebook_that_may_not_learn_stays_as_it_is(how: str) -> None:
    quantizer = bare(8, 3, learn="average")
    quantizer.eval() if how == "eval" else quantizer.requires_grad_(False)
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    quantizer(draw(4, 16, 3))
    assert all(torch.equal(value, before[name]) for name, value in quantizer.state_dict().items())


@pytest.mark.parametrize("learn, cosine", [("average", False), ("gradient", False), ("gradient", True)])
def test_a_codebook_finds_the_clusters_of_the_states(learn: str, cosine: bool) -> None:
    """With more codes than clusters: with as many, two codes may share a cluster, as in k-means."""
    centres = 3 * normalize(draw(4, 4), dim=1)
    quantizer = bare(16, 4, learn=learn, cosine=cosine).train()
    for linear in (quantizer.inward, quantizer.outward):
        linear.requires_grad_(False)
    optimiser = torch.optim.Adam([quantizer.codebook.weight], lr=0.05)
    for step in range(60):
        which = torch.arange(80).view(2, 40) % 4
        found = quantizer(centres[which] + 0.5 * draw(2, 40, 4, seed=step))
        optimiser.zero_grad()
        if learn == "gradient":
            codebook_sum(found.states, found.codes).backward()
            optimiser.step()
    found = quantizer.eval()(centres[None])
    assert found.indices.unique().numel() == 4
    wanted = normalize(centres, dim=1) if cosine else centres
    assert (found.codes[0] - wanted).norm(dim=1).max() < (0.3 if cosine else 0.9)     # noise itself is about 1 long


def test_patches_go_back_to_their_places() -> None:
    pixels = draw(2, 3, 8, 8)
    patches = nn.functional.unfold(pixels, 4, stride=4).transpose(1, 2)
    torch.testing.assert_close(unpatched(patches, 4), pixels)


@pytest.mark.parametrize("kind", ["conv", "vit"])
def test_an_autoencoder_learns_two_pictures_by_heart(kind: str) -> None:
    torch.manual_seed(0)
    parts = (nn.ModuleList([ConvEncoder(32, 1, 1, 16), ConvDecoder(32, 1, 1, 16)]) if kind == "conv"
             else nn.ModuleList([VitEncoder(8, 4, 32, 1, 2), VitDecoder(8, 4, 32, 1, 2)]))
    pictures = draw(2, 3, 8, 8).clamp(-1, 1)
    optimiser = torch.optim.Adam(parts.parameters(), lr=3e-3)
    for _ in range(60):
        loss = squared_error_sum(parts[1](parts[0](pictures)), pictures) / 2
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert parts[0](pictures).shape == (2, 16 if kind == "conv" else 4, 16 if kind == "conv" else 32)
    assert loss < 0.1 < pictures.var()


def test_the_two_sides_of_the_game_learn_apart() -> None:
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(channels=8)
    drawn = draw(2, 3, 16, 16).requires_grad_()
    weights = list(discriminator.parameters())
    of_generator = generator_sum(discriminator.judging(drawn))
    assert torch.equal(discriminator.judging(drawn), discriminator(drawn))
    found = torch.autograd.grad(of_generator, [drawn, *weights], allow_unused=True, retain_graph=True)
    assert found[0].abs().max() > 0 and all(one is None for one in found[1:])
    real, fake = judged_apart(discriminator, draw(2, 3, 16, 16, seed=1), drawn)
    torch.testing.assert_close(fake, discriminator(drawn))
    found = torch.autograd.grad(real.sum() + fake.sum(), [drawn, *weights], allow_unused=True)
    assert found[0] is None and all(one is not None for one in found[1:])
