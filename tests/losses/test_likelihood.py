"""Likelihoods against torch's own losses, loops, and closed forms; the chunked route against the plain one."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from preceptor.data.batches import IGNORE
from preceptor.losses.likelihood import (
    cross_entropy_sum,
    entropy,
    selected_cross_entropy_sum,
    selected_log_probs,
    token_log_probs,
    z_loss_sum,
)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_ids(high, *shape, seed=0):
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


def test_token_log_probs_equal_a_loop():
    logits, targets = random(2, 3, 5), random_ids(5, 2, 3)
    found = token_log_probs(logits, targets)
    for b in range(2):
        for t in range(3):
            row = logits[b, t].tolist()
            expected = row[targets[b, t]] - math.log(sum(math.exp(x) for x in row))
            assert found[b, t].item() == pytest.approx(expected, abs=1e-12)


def test_a_padding_label_is_no_target():
    """-100 must fail here and not count as log p = 0, the likelihood of a perfect model."""
    with pytest.raises((IndexError, RuntimeError)):
        token_log_probs(random(3, 5), torch.tensor([1, IGNORE, 2]))


def test_cross_entropy_sums_only_what_counts():
    logits, labels = random(2, 4, 7), random_ids(7, 2, 4)
    labels[0, 1:] = IGNORE
    labels[1, 0] = IGNORE
    nats, count = cross_entropy_sum(logits, labels)
    expected = sum(-logits[b, t].log_softmax(-1)[labels[b, t]] for b, t in [(0, 0), (1, 1), (1, 2), (1, 3)])
    assert count.item() == 4
    torch.testing.assert_close(nats, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(nats / count, F.cross_entropy(logits.flatten(0, 1), labels.flatten()))


def test_cross_entropy_takes_another_ignored_label():
    logits = random(3, 4)
    nats, count = cross_entropy_sum(logits, torch.tensor([2, 0, 1]), ignore=0)
    assert count.item() == 2
    torch.testing.assert_close(nats, -logits[0].log_softmax(-1)[2] - logits[2].log_softmax(-1)[1])


def test_nothing_counts_gives_zero_and_not_nan():
    nats, count = cross_entropy_sum(random(1, 2, 3), torch.full((1, 2), IGNORE))
    assert nats.item() == 0 and count.item() == 0
    nats, count = selected_cross_entropy_sum(random(1, 2, 4), random(3, 4), torch.full((1, 2), IGNORE))
    assert nats.item() == 0 and count.item() == 0


def test_sums_of_micro_batches_add_up():
    logits, labels = random(4, 6, 9), random_ids(9, 4, 6)
    labels[torch.arange(4)[:, None] * 2 > torch.arange(6)] = IGNORE  # unequal counts: a mean of means would fail
    whole, count = cross_entropy_sum(logits, labels)
    parts = [cross_entropy_sum(logits[i:i + 1], labels[i:i + 1]) for i in range(4)]
    torch.testing.assert_close(whole, sum(nats for nats, _ in parts))
    assert count == sum(counted for _, counted in parts)


def test_half_precision_is_widened_before_the_logarithm():
    logits, targets = (30 * random(4, 50)).bfloat16(), random_ids(50, 4)
    exact = token_log_probs(logits.double(), targets)
    found = token_log_probs(logits, targets)
    assert found.dtype == torch.float32 and token_log_probs(logits.double(), targets).dtype == torch.float64
    torch.testing.assert_close(found.double(), exact, atol=1e-5, rtol=1e-6)
    assert cross_entropy_sum(logits, targets)[0].dtype == torch.float32
    assert entropy(logits).dtype == torch.float32


@pytest.mark.parametrize("chunk", [1, 3, 10, 100])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("held", [0, 60])
def test_selected_log_probs_and_gradients_equal_the_plain_way(chunk, temperature, held):
    hidden = random(10, 4).requires_grad_()
    weight, bias = random(6, 4, seed=1).requires_grad_(), random(6, seed=2).requires_grad_()
    targets, cotangent = random_ids(6, 10), random(10, seed=3)
    plain = ((hidden @ weight.T + bias) / temperature).log_softmax(-1)[torch.arange(10), targets]
    expected = torch.autograd.grad((plain * cotangent).sum(), [hidden, weight, bias])
    found = selected_log_probs(hidden, weight, targets, temperature, bias, chunk, held)
    gradients = torch.autograd.grad((found * cotangent).sum(), [hidden, weight, bias])
    torch.testing.assert_close(found, plain, atol=1e-12, rtol=0)
    for gradient, reference in zip(gradients, expected):
        torch.testing.assert_close(gradient, reference, atol=1e-12, rtol=0)


def test_selected_log_probs_gradcheck():
    targets = random_ids(5, 4)
    inputs = random(4, 3).requires_grad_(), random(5, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda h, w: selected_log_probs(h, w, targets, 0.8, chunk=3), inputs)


class LargestResult(TorchDispatchMode):
    """The number of elements of the largest tensor that any operation gives."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_chunks_bound_the_logits_in_forward_and_backward():
    hidden, weight, targets = random(64, 2).requires_grad_(), random(50, 2, seed=1), random_ids(50, 64)
    with LargestResult() as plain:
        selected_log_probs(hidden, weight, targets).sum().backward()
    with LargestResult() as chunked:
        selected_log_probs(hidden, weight, targets, chunk=8).sum().backward()
    assert plain.elements == 64 * 50
    assert chunked.elements == 8 * 50


