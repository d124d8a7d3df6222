"""Losses are pure functions: torch's own, formulas in float64 and finite differences are the oracles."""

import math

import pytest
import torch
import torch.nn.functional as F

from tunesmith.train.loss import reverse_kl, token_log_probs


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
