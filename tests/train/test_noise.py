"""Noise: the published formula, the same for a token however conversations are laid out, and only while training."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
import torch
from helpers import batches, death, model, plan, rendered, row_loss, trees
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.checkpoint import checkpoint

from tunesmith.branches import split
from tunesmith.errors import ConfigError
from tunesmith.pack import PackConfig, pack, pack_rows
from tunesmith.train import NoiseConfig, TrainConfig, train
from tunesmith.train.adapter import prepare
from tunesmith.train.noise import noisy, row_noise, share_of_layer, share_of_steps
from tunesmith.types import Batch

UNIFORM = NoiseConfig(kind="uniform")
GAUSSIAN = NoiseConfig(kind="gaussian")
LAYERS = NoiseConfig(kind="uniform", where="layers", over_layers="rising")
WIDTH = 16


def vectors(rows, config=UNIFORM, seed=3, layer=None):
    """The noise vectors of all tokens, by conversation, pass and position; each seen once or seen alike."""
    found = {}
    for row in rows:
        noise = row_noise(row, WIDTH, config, seed, layer)
        for token, vector in enumerate(noise):
            segment = row.segments[token]
            key = (row.conversation_ids[segment], row.epochs[segment], int(row.positions[token]))
            np.testing.assert_array_equal(found.setdefault(key, vector), vector)
    return found


def assert_equal_vectors(one, other):
    assert one.keys() == other.keys()
    for key, vector in one.items():
        np.testing.assert_array_equal(vector, other[key])


@settings(max_examples=25, deadline=None)
@given(
    row_tokens=st.integers(110, 400),
    layout=st.sampled_from(["best_fit", "full_rows", "varlen", "padding"]),
    seed=st.integers(0, 3),
    config=st.sampled_from([UNIFORM, GAUSSIAN]),
)
def test_layout_never_changes_a_tokens_noise(row_tokens, layout, seed, config):
    """Rows of any size, conversations whole or as trees apart, with shared prefixes or each sequence by itself."""
    examples = [*rendered(6, seed), *trees(4, seed, num_branches=6, longest=18)]
    expected = vectors(pack_rows(examples, 10_000), config)
    asked = PackConfig(row_tokens=row_tokens, layout=layout, batch_conversations=10)
    packed = [row for batch in pack(asked, examples, 1.0, "data") for row in batch.rows]
    assert_equal_vectors(vectors(packed, config), expected)
    apart = [piece for each in examples for piece in split(each)]
    assert_equal_vectors(vectors(pack_rows(apart, row_tokens), config), expected)


def test_everything_in_the_key_matters_and_nothing_is_correlated():
    (row,) = pack_rows(rendered(2, longest=200), 1000)
    (again,) = pack_rows(rendered(2, longest=200), 1000, epochs=[1, 1])
    kinds = [
        row_noise(row, 64, UNIFORM, 0, None),
        row_noise(again, 64, UNIFORM, 0, None),
        row_noise(row, 64, UNIFORM, 1, None),
        row_noise(row, 64, UNIFORM, 0, 0),
        row_noise(row, 64, UNIFORM, 0, 1),
    ]
    first = int((row.segments == 0).sum())
    size = min(first, row.num_tokens - first)
    pairs = [(one, other) for number, one in enumerate(kinds) for other in kinds[:number]]
    pairs += [(kinds[0][:size], kinds[0][first : first + size]), (kinds[0][1:first], kinds[0][: first - 1])]
    for one, other in pairs:
        correlation = np.corrcoef(one.ravel(), other.ravel())[0, 1]
        assert abs(correlation) < 5 / math.sqrt(one.size)


@pytest.mark.parametrize("config", [UNIFORM, GAUSSIAN], ids=lambda config: config.kind)
def test_the_distribution_is_the_one_that_is_named(config):
    """Kolmogorov and Smirnov against the published scale, alpha / sqrt(T D) with the conversation's own T."""
    examples = rendered(3, longest=300)
    (row,) = pack_rows(examples, 10_000)
    noise = row_noise(row, 128, config, 0, None)
    for number, longest in enumerate(row.longest):
        own = noise[row.segments == number]
        assert longest == len(own)
        scale = config.alpha / math.sqrt(longest * 128)
        cdf = scipy.stats.uniform(-scale, 2 * scale).cdf if config.kind == "uniform" else None
        cdf = cdf or scipy.stats.norm(scale=scale / math.sqrt(3)).cdf
        assert scipy.stats.kstest(own.ravel(), cdf).pvalue > 1e-4
        assert np.abs(own).max() <= scale or config.kind == "gaussian"