@pytest.mark.parametrize(("held", "kept"), [(64 * 50 - 1, 0), (64 * 50, 64 * 50)])
def test_what_is_kept_for_the_backward_pass_is_bounded(held, kept):
    hidden, weight, targets = random(64, 2).requires_grad_(), random(50, 2, seed=1), random_ids(50, 64)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: saved.append(one.shape) or one, lambda one: one):
        selected_log_probs(hidden, weight, targets, chunk=8, held=held)
    assert sum(shape.numel() for shape in saved if shape[-1:] == (50,)) == kept


def test_half_precision_has_the_gradients_of_autocast():
    """Against the plain way under autocast, whose products are in bfloat16 too."""
    weight, targets = random(50, 8, seed=1).float().requires_grad_(), random_ids(50, 64)
    hidden = random(64, 8).float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = selected_log_probs(hidden, weight, targets, chunk=16)
        plain = token_log_probs(hidden @ weight.T, targets)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, plain, atol=1e-6, rtol=0)
    for one, other in zip(torch.autograd.grad(found.sum(), [hidden, weight]),
                          torch.autograd.grad(plain.sum(), [hidden, weight])):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, atol=0.05, rtol=0.02)


def test_selected_cross_entropy_is_the_full_one_at_the_labels_only():
    hidden, weight, labels = random(2, 5, 4).requires_grad_(), random(7, 4, seed=1), random_ids(7, 2, 5)
    labels[0, :3] = IGNORE
    expected, count = cross_entropy_sum(hidden @ weight.T, labels)
    found, counted = selected_cross_entropy_sum(hidden, weight, labels, chunk=2)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    assert counted == count == 7
    gradient, = torch.autograd.grad(found, hidden)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, hidden)[0], atol=1e-12, rtol=0)
    with LargestResult() as largest:
        selected_cross_entropy_sum(hidden, weight, labels)
    assert largest.elements == 7 * 7  # logits for 7 of 10 positions


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_greedy_decoding_has_no_log_probability(temperature):
    with pytest.raises(ValueError, match="positive"):
        selected_log_probs(random(2, 3), random(4, 3), random_ids(4, 2), temperature)


def test_entropy_is_that_of_torch_and_of_closed_forms():
    logits = random(3, 4, 6)
    torch.testing.assert_close(entropy(logits), torch.distributions.Categorical(logits=logits).entropy())
    torch.testing.assert_close(entropy(torch.zeros(5, dtype=torch.float64)), torch.tensor(math.log(5)).double())


def test_entropy_of_forbidden_tokens():
    logits = torch.tensor([0.0, 0.0, -torch.inf], dtype=torch.float64, requires_grad=True)
    value = entropy(logits)
    assert value.item() == pytest.approx(math.log(2), abs=1e-12)
    value.backward()
    torch.testing.assert_close(logits.grad, torch.zeros(3, dtype=torch.float64))


def test_z_loss_is_the_square_of_the_log_normaliser():
    logits = random(3, 5).requires_grad_()
    expected = sum(math.log(sum(math.exp(x) for x in row)) ** 2 for row in logits.tolist())
    assert z_loss_sum(logits).item() == pytest.approx(expected, abs=1e-12)
    z_loss_sum(logits).backward()  # d log² Z / d logit = 2 log Z p
    torch.testing.assert_close(logits.grad, 2 * logits.detach().logsumexp(1, True) * logits.detach().softmax(1))
    assert z_loss_sum((logits - logits.logsumexp(1, keepdim=True)).detach()).item() == pytest.approx(0, abs=1e-12)
