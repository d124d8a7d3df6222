"""On-policy distillation: answers are the model's own and a function of their keys; the loss is the reverse KL."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import batches, death, model, plan, rendered
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import build_model, build_tokenizer
from tunesmith.branches import sequences
from tunesmith.errors import ConfigError
from tunesmith.model import ModelConfig
from tunesmith.pack import pack_rows
from tunesmith.train import ObjectiveConfig, TrainConfig, train
from tunesmith.train.adapter import prepare
from tunesmith.train.failures import each_alone
from tunesmith.train.head import find_head
from tunesmith.train.objectives.make import make_objective, stop_tokens, teacher_digest
from tunesmith.train.plan import make_plan
from tunesmith.train.rows import context_of
from tunesmith.types import Batch, Rendered


@pytest.fixture(scope="module")
def teacher_folder(tmp_path_factory) -> Path:
    """Another model with the same tokenizer, surer of itself, and with a padded head."""
    folder = tmp_path_factory.mktemp("teacher")
    build_model(folder, seed=7, hidden_size=48, vocab_size=352, initializer_range=0.1)
    build_tokenizer(folder)
    return folder


def config(teacher, method="full", **distill):
    settings = {"teacher": {"name": str(teacher), "dtype": "float32"}, "max_tokens": 6, **distill}
    return TrainConfig(method=method, objective={"kind": "distill", "distill": settings})


def prepared(student, teacher, chunk_tokens=512, **options):
    asked = config(teacher, **options)
    network = prepare(model(student), asked)
    return network, make_objective(asked, network, find_head(network, chunk_tokens))


def batch_of(examples, row_tokens=1000, epoch=0):
    return Batch(tuple(pack_rows(examples, row_tokens, epochs=[epoch] * len(examples))), epoch)


def apart(batch):
    """Each conversation in a row of its own."""
    return [each for row in batch.rows for each in each_alone(row)]


def answers_of(batch):
    """The trained tokens of each conversation, sequence by sequence."""
    found = {}
    for row in apart(batch):
        paths = sequences(row.branches, row.num_tokens)
        texts = [row.tokens[places][row.loss_weights[places] != 0].tolist() for places in paths]
        found[row.conversation_ids[0], row.epochs[0]] = texts
    return found


@settings(max_examples=4, deadline=None)
@given(row_tokens=st.integers(20, 90), seed=st.integers(0, 3), batch_prompts=st.sampled_from([3, 16]))
def test_answers_do_not_depend_on_the_rows(tiny_model_folder, teacher_folder, row_tokens, seed, batch_prompts):
    examples = rendered(7, seed)
    network, learned = prepared(tiny_model_folder, teacher_folder, samples=2, batch_prompts=batch_prompts)
    one = answers_of(learned.prepare(network, batch_of(examples), 0))
    other = answers_of(learned.prepare(network, batch_of(examples[::-1], row_tokens), 3))
    assert one == other
    assert all(len(texts) == 2 and texts[0] != texts[1] for texts in one.values())


def test_each_epoch_has_answers_of_its_own_and_the_training_is_left_as_it_was(tiny_model_folder, teacher_folder):
    examples = rendered(4)
    network, learned = prepared(tiny_model_folder, teacher_folder, method="lora")
    state, attention = torch.get_rng_state(), network.config._attn_implementation
    first = answers_of(learned.prepare(network, batch_of(examples), 0))
    again = answers_of(learned.prepare(network, batch_of(examples), 9))
    later = answers_of(learned.prepare(network, batch_of(examples, epoch=1), 0))
    assert first == again
    assert list(first.values()) != list(later.values())
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training and network.config._attn_implementation == attention


def test_the_prompt_is_what_stands_before_the_first_supervised_token(tiny_model_folder, teacher_folder):
    """In a plain conversation and on a branch of a tree; answers stop with a stop token or at the limit."""
    plain = Rendered("plain", np.arange(10, 18, dtype=np.int32), np.array([0, 0, 0, 1, 1, 0, 0, 1], np.float32))
    weights = np.array([0, 0, 0, 0, 0, 1, 1], np.float32)
    tree = Rendered("tree", np.arange(30, 37, dtype=np.int32), weights, np.array([[0, -1], [4, 1]], np.int32))
    network, learned = prepared(tiny_model_folder, teacher_folder, samples=3)
    made = learned.prepare(network, batch_of([plain, tree]), 0)
    for row in apart(made):
        expected = [10, 11, 12] if row.conversation_ids == ("plain",) else [30, 31, 34]
        assert row.tokens[context_of(row, len(expected))].tolist() == expected
        for places in sequences(row.branches, row.num_tokens):
            answer = row.tokens[places[len(expected) :]].tolist()
            assert 1 <= len(answer) <= 6
            assert row.positions[places].tolist() == list(range(places.size))
            assert not set(answer[:-1]) & set(learned.stops)
            assert len(answer) == 6 or answer[-1] in learned.stops


def test_answers_are_drawn_from_the_models_own_distribution(tiny_model_folder, teacher_folder):
    network, learned = prepared(tiny_model_folder, teacher_folder, samples=500, max_tokens=1, batch_prompts=500)
    with torch.no_grad():
        network.get_input_embeddings().weight *= 12  # so that some tokens are likely
    (example,) = rendered(1)
    found = answers_of(learned.prepare(network, batch_of([example]), 0))[("c0", 0)]
    prompt = example.tokens[: int(np.flatnonzero(example.loss_weights)[0])]
    network.set_attn_implementation("eager")
    with torch.no_grad():
        logits = network(input_ids=torch.from_numpy(prompt).long()[None]).logits[0, -1]
    expected = logits.double().softmax(-1).numpy() * 500
    seen = np.bincount([tokens[0] for tokens in found], minlength=expected.size)
    likely = expected > 8
    assert likely.any()
    assert np.all(np.abs(seen - expected)[likely] < 4.5 * np.sqrt(expected[likely]))


def test_the_loss_is_the_mean_reverse_divergence_whatever_the_rows(tiny_model_folder, teacher_folder):
    """Oracle: transformers' own models, one answer at a time, and torch's kl_div over the common vocabulary."""
    from transformers import AutoModelForCausalLM

    network, learned = prepared(tiny_model_folder, teacher_folder, samples=2, chunk_tokens=7)
    assert learned.head.kind == learned.teacher_head.kind == "chunked"
    student, teacher = (AutoModelForCausalLM.from_pretrained(each) for each in (tiny_model_folder, teacher_folder))
    batch = learned.prepare(network, batch_of(rendered(5)), 0)
    total, count = 0.0, 0
    for row in batch.rows:
        for places in sequences(row.branches, row.num_tokens):
            tokens, trained = torch.from_numpy(row.tokens[places]).long(), row.loss_weights[places][1:] != 0
            with torch.no_grad():
                own, other = (
                    plain(input_ids=tokens[None]).logits[0, :-1, :320].double().log_softmax(-1)[trained]
                    for plain in (student, teacher)
                )
            total += float(torch.nn.functional.kl_div(other, own, reduction="sum", log_target=True))
            count += int(trained.sum())

    def loss_and_gradient(rows):
        network.zero_grad()
        loss = sum(learned.row_loss(network, row).total for row in rows) / learned.normalizer(batch)
        loss.backward()
        return float(loss.detach()), torch.cat([p.grad.flatten() for p in network.parameters()])

    loss, gradient = loss_and_gradient(batch.rows)
    alone, same = loss_and_gradient(apart(batch))
    assert count == batch.num_supervised
    assert loss == pytest.approx(total / count, rel=1e-4) == alone
    torch.testing.assert_close(gradient, same, atol=1e-6, rtol=1e-3)


def test_a_model_has_nothing_to_learn_from_itself(tiny_model_folder):
    network, learned = prepared(tiny_model_folder, tiny_model_folder, method="lora")
    batch = learned.prepare(network, batch_of(rendered(3)), 0)
    assert max(float(learned.row_loss(network, row).losses_S.abs().max()) for row in batch.rows) < 1e-6


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_share_of_the_conversations_is_learned_from_as_the_data_say(tiny_model_folder, teacher_folder, share):
    examples = rendered(40)
    network, learned = prepared(tiny_model_folder, teacher_folder, on_policy_share=share, max_tokens=2)
    found = answers_of(learned.prepare(network, batch_of(examples), 0))
    as_given = {each.conversation_id: each.tokens[each.loss_weights != 0].tolist() for each in examples}
    kept = sum(found[name, 0] == [tokens] for name, tokens in as_given.items())
    assert kept == 40 if share == 0 else 10 <= kept <= 30


def test_a_student_comes_nearer_to_its_teacher(tiny_model_folder, teacher_folder, tmp_path):
    steps = plan(16, method="full", objective=config(teacher_folder, max_tokens=4).objective)
    train(steps, model(tiny_model_folder), batches(rendered(4), epochs=16), tmp_path)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").open()]
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])


def test_a_killed_run_resumes_to_the_same_bytes(tiny_model_folder, teacher_folder, tmp_path):
    options = {"objective": config(teacher_folder).objective, "checkpoint_steps": 2, "adapter": {"dropout": 0.1}}

    def run(folder, die_at):
        stream = batches(rendered(6), 2, epochs=2)
        return train(plan(6, **options), model(tiny_model_folder), stream, folder, [death(die_at)])

    whole = run(tmp_path / "whole", None)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", 5)
    assert run(tmp_path / "killed", None).digest == whole.digest


# What does not fit is refused, and the plan says what it takes


def test_a_teacher_with_another_tokenizer_is_refused(tiny_model_folder, tmp_path):
    build_model(tmp_path / "other")
    build_tokenizer(tmp_path / "other")
    path = tmp_path / "other" / "tokenizer.json"
    path.write_text(path.read_text().replace("Ġ", "Ģ"))
    with pytest.raises(ConfigError, match=r"other: it has another tokenizer \(311 tokens\) than"):
        prepared(tiny_model_folder, tmp_path / "other")


def test_stop_tokens_are_named_or_asked_for(tiny_model_folder, tmp_path):
    assert stop_tokens(config("t").objective.distill, tiny_model_folder) == (2,)
    assert stop_tokens(config("t", stop=("<|endoftext|>",)).objective.distill, tiny_model_folder) == (0,)
    build_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="names no token that ends an answer"):
        stop_tokens(config("t").objective.distill, tmp_path)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"kind": "distill"}, "kind distill needs a teacher"),
        ({"kind": "dpo", "distill": {"samples": 2}}, "distill is read by kind 'distill' alone"),
    ],
)
def test_settings_that_make_no_sense_are_refused(values, complaint):
    with pytest.raises(ConfigError, match=complaint):
        ObjectiveConfig.parse(values, "train.objective")


def test_the_plan_tells_of_the_teacher(tiny_model_folder, teacher_folder):
    base = ModelConfig(name=str(tiny_model_folder))

    def lines(asked):
        return {line.name: line for line in make_plan(asked, base, tiny_model_folder, batches(rendered())).lines}

    told = lines(config(teacher_folder))
    assert told["teacher"].value == str(teacher_folder)
    assert "1 to a prompt, of at most 6 tokens, at temperature 1, for 100%" in told["answers"].reason
    assert told["objective"].value == "distill"
    assert "objective" not in lines(TrainConfig(method="full"))


def test_another_teacher_of_the_same_name_is_another_training(teacher_folder, tmp_path):
    assert teacher_digest(ObjectiveConfig()) is None
    build_model(tmp_path / "one", seed=1)
    first = teacher_digest(config(tmp_path / "one").objective)
    build_model(tmp_path / "one", seed=2)
    assert teacher_digest(config(tmp_path / "one").objective) != first