def test_the_length_is_that_of_the_longest_sequence_of_the_conversation_not_of_the_row():
    (tree,) = trees(1, num_branches=7, longest=20)
    (alone,), (together,) = pack_rows([tree], 1000), pack_rows([tree, *rendered(5)], 1000)
    longest = max(piece.num_tokens for piece in split(tree))
    assert alone.longest == (longest,)
    assert together.longest[together.conversation_ids.index(tree.conversation_id)] == longest
    assert longest < tree.num_tokens < together.num_tokens
    for row in pack_rows(split(tree), 1000):
        assert set(row.longest) == {longest}


def learned(network, rows, config, done=0.0):
    """The gradient of a step over `rows`, as one vector."""
    network.zero_grad()
    total = Batch(tuple(rows), 0).total_weight
    for row in rows:
        with noisy(network, row, config, 3, done):
            (row_loss(network, row) / total).backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@pytest.mark.parametrize("config", [UNIFORM, LAYERS, GAUSSIAN], ids=lambda config: f"{config.kind} {config.where}")
@pytest.mark.parametrize("method", ["full", "lora"])
def test_layout_never_changes_the_gradient_under_noise(tiny_model_folder, config, method):
    network = prepare(model(tiny_model_folder), TrainConfig(method=method))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.add_(0.1 if "lora_B" in name else 0.0)
    examples = [*rendered(4), *trees(2, num_branches=5)]
    one_row = learned(network, pack_rows(examples, 10_000), config)
    small_rows = learned(network, pack_rows(examples, 64), config)
    apart = learned(network, pack_rows([piece for each in examples for piece in split(each)], 100), config)
    torch.testing.assert_close(one_row, small_rows, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(one_row, apart, atol=1e-6, rtol=1e-4)
    silent = learned(network, pack_rows(examples, 10_000), NoiseConfig())
    assert (silent - one_row).norm() > 1e-3 * silent.norm()


@pytest.mark.parametrize("config", [UNIFORM, LAYERS], ids=lambda config: config.where)
@pytest.mark.parametrize("method", ["full", "lora"])
def test_recomputed_activations_see_the_same_noise(tiny_model_folder, config, method):
    (row,) = pack_rows(trees(3), 1000)
    gradients = []
    for recompute in (False, True):
        asked = TrainConfig(method=method, gradient_checkpointing=recompute)
        gradients.append(learned(prepare(model(tiny_model_folder), asked), [row], config))
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients, atol=0, rtol=0)


class Layers(torch.nn.Module):
    """Two layers that are recomputed as a whole, hooks included, as transformers did before it wrapped `forward`."""

    def __init__(self, recompute):
        super().__init__()
        torch.manual_seed(0)
        self.config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(num_hidden_layers=2))
        self.layers = torch.nn.ModuleList(torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh()) for _ in "ab")
        self.recompute = recompute

    def forward(self, states):
        for layer in self.layers:
            states = checkpoint(layer, states, use_reentrant=False) if self.recompute else layer(states)
        return states.square().sum()


def test_layers_that_are_recomputed_with_their_hooks_see_the_same_noise():
    (row,) = pack_rows(trees(1), 1000)

    def gradient(recompute, is_within):
        network = Layers(recompute)
        with noisy(network, row, LAYERS, 3, 0.0):
            loss = network(torch.ones(1, row.num_tokens, 8))
            if is_within:
                loss.backward()
        if not is_within:
            loss.backward()
        return network.layers[0][0].weight.grad

    torch.testing.assert_close(gradient(True, True), gradient(False, True), atol=0, rtol=0)
    assert not torch.equal(gradient(True, False), gradient(False, True))


def embedded(network, row):
    """What comes out of the embeddings, and what enters each layer."""
    found = []
    layers = [module for name, module in network.named_modules() if name.endswith(("layers.0", "layers.1"))]
    handles = [network.get_input_embeddings().register_forward_hook(lambda *given: found.append(given[2].detach()))]
    handles += [each.register_forward_pre_hook(lambda _, given: found.append(given[0].detach())) for each in layers]
    row_loss(network, row)
    for handle in handles:
        handle.remove()
    return found


