"""The C++ kernels: the same numbers as torch's operations, on modules that are proven, and never needed."""

import copy
import json
import platform
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from helpers import batches, model, plan, rendered, trees
from torch import nn
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm

from tunesmith.train import train
from tunesmith.train.config import LossConfig
from tunesmith.train.forward import forward, row_tensors
from tunesmith.train.kernels import PARTS, kernels_in
from tunesmith.train.kernels import build as building
from tunesmith.train.kernels.functions import cross_entropy, rms_norm, swiglu
from tunesmith.train.kernels.native import Native, load_native
from tunesmith.train.kernels.places import mlp_swap, norm_swap, swapped
from tunesmith.train.loss import token_losses
from tunesmith.train.machine import memory_bytes
from tunesmith.train.memory import kept_memory

HAS_COMPILER = any(map(shutil.which, building.COMPILERS))
needs_compiler = pytest.mark.skipif(not HAS_COMPILER, reason="no C++ compiler")
BF16 = torch.bfloat16
SHAPES = [(1, 1), (3, 7), (65, 33), (200, 64), (2, 3, 17), (0, 16)]


@pytest.fixture(scope="module")
def native():
    if not HAS_COMPILER:
        pytest.skip("no C++ compiler")
    return load_native()


def random(*shape, seed=0, scale=1.0):
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale).to(BF16)


def gradients(function, *inputs, dtype=BF16):
    """The output and the gradients by all inputs, for one random gradient from above."""
    leaves = [each.detach().to(dtype).requires_grad_() for each in inputs]
    out = function(*leaves)
    above = torch.randn(out.shape, generator=torch.Generator().manual_seed(9)).to(out.dtype)
    return [out.detach(), *torch.autograd.grad(out, leaves, above)]


def assert_rounded(found, exact, slack=2.0):
    """Equal to the float32 (or float64) result to bfloat16's rounding of the largest numbers."""
    for one, other in zip(found, exact, strict=True):
        assert one.shape == other.shape
        if one.numel():
            off = float((one.double() - other.double()).norm() / other.double().norm().clamp_min(1e-12))
            assert off < slack * 2**-8


def plain_norm(x, weight, epsilon=1e-5):
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon))


def strided(x):
    """The same numbers, not contiguous."""
    return torch.stack([x, x + 1], dim=-1)[..., 0] if x.ndim else x


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("change", [lambda x: x, strided], ids=["contiguous", "strided"])
def test_norm_and_its_gradients_are_torchs(native, shape, change):
    x, weight = random(*shape), random(shape[-1], seed=1)
    found = gradients(lambda x, w: rms_norm(native, change(x), change(w), 1e-5), x, weight)
    assert_rounded(found, gradients(plain_norm, x, weight, dtype=torch.float64))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("change", [lambda x: x, strided], ids=["contiguous", "strided"])
def test_swiglu_and_its_gradients_are_torchs(native, shape, change):
    gate, up = random(*shape, scale=5), random(*shape, seed=1)
    found = gradients(lambda g, u: swiglu(native, change(g), change(u)), gate, up)
    assert_rounded(found, gradients(lambda g, u: F.silu(g) * u, gate, up, dtype=torch.float64))


def test_swiglu_at_the_ends_of_the_number_line(native):
    gate = torch.tensor([-1e4, -100, -88, -20, 0, 20, 100, 1e4, float("nan")]).to(BF16)
    found = swiglu(native, gate, torch.ones_like(gate))
    torch.testing.assert_close(found, F.silu(gate), atol=1e-30, rtol=2**-7, equal_nan=True)


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (33, 320), (0, 5)])
@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_cross_entropy_and_its_gradient_are_torchs(native, shape, scale):
    logits = random(*shape, scale=scale)
    targets = torch.arange(shape[0]) * 5 % shape[1]
    (found, of_logits) = gradients(lambda x: cross_entropy(native, x, targets), logits)
    (exact, exactly) = gradients(lambda x: F.cross_entropy(x, targets, reduction="none"), logits, dtype=torch.float64)
    torch.testing.assert_close(found.double(), exact, atol=1e-5, rtol=1e-5)
    assert_rounded([of_logits.double()], [exactly])
    assert of_logits.dtype == BF16


def test_a_nan_among_the_logits_stays_one(native):
    logits = random(3, 40)
    logits[1, 7] = float("nan")
    assert cross_entropy(native, logits, torch.zeros(3, dtype=torch.long)).isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("options", [{"label_smoothing": 0.1}, {"kind": "dft"}, {"z_loss": 1e-3}])
def test_other_losses_stay_torchs(native, options):
    logits, targets, config = random(5, 30), torch.arange(5), LossConfig(**options)
    assert torch.equal(
        token_losses(logits, targets, config, native).trained_S, token_losses(logits, targets, config).trained_S
    )


