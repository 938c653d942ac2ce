"""Label smoothing and distillation against torch's own and against sums written out."""

import math

import pytest
import torch
import torch.nn.functional as F

from preceptor.data.batches import IGNORE
from preceptor.losses.soft_targets import distillation_sum, smoothed_cross_entropy_sum


@pytest.fixture
def drawn() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    logits, teacher = (3 * torch.randn(2, 5, 7, generator=draw, dtype=torch.float64) for _ in range(2))
    labels = torch.randint(0, 7, (2, 5), generator=draw)
    labels[0, 1] = labels[1, 4] = IGNORE
    return logits.float().requires_grad_(), teacher.float(), labels


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_smoothing_is_torchs_own(drawn, smoothing: float) -> None:
    logits, _, labels = drawn
    total, count = smoothed_cross_entropy_sum(logits, labels, smoothing)
    expected = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(total, expected)
    assert int(count) == 8
    [ours], [theirs] = torch.autograd.grad(total, logits, retain_graph=True), torch.autograd.grad(expected, logits)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_distillation_is_the_divergence_written_out(drawn, temperature: float) -> None:
    logits, teacher, labels = drawn
    expected = 0.0
    for row, time in ((labels != IGNORE).nonzero().tolist()):
        q, p = ([math.exp(float(x) / temperature) for x in one[row, time].detach()] for one in (teacher, logits))
        expected += temperature ** 2 * sum(
            a / sum(q) * math.log(a / sum(q) / (b / sum(p))) for a, b in zip(q, p))
    total = distillation_sum(logits, teacher, labels != IGNORE, temperature)
    assert float(total.detach()) == pytest.approx(expected, rel=1e-5)


def test_a_model_that_is_its_teacher_has_nothing_to_learn_and_the_teacher_gets_no_gradient(drawn) -> None:
    logits, _, labels = drawn
    teacher = logits.detach().clone().requires_grad_()
    total = distillation_sum(logits, teacher, labels != IGNORE, 2.0)
    total.backward()
    assert abs(float(total.detach())) < 1e-5 and float(logits.grad.abs().max()) < 1e-5 and teacher.grad is None


def test_the_gradient_keeps_its_size_at_high_temperature(drawn) -> None:
    """In the limit: half the squared distance of the centred logits, over the vocabulary (Hinton et al. 2015, §2.1)."""
    logits, teacher, labels = drawn
    counted = labels != IGNORE
    [gradient] = torch.autograd.grad(distillation_sum(logits, teacher, counted, 1000.0), logits)
    centred = [one - one.mean(-1, keepdim=True) for one in (logits.detach(), teacher)]
    expected = (centred[0] - centred[1]) / 7 * counted[..., None]
    torch.testing.assert_close(gradient, expected, atol=2e-2, rtol=2e-2)
