"""Training that cannot go on says which conversations are to blame, and has not moved the weights."""

import json

import numpy as np
import pytest
import torch
from helpers import batches, engine, model, one_step, plan, rendered, trees
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.errors import TrainError
from tunesmith.pack import pack_rows
from tunesmith.train import TrainConfig, train
from tunesmith.train.adapter import prepare
from tunesmith.train.failures import alone, shortened
from tunesmith.train.objectives.supervised import Supervised
from tunesmith.train.step import train_step
from tunesmith.types import Batch, Rendered

POISON = 319


def poisoned(identifier):
    tokens = np.array([5, POISON, 7, 8], np.int32)
    return Rendered(identifier, tokens, np.array([0, 0, 1, 1], np.float32))


def with_nan_embedding(folder, method="full"):
    network = model(folder)
    network.lm_head.weight = torch.nn.Parameter(network.lm_head.weight.detach().clone())  # untied: others stay finite
    with torch.no_grad():
        network.model.embed_tokens.weight[POISON] = float("nan")
    return prepare(network, TrainConfig(method=method))


class BadGradient(Supervised):
    """Finite losses throughout; the gradient of what holds the poison token is not a number."""

    def row_loss(self, network, row):
        found = super().row_loss(network, row)
        return found._replace(total=found.total + (found.total * 0).sqrt()) if POISON in row.tokens else found


def step_of(network, objective, rows, folder):
    return train_step(engine(network, folder, objective), Batch(tuple(rows), 0), 0)


def message_of(network, objective, rows, folder):
    """The error of a step that cannot be taken, after making sure that no weight moved."""
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    with pytest.raises(TrainError) as caught:
        step_of(network, objective, rows, folder)
    for name, weight in network.named_parameters():
        torch.testing.assert_close(weight.detach(), before[name], rtol=0, atol=0, equal_nan=True)
    return str(caught.value)


@settings(max_examples=8, deadline=None)
@given(bad=st.sets(st.integers(0, 7), min_size=1, max_size=4), row_tokens=st.sampled_from([20, 45, 1000]))
def test_exactly_the_conversations_with_a_nan_loss_are_named(tiny_model_folder, tmp_path_factory, bad, row_tokens):
    """Whichever they are, whoever shares their row; the first bad row stops the step, so its own are named."""
    examples = [poisoned(f"c{n}") if n in bad else each for n, each in enumerate(rendered(8))]
    rows = pack_rows(examples, row_tokens)
    expected = next(
        found for row in rows if (found := [i for i in row.conversation_ids if int(i.removeprefix("c")) in bad])
    )
    message = message_of(with_nan_embedding(tiny_model_folder), Supervised(), rows, tmp_path_factory.mktemp("train"))
    assert "the loss is nan at step 1" in message
    named = [line.split(":")[0].strip() for line in message.splitlines() if line.startswith("  c")]
    assert named == expected


def test_in_a_row_of_trees_the_bad_one_is_named(tiny_model_folder, tmp_path):
    rows = pack_rows([*trees(3), poisoned("bad"), *rendered(2)], 1000)
    assert len(rows) == 1
    message = message_of(with_nan_embedding(tiny_model_folder), Supervised(), rows, tmp_path)
    assert "1 of the step's 6 conversations" in message
    assert "\n  bad: " in message
    assert "\n  t" not in message


@pytest.mark.parametrize("row_tokens", [20, 1000])
def test_exactly_the_conversations_with_a_bad_gradient_are_named(tiny_model_folder, tmp_path, row_tokens):
    examples = [*rendered(5), poisoned("bad one"), poisoned("bad two")]
    network = prepare(model(tiny_model_folder), TrainConfig())
    message = message_of(network, BadGradient(), pack_rows(examples, row_tokens), tmp_path)
    assert "the gradient norm is nan at step 1; the weights were not moved" in message
    assert "2 of the step's 7 conversations" in message
    assert "\n  bad one: " in message
    assert "\n  bad two: " in message
    assert "\n  c" not in message


def test_an_infinite_loss_of_one_conversation(tiny_model_folder, tmp_path):
    heavy = Rendered("heavy", np.array([5, 6, 7], np.int32), np.array([0, 0, np.inf], np.float32))
    network = prepare(model(tiny_model_folder), TrainConfig())
    message = message_of(network, Supervised(), pack_rows([*rendered(2), heavy], 1000), tmp_path)
    assert "the loss is inf" in message
    assert "\n  heavy: " in message


def test_weights_that_are_broken_are_not_blamed_on_the_data(tiny_model_folder, tmp_path):
    network = prepare(model(tiny_model_folder), TrainConfig(method="full"))
    with torch.no_grad():
        network.model.norm.weight.fill_(float("nan"))
    message = message_of(network, Supervised(), pack_rows(rendered(7), 1000), tmp_path)
    assert "every conversation of the step fails, which points at the weights" in message
    assert message.count("\n  c") == 5
    assert "and c" in message