@pytest.mark.parametrize(
    ("lines", "heads", "queries", "keys"), [(1, 1, 1, 1), (2, 3, 5, 5), (1, 2, 70, 70), (3, 2, 7, 41)]
)
@pytest.mark.parametrize("size", [1.0, 100.0])
def test_masked_softmax_and_its_gradient_are_torchs(native, lines, heads, queries, keys, size):
    scores, above = random(lines, heads, queries, keys, scale=size), random(lines, heads, queries, keys, seed=1)
    hidden = None
    if queries != keys:
        hidden = torch.rand(lines, queries, keys, generator=torch.Generator().manual_seed(3)) < 0.7
        hidden[..., 0] = False
    unseen = torch.ones(queries, keys, dtype=torch.bool).triu(1) if hidden is None else hidden[:, None]

    def plain(x):
        return (0.3 * x).masked_fill(unseen, float("-inf")).softmax(-1)

    found = scores.clone()
    native.softmax_forward(found, hidden, 0.3)
    assert_rounded([found], [plain(scores.double())])
    assert not found.masked_select(unseen.expand_as(found)).any()
    gradient = above.clone()
    native.softmax_backward(gradient, found, 0.3, is_causal=hidden is None)
    exact = scores.double().requires_grad_()
    (expected,) = torch.autograd.grad(plain(exact), exact, above.double())
    if expected.norm() > 1e-3:  # else both are the rounding of nothing
        assert_rounded([gradient], [expected], slack=4)
    assert not gradient.masked_select(unseen.expand_as(found)).any()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is the GNU C library's")
def test_freed_memory_stays_while_training_and_goes_back_afterwards():
    size = 200 * 2**20
    cpu = torch.device("cpu")
    with kept_memory(cpu):
        block = torch.ones(size, dtype=torch.uint8)
        full = memory_bytes(cpu)
        del block
        assert memory_bytes(cpu) > full - size / 2
    assert memory_bytes(cpu) < full - size / 2
    block = torch.ones(size, dtype=torch.uint8)
    full = memory_bytes(cpu)
    del block
    assert memory_bytes(cpu) < full - size / 2


@pytest.mark.parametrize("shape", [(0,), (1,), (1001,), (7, 33)])
def test_sums_in_float32_are_exact(native, shape):
    sums, addend = torch.randn(shape), random(*shape)
    expected = sums + addend.float()
    native.add_narrow(sums, addend)
    assert torch.equal(sums, expected)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_bits_do_not_depend_on_the_number_of_threads(native, threads):
    x, weight, above = random(300, 65), random(65, seed=1), random(300, 65, seed=2)
    logits = random(40, 333)

    def run():
        out, rstd = native.norm_forward(x, weight, 1e-5)
        logs = native.cross_entropy_forward(logits, torch.arange(40))
        return [out, *native.norm_backward(above, x, weight, rstd, with_weight=True), *logs]

    before, expected = torch.get_num_threads(), run()
    torch.set_num_threads(threads)
    try:
        assert all(map(torch.equal, run(), expected))
    finally:
        torch.set_num_threads(before)


# Where they go


class LooksLikeMLP(nn.Module):
    """gate, up and down, put together in another way."""

    def __init__(self, activation=None, act_fn=None):
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(32, 48, dtype=BF16) for _ in range(2))
        self.down_proj = nn.Linear(48, 32, dtype=BF16)
        self.act_fn = act_fn or nn.SiLU()
        self.activation = activation or self.act_fn

    def forward(self, x):
        return self.down_proj(self.activation(self.gate_proj(x)) * self.up_proj(x))


class Doubling(LlamaRMSNorm):
    def forward(self, x):
        return super().forward(x) * 2


class Centering(LlamaRMSNorm):
    def forward(self, x):
        return super().forward(x - x.mean(-1, keepdim=True))


class OtherGradient(LlamaRMSNorm):
    def forward(self, x):
        return super().forward(x.detach() + 0.5 * (x - x.detach()))


def test_a_norm_is_recognized_and_refused_where_it_only_looks_alike(native):
    assert norm_swap(native, LlamaRMSNorm(32).to(BF16)) is not None
    gemma = GemmaRMSNorm(32).to(BF16)
    nn.init.normal_(gemma.weight)
    wrong_epsilon = LlamaRMSNorm(32, eps=1e-6).to(BF16)
    wrong_epsilon.eps, wrong_epsilon.variance_epsilon = 1e-6, 1e-6
    wrong_epsilon.forward = lambda x: x  # somebody else's forward pass
    others = [nn.LayerNorm(32), gemma, Doubling(32), Centering(32), OtherGradient(32), wrong_epsilon]
    assert [norm_swap(native, each.to(BF16)) for each in others] == [None] * len(others)
    assert norm_swap(native, LlamaRMSNorm(32)) is None  # float32


