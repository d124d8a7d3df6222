"""Losses are pure functions: torch's own, formulas in float64 and finite differences are the oracles."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers import model, trees

from tunesmith.errors import ConfigError
from tunesmith.pack import pack_rows
from tunesmith.train import LossConfig, TrainConfig
from tunesmith.train.forward import forward, row_tensors
from tunesmith.train.head import find_head
from tunesmith.train.loss import reverse_kl, token_log_probs, token_losses
from tunesmith.train.objectives.supervised import Supervised


def logits(rows=6, vocabulary=11, seed=0, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, vocabulary, generator=generator, dtype=torch.float64)


def targets(rows=6, vocabulary=11, seed=1):
    return torch.randint(vocabulary, (rows,), generator=torch.Generator().manual_seed(seed))


def test_token_log_probs_are_torchs():
    torch.testing.assert_close(
        token_log_probs(logits(), targets()), -F.cross_entropy(logits(), targets(), reduction="none")
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_coarse_logits_are_computed_with_in_float32(dtype):
    coarse = logits().to(dtype)
    found = token_log_probs(coarse, targets())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, token_log_probs(coarse.double(), targets()).float(), rtol=1e-6, atol=1e-6)


def test_reverse_kl_by_hand():
    """Two tokens: 0.8 log(0.8 / 0.5) + 0.2 log(0.2 / 0.5)."""
    student, teacher = torch.tensor([[0.8, 0.2]]).double().log(), torch.tensor([[0.5, 0.5]]).double().log()
    expected = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    assert float(reverse_kl(student, teacher)) == pytest.approx(expected, rel=1e-12)
    assert float(reverse_kl(teacher, student)) != pytest.approx(expected, rel=1e-2)


def test_reverse_kl_is_torchs_with_student_and_teacher_exchanged():
    """F.kl_div(log q, log p) is KL(p || q)."""
    student, teacher = logits(seed=2), logits(seed=3)
    oracle = F.kl_div(teacher.log_softmax(-1), student.log_softmax(-1), reduction="none", log_target=True).sum(1)
    torch.testing.assert_close(reverse_kl(student, teacher), oracle)
    assert (reverse_kl(student, teacher) > 0).all()
    torch.testing.assert_close(reverse_kl(student, student + 5), torch.zeros(6).double(), rtol=0, atol=1e-14)


def test_gradients_are_those_of_finite_differences():
    student, teacher = logits(3, 5).requires_grad_(), logits(3, 5, seed=4)
    assert torch.autograd.gradcheck(lambda at: reverse_kl(at, teacher), student)
    assert torch.autograd.gradcheck(lambda at: token_log_probs(at, targets(3, 5)), student)


def test_a_token_that_the_student_cannot_say_adds_nothing():
    """Some models mask unused ids of their vocabulary with -inf; the loss and its gradient stay finite."""
    masked = F.pad(logits(), (0, 1), value=-math.inf).requires_grad_()
    teacher = F.pad(logits(seed=5), (0, 1), value=-math.inf)
    found = reverse_kl(masked, teacher)
    torch.testing.assert_close(found, reverse_kl(logits(), logits(seed=5)))
    found.sum().backward()
    assert masked.grad.isfinite().all()


def trained(config, at=None, **options):
    return token_losses(logits() if at is None else at, targets(**options), LossConfig(**config)).trained_S


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_cross_entropy_and_label_smoothing_are_torchs(smoothing):
    oracle = F.cross_entropy(logits(), targets(), reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(trained({"label_smoothing": smoothing}), oracle)


def test_z_loss_is_the_squared_logarithm_of_the_denominator():
    plain = F.cross_entropy(logits(), targets(), reduction="none")
    expected = plain + 0.01 * logits().exp().sum(1).log() ** 2
    torch.testing.assert_close(trained({"z_loss": 0.01}), expected)


def test_dynamic_fine_tuning_weighs_each_token_by_its_own_probability():
    """Equation 9 of Wu et al. 2025: -sg(p) log p, whose gradient is that of -log p times p: no more than -dp."""
    probability = logits().softmax(1).gather(1, targets()[:, None])[:, 0]
    torch.testing.assert_close(trained({"kind": "dft"}), -probability * probability.log())
    at, plain_at, direct_at = (logits().requires_grad_() for _ in range(3))
    trained({"kind": "dft"}, at).sum().backward()
    (F.cross_entropy(plain_at, targets(), reduction="none") * probability).sum().backward()
    torch.testing.assert_close(at.grad, plain_at.grad)
    (-direct_at.softmax(1).gather(1, targets()[:, None])).sum().backward()
    torch.testing.assert_close(at.grad, direct_at.grad)


@pytest.mark.parametrize("config", [{"label_smoothing": 0.2, "z_loss": 0.1}, {"z_loss": 1.0}, {}], ids=str)
def test_gradients_of_losses_are_those_of_finite_differences(config):
    """Not of dft: its probability is a constant to the gradient, and not to a difference."""
    at = logits(3, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda at: trained(config, at, rows=3, vocabulary=5), at)


def test_what_is_reported_is_minus_log_p_whatever_is_trained():
    plain = F.cross_entropy(logits(), targets(), reduction="none")
    for config in ({}, {"kind": "dft"}, {"label_smoothing": 0.3, "z_loss": 0.1}):
        found = token_losses(logits().requires_grad_(), targets(), LossConfig(**config))
        torch.testing.assert_close(found.plain_S, plain)
        assert not found.plain_S.requires_grad
        assert found.trained_S.requires_grad


@pytest.mark.parametrize("config", [{"kind": "dft"}, {"label_smoothing": 0.1}, {"z_loss": 1e-3}], ids=str)
def test_losses_of_bfloat16_logits_are_computed_in_float32(config):
    coarse = logits(scale=10.0).bfloat16()
    found = trained(config, coarse)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, trained(config, coarse.double()).float(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("config", [{"kind": "dft"}, {"label_smoothing": 0.2}, {"z_loss": 0.05}], ids=str)
def test_each_loss_trains_through_the_row_as_by_hand(tiny_model_folder, config):
    """From a row with weights to the total: the sum over tokens of weight times loss, in the chunks of the head."""
    network = model(tiny_model_folder)
    (row,) = pack_rows(trees(2), 1000)
    tensors = row_tensors(row, network)
    at = forward(network, tensors, tensors.places_S).detach().double()
    expected = (token_losses(at, tensors.targets_S, LossConfig(**config)).trained_S * tensors.weights_S).sum()
    options = LossConfig(chunk_tokens=5, **config)
    found = Supervised(options, find_head(network, 5)).row_loss(network, row)
    assert float(found.total.detach()) == pytest.approx(float(expected), rel=1e-5)
    torch.testing.assert_close(
        found.losses_S, F.cross_entropy(at, tensors.targets_S, reduction="none").float(), rtol=1e-4, atol=1e-4
    )


def test_a_loss_that_nothing_would_read_is_refused():
    for loss in ({"kind": "dft"}, {"z_loss": 1e-4}):
        with pytest.raises(ConfigError, match="for supervised training"):
            TrainConfig.parse({"objective": {"kind": "dpo"}, "loss": loss})
    assert TrainConfig.parse({"objective": {"kind": "dpo"}, "loss": {"chunk_tokens": 64}}).loss.chunk_tokens == 64