def test_it_stands_where_it_is_asked_for_and_nowhere_else(tiny_model_folder):
    """A hook of the test's own, registered within, sees embeddings after the noise and what enters layers."""
    network = model(tiny_model_folder)
    (row,) = pack_rows(rendered(3), 1000)
    plain = embedded(network, row)
    with noisy(network, row, UNIFORM, 3, 0.0):
        at_embeddings = embedded(network, row)
    expected = plain[0][0] + torch.from_numpy(row_noise(row, 32, UNIFORM, 3, None))
    torch.testing.assert_close(at_embeddings[0][0], expected, atol=0, rtol=0)
    with noisy(network, row, LAYERS, 3, 0.0):
        at_layers = embedded(network, row)
    torch.testing.assert_close(at_layers[0], plain[0], atol=0, rtol=0)
    rising = 0.5 * torch.from_numpy(row_noise(row, 32, LAYERS, 3, 0))
    torch.testing.assert_close(at_layers[1][0], plain[1][0] + rising, atol=0, rtol=0)


@pytest.mark.parametrize("config", [UNIFORM, LAYERS], ids=lambda config: config.where)
def test_nothing_that_is_not_trained_is_noisy_and_nothing_stays_behind(tiny_model_folder, config):
    """Evaluation, probes and the reference of preference losses run without gradients."""
    network = prepare(model(tiny_model_folder), TrainConfig())
    (row,) = pack_rows(rendered(3), 1000)
    plain = row_loss(network, row).detach()
    with noisy(network, row, config, 3, 0.0):
        with torch.no_grad():
            assert torch.equal(row_loss(network, row), plain)
        assert not torch.equal(row_loss(network, row).detach(), plain)
    assert torch.equal(row_loss(network, row).detach(), plain)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_schedules_over_steps_and_layers():
    def over_steps(kind):
        return [share_of_steps(NoiseConfig(kind="uniform", over_steps=kind), done) for done in (0.0, 0.5, 1.0)]

    def over_layers(kind):
        config = NoiseConfig(kind="uniform", where="layers", over_layers=kind)
        return [share_of_layer(config, number, 4) for number in range(4)]

    assert over_steps("constant") == [1, 1, 1]
    assert over_steps("linear") == [1, 0.5, 0]
    assert over_steps("cosine") == pytest.approx([1, 0.5, 0])
    assert over_layers("constant") == [1, 1, 1, 1]
    assert over_layers("falling") == [1, 0.75, 0.5, 0.25]
    assert over_layers("rising") == [0.25, 0.5, 0.75, 1]


def test_the_noise_of_a_step_fades_as_its_schedule_says(tiny_model_folder):
    network = prepare(model(tiny_model_folder), TrainConfig(method="full"))
    rows = pack_rows(rendered(3), 1000)
    config = NoiseConfig(kind="uniform", over_steps="linear")
    silent = learned(network, rows, NoiseConfig())
    distances = [float((learned(network, rows, config, done) - silent).norm()) for done in (0.0, 0.5, 0.9, 1.0)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] == 0 < distances[-2]


@pytest.mark.parametrize("where", ["embeddings", "layers"])
def test_a_killed_noisy_run_resumes_to_the_same_bytes(tiny_model_folder, tmp_path, where):
    noise = {"kind": "uniform", "alpha": 20.0, "where": where, "over_steps": "cosine"}

    def run(name, probes=(), **options):
        asked = plan(6, checkpoint_steps=3, **options)
        return train(asked, model(tiny_model_folder), batches(trees(6), 2, 300, 2.0), tmp_path / name, probes)

    whole = run("whole", noise=noise)
    with pytest.raises(KeyboardInterrupt):
        run("killed", [death(4)], noise=noise)
    assert run("killed", noise=noise).digest == whole.digest
    assert run("silent").digest != whole.digest
    losses = [json.loads(line)["loss"] for line in (tmp_path / "whole" / "metrics.jsonl").open()]
    assert all(math.isfinite(loss) for loss in losses)


def test_fields_that_nothing_would_read_are_refused():
    with pytest.raises(ConfigError, match="not read with kind"):
        TrainConfig.parse({"noise": {"alpha": 3.0}})
    with pytest.raises(ConfigError, match="over_layers is for noise at the layers"):
        TrainConfig.parse({"noise": {"kind": "uniform", "over_layers": "rising"}})