def test_an_epsilon_of_another_name_is_refused(native):
    class TwoEpsilons(LlamaRMSNorm):
        def forward(self, x):
            return F.rms_norm(x, (32,), self.weight, self.eps)

    module = TwoEpsilons(32, eps=1e-5).to(BF16)
    module.eps = 1e-2
    assert norm_swap(native, module) is None
    module.eps = 1e-5
    assert norm_swap(native, module) is not None


def test_an_mlp_is_recognized_and_refused_where_it_only_looks_alike(native):
    torch.manual_seed(0)
    assert mlp_swap(native, LooksLikeMLP()) is not None
    assert mlp_swap(native, LooksLikeMLP(act_fn=nn.GELU())) is None
    assert mlp_swap(native, LooksLikeMLP(activation=F.gelu)) is None
    assert mlp_swap(native, LooksLikeMLP(activation=lambda x: F.silu(x) + 0.1)) is None
    assert mlp_swap(native, LooksLikeMLP().float()) is None
    assert mlp_swap(native, nn.Linear(4, 4)) is None


def test_a_copy_of_a_swapped_module_computes_with_its_own_weights(native):
    module = LlamaRMSNorm(32).to(BF16)
    x = random(3, 32)
    with swapped([norm_swap(native, module)]):
        twin = copy.deepcopy(module)
        twin.weight.data.mul_(2)
        assert torch.equal(twin(x), module(x) * 2)
    assert "forward" not in vars(module)


PARTS_OF = {
    "norm": {"norm_forward", "norm_backward"},
    "swiglu": {"swiglu_forward", "swiglu_backward"},
    "attention": {"rotary_gather", "softmax_forward", "softmax_backward", "rotary_back"},
}
PARTS_OF["all"] = set.union(*PARTS_OF.values())


def losses_and_gradients(network, row):
    """The loss of each trained token, and every gradient."""
    tensors = row_tensors(row, network)
    logits = forward(network, tensors, tensors.places_S)
    losses = F.cross_entropy(logits.float(), tensors.targets_S, reduction="none")
    network.zero_grad()
    losses.sum().backward()
    return losses.detach(), {name: each.grad.clone() for name, each in network.named_parameters()}


def rows(examples, row_tokens=400):
    (batch,) = list(batches(examples, len(examples), row_tokens))
    return batch.rows


@needs_compiler
@pytest.mark.parametrize("examples", [rendered(9, longest=60), trees(3)], ids=["conversations", "trees"])
@pytest.mark.parametrize("part", PARTS_OF)
def test_a_model_with_kernels_is_as_close_to_float32_as_without(tiny_model_folder, examples, part, monkeypatch):
    called, real = [], Native._call
    monkeypatch.setattr(Native, "_call", lambda self, name, *rest: (called.append(name), real(self, name, *rest)))
    (row,) = rows(examples)
    exact_losses, exact = losses_and_gradients(model(tiny_model_folder), row)
    network = model(tiny_model_folder, "bfloat16")
    plain_losses, plain = losses_and_gradients(network, row)
    with kernels_in(network, "auto", parts=PARTS if part == "all" else [part]) as kernels:
        assert kernels.num_swapped > 0
        found_losses, found = losses_and_gradients(network, row)
    assert PARTS_OF[part] <= set(called)
    assert (found_losses - exact_losses).norm() <= 1.5 * (plain_losses - exact_losses).norm()
    for name, gradient in exact.items():
        own = (plain[name].float() - gradient).norm()
        assert (found[name].float() - gradient).norm() <= 1.5 * own + 2**-8 * gradient.norm(), name


@needs_compiler
def test_everything_of_a_llama_is_swapped_and_put_back(tiny_model_folder):
    network = model(tiny_model_folder, "bfloat16")
    names = list(network.state_dict())
    attention = network.config._attn_implementation
    with kernels_in(network, "auto") as kernels:
        assert kernels.kind == "native" and kernels.note is None
        assert kernels.num_swapped == sum(
            isinstance(each, LlamaRMSNorm | LlamaMLP) or hasattr(each, "q_proj") for each in network.modules()
        )
        assert list(network.state_dict()) == names
    assert not any("forward" in vars(each) or hasattr(each, "tunesmith_kernel") for each in network.modules())
    assert network.config._attn_implementation == attention


@pytest.mark.parametrize(
    ("dtype", "choice", "ranks"), [("float32", "auto", 1), ("bfloat16", "off", 1), ("bfloat16", "auto", 2)]
)
def test_where_kernels_have_no_business(tiny_model_folder, dtype, choice, ranks):
    with kernels_in(model(tiny_model_folder, dtype), choice, ranks) as kernels:
        assert (kernels.digest, kernels.kind, kernels.num_swapped, kernels.note) == ("torch", "torch", 0, None)