def test_the_text_is_shown_shortened_with_control_characters_escaped(tiny_model_folder, tmp_path):
    from tunesmith.model.tokenizer import Tokenizer

    text = "Hello, \x1b[31myou!\u202e\n" + "four " * 200 + "the end"
    tokens = np.array([5, POISON, *Tokenizer.load(tiny_model_folder).encode(text)], np.int32)
    hostile = Rendered("hostile", tokens[:500], (np.arange(tokens[:500].size) > 2).astype(np.float32))
    message = message_of(with_nan_embedding(tiny_model_folder), Supervised(), pack_rows([hostile], 1000), tmp_path)
    assert "Hello, \\x1b[31myou!\\u202e\\nfour" in message
    assert "four  ... " in message or " ... " in message
    assert "\x1b" not in message and "\u202e" not in message
    assert len(message) < 1000


def test_shortened_keeps_both_ends():
    assert shortened("abc") == "'abc'"
    assert shortened("a" * 300 + "b" * 300, 10) == "'aaaaa ... bbbbb'"


def test_a_model_without_a_tokenizer_still_names_the_conversation(tiny_model_folder, tmp_path):
    network = with_nan_embedding(tiny_model_folder)
    network.config._name_or_path = str(tmp_path / "nowhere")
    message = message_of(network, Supervised(), pack_rows([poisoned("bad"), *rendered(1)], 1000), tmp_path)
    assert "\n  bad: 4 tokens (there is no tokenizer in" in message


def test_the_last_good_checkpoint_is_named(tiny_model_folder, tmp_path):
    """Eight good steps, then the poison: resuming is possible from the last checkpoint."""
    examples = rendered(8)
    order = np.random.default_rng([0, 0]).permutation(9)
    examples = [poisoned("bad") if n == order[-1] else examples[n % 8] for n in range(9)]
    network = model(tiny_model_folder)
    network.lm_head.weight = torch.nn.Parameter(network.lm_head.weight.detach().clone())
    with torch.no_grad():
        network.model.embed_tokens.weight[POISON] = float("nan")
    with pytest.raises(TrainError, match=r"(?s)nan at step 9;.*\n  bad: .*checkpoints/step-000008\. Look"):
        train(plan(9, checkpoint_steps=2, learning_rate=1e-4), network, batches(examples, 1), tmp_path)
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-000006", "step-000008"]


def test_a_step_without_supervised_tokens_is_refused_by_name(tiny_model_folder, tmp_path):
    silent = Rendered("silent", np.array([5, 6], np.int32), np.zeros(2, np.float32))
    network = prepare(model(tiny_model_folder), TrainConfig())
    assert "step 1 has no supervised token" in (
        message := message_of(network, Supervised(), pack_rows([silent], 64), tmp_path)
    )
    assert "conversations silent." in message


def test_a_masked_row_and_a_row_of_one_token_add_nothing_and_are_counted(tiny_model_folder, tmp_path):
    """The step is the same, to the last bit, as without them."""
    masked = Rendered("masked", np.arange(5, 25, dtype=np.int32), np.zeros(20, np.float32))
    single = Rendered("single", np.array([5], np.int32), np.zeros(1, np.float32))
    examples = rendered(3)
    trained, figures = [], []
    for extra in ([], [masked, single]):
        network = prepare(model(tiny_model_folder), TrainConfig())
        step = one_step(network, [row for each in [*examples, *extra] for row in pack_rows([each], 64)], tmp_path)
        trained.append({name: weight.detach().clone() for name, weight in network.named_parameters()})
        figures.append(step.metrics)
    assert [each["num_masked_rows"] for each in figures] == [0, 2]
    assert figures[0]["loss"] == figures[1]["loss"]
    assert figures[0]["grad_norm"] == figures[1]["grad_norm"]
    for name, weight in trained[0].items():
        assert torch.equal(weight, trained[1][name]), name


def test_one_token_with_a_weight_is_refused_by_name(tiny_model_folder, tmp_path):
    lonely = Rendered("lonely", np.array([5], np.int32), np.ones(1, np.float32))
    network = prepare(model(tiny_model_folder), TrainConfig())
    assert "conversation lonely" in message_of(network, Supervised(), pack_rows([lonely], 64), tmp_path)


def test_a_conversation_alone_has_the_loss_that_it_had_in_its_row(tiny_model_folder):
    """What is tried alone is what was in the row: its own losses, to the last bit."""
    network = prepare(model(tiny_model_folder), TrainConfig())
    examples = [*rendered(3), *trees(3)]
    (row,) = pack_rows(examples, 1000)
    whole = Supervised().row_loss(network, row)
    for segment in range(len(row.conversation_ids)):
        found = Supervised().row_loss(network, alone(row, segment))
        mine = torch.from_numpy(row.segments[whole.targets_S] == segment)
        torch.testing.assert_close(found.losses_S, whole.losses_S[mine], rtol=1e-5, atol=1e-6)
    assert json.dumps([alone(row, n).conversation_ids[0] for n in range(6)]) == json.dumps(list(row.conversation_ids))