# Whole trainings


def run(folder, path, steps=2, dtype="bfloat16", **options):
    asked = plan(steps, learning_rate=1e-3, **options)
    train(asked, model(folder, dtype), batches(rendered(12, longest=40), 4, 100, 10), path)
    return [json.loads(line) for line in (path / "metrics.jsonl").open()]


@needs_compiler
@pytest.mark.parametrize(
    "options",
    [
        {"method": "full"},
        {"method": "lora", "adapter": {"dropout": 0.0}},
        {"method": "full", "gradient_checkpointing": True, "freeze": ("layers.0",)},
        {"method": "lora", "noise": {"kind": "uniform", "where": "layers"}},
    ],
    ids=["full", "lora", "checkpointing, frozen", "noise"],
)
def test_trainings_with_and_without_come_to_the_same_losses(tiny_model_folder, tmp_path, options):
    ours = run(tiny_model_folder, tmp_path / "auto", **options)
    plain = run(tiny_model_folder, tmp_path / "off", kernels="off", **options)
    assert {line["kernels"] for line in ours} == {"native"}
    assert {line["kernels"] for line in plain} == {"torch"}
    assert [line["loss"] for line in ours] == pytest.approx([line["loss"] for line in plain], rel=5e-3)


@needs_compiler
def test_the_same_training_comes_to_the_same_bits(tiny_model_folder, tmp_path):
    one, other = (run(tiny_model_folder, tmp_path / name, method="full") for name in ("one", "other"))
    assert [line["loss"] for line in one] == [line["loss"] for line in other]
    weights = [(tmp_path / name / "final" / "model.safetensors").read_bytes() for name in ("one", "other")]
    assert weights[0] == weights[1]


def test_without_a_compiler_training_says_so_once_and_goes_on(tiny_model_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(building, "COMPILERS", ("no-such-compiler",))
    lines = run(tiny_model_folder, tmp_path)
    assert {line["kernels"] for line in lines} == {"torch"}
    said = capsys.readouterr()
    assert (said.out + said.err).count("no C++ compiler found (no-such-compiler)") == 1


# Building


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path))
    return tmp_path / "kernels"


@pytest.fixture
def builds(monkeypatch):
    """The builds that took place."""
    made, real = [], building._build
    monkeypatch.setattr(building, "_build", lambda path: (made.append(path), real(path)))
    return made


@needs_compiler
def test_a_library_is_built_once_and_again_when_it_is_torn(empty_cache, builds, monkeypatch):
    monkeypatch.setattr(building, "FLAGS", tuple(each for each in building.FLAGS if each != "-O3"))
    path = building.library()
    assert building.library() == path and len(builds) == 1
    assert [each.name for each in empty_cache.iterdir()] == [path.name]
    whole = path.read_bytes()
    for torn in (whole[: len(whole) // 2], b"", whole[:100] + b"?" + whole[101:]):
        path.unlink()
        path.write_bytes(torn)
        assert not building.is_whole(path)
        assert building.is_whole(building.library())
    assert len(builds) == 4


@needs_compiler
def test_builds_at_the_same_time_end_with_one_whole_library(empty_cache, monkeypatch):
    monkeypatch.setattr(building, "FLAGS", tuple(each for each in building.FLAGS if each != "-O3"))
    with ThreadPoolExecutor(3) as pool:
        found = set(pool.map(lambda _: building.library(), range(3)))
    (path,) = found
    assert building.is_whole(path)
    assert [each.name for each in empty_cache.iterdir()] == [path.name]


def test_a_compiler_that_fails_is_told_in_one_line(empty_cache, tmp_path, monkeypatch):
    broken = tmp_path / "broken-compiler"
    broken.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\necho "native.cpp:1: error: no luck" >&2\nexit 1\n')
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(building, "COMPILERS", (str(broken),))
    with pytest.raises(building.CannotBuildError, match=r"broken-compiler failed: native\.cpp:1: error: no luck"):
        building.library()
    assert list(empty_cache.iterdir()) == []


@needs_compiler
def test_the_name_changes_with_source_flags_and_processor(monkeypatch):
    names = {building._name()}
    for name, value in (("FLAGS", ("-O1",)), ("_processor", lambda: "another")):
        with monkeypatch.context() as patched:
            patched.setattr(building, name, value)
            names.add(building._name())
    assert len(names) == 3


def test_native_code_is_the_projects_own():
    """Nothing but the file beside the module is ever compiled."""
    assert building.SOURCE.parent.name == "kernels" and building.SOURCE.name == "native.cpp"
    included = [line for line in building.SOURCE.read_text(encoding="utf-8").splitlines() if "#include" in line]
    assert included and all(line.startswith("#include <") for line in included)
