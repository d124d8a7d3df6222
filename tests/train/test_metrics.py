"""What a person sees of a training: figures by source and part, losses by conversation, the plot, the console line."""

import io

import numpy as np
import pytest
import torch
from helpers import batches, model, plan, rendered
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.errors import DataError, Interrupted
from tunesmith.pack import PackConfig, pack, pack_rows
from tunesmith.progress import Progress
from tunesmith.train import FunctionProbe, TrainConfig, train
from tunesmith.train.adapter import prepare
from tunesmith.train.conversation_losses import (
    ConversationLosses,
    Course,
    cut_losses,
    is_watched,
    read_courses,
    worst,
)
from tunesmith.train.loss_plot import loss_page, read_metrics, smoothed
from tunesmith.train.machine import linear_shapes, matmul_rate, measured_rate, memory_bytes
from tunesmith.train.metrics import Visit, loss_by_part, loss_by_source, stops, visits
from tunesmith.train.objectives.objective import RowLoss
from tunesmith.types import Part, Rendered, Row

C, A, R, F = Part.CONTROL, Part.TEXT, Part.REASONING, Part.TOOL_CALL


def labeled(identifier, parts, weights, source="", branches=None):
    size = len(parts)
    more = {} if branches is None else {"branches": np.array(branches, np.int32)}
    arrays = (np.arange(3, 3 + size, dtype=np.int32), np.array(weights, np.float32))
    return Rendered(identifier, *arrays, parts=np.array(parts, np.uint8), source=source, **more)


def with_losses(examples, row_tokens=1000, seed=0):
    """Rows with made-up losses, the same for a token wherever it stands."""
    rows = pack_rows(examples, row_tokens)
    return [(row, RowLoss(torch.zeros(()), losses_of(row), np.flatnonzero(row.loss_weights))) for row in rows]


def losses_of(row: Row) -> torch.Tensor:
    return torch.from_numpy((row.tokens[np.flatnonzero(row.loss_weights)] % 7 + 0.5).astype(np.float32))


# By source and part


def test_the_last_trained_control_token_of_a_turn_is_its_stop():
    #       <u>  hi  </u> <a> <think> hm </think> yes </a>  \n  <u> more </u> <a> call  </a>
    parts = [C, A, C, C, C, R, C, A, C, C, C, A, C, C, F, C]
    weights = [0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1]
    [row] = pack_rows([labeled("a", parts, weights)], 100)
    assert np.flatnonzero(stops(row)).tolist() == [8, 15]


def test_a_stop_ends_its_branch_and_its_conversation():
    first = labeled("a", [C, A, A, C, A, C], [0, 0, 1, 1, 1, 1], branches=[[0, -1], [4, 1]])
    second = labeled("b", [C, C, A], [0, 1, 1])
    [row] = pack_rows([first, second], 100, "varlen")
    assert np.flatnonzero(stops(row)).tolist() == [3, 5]


def test_parts_are_told_apart():
    parts = [C, A, C, C, R, C, A, F, C]
    example = labeled("a", parts, [0, 0, 0, 1, 1, 1, 1, 1, 1])
    found = loss_by_part(with_losses([example]))
    token_losses = dict(zip(range(9), (example.tokens % 7 + 0.5).tolist(), strict=True))
    assert found == pytest.approx(
        {
            "reasoning": token_losses[4],
            "answer": token_losses[6],
            "tool_call": token_losses[7],
            "stop": token_losses[8],
            "control": (token_losses[3] + token_losses[5]) / 2,
        }
    )


def test_rows_without_parts_or_names_give_no_figures():
    rows = with_losses(rendered(3))
    assert loss_by_part(rows) == {} == loss_by_source(rows)


@st.composite
def mixed(draw):
    """Conversations of several sources with random parts and weights, each with something trained."""
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    made = []
    for number in range(draw(st.integers(1, 8))):
        size = int(generator.integers(3, 15))
        weights = generator.choice([0, 0.5, 1], size)
        weights[0], weights[-1] = 0, 1
        made.append(labeled(f"c{number}", generator.integers(0, 4, size), weights, f"source {number % 3}"))
    return made


@settings(deadline=None)
@given(mixed(), st.integers(15, 80))
def test_figures_times_their_shares_add_up_to_the_loss_in_any_layout(examples, row_tokens):
    rows = with_losses(examples, row_tokens)
    weight = sum(each.loss_weights.sum() for each in examples)
    loss = sum(float(each.losses_S.numpy() @ row.loss_weights[each.targets_S]) for row, each in rows) / weight
    shares = {}
    for each in examples:
        shares[each.source] = shares.get(each.source, 0) + each.loss_weights.sum() / weight
    by_source = loss_by_source(rows)
    assert sum(by_source[name] * share for name, share in shares.items()) == pytest.approx(loss)
    assert loss_by_part(rows) == pytest.approx(loss_by_part(with_losses(examples)))
    assert min(loss_by_part(rows).values()) <= loss * (1 + 1e-9) and loss <= max(loss_by_part(rows).values()) * (
        1 + 1e-9
    )


@settings(deadline=None)
@given(mixed())
def test_a_conversation_in_pieces_is_one_visit(examples):
    whole = {visit.conversation_id: visit for visit in visits(with_losses(examples))}
    for each in examples:
        trained = np.flatnonzero(each.loss_weights)
        losses, weights = each.tokens[trained] % 7 + 0.5, each.loss_weights[trained]
        assert whole[each.conversation_id].loss == pytest.approx(float(losses @ weights / weights.sum()))
        assert whole[each.conversation_id].num_supervised == trained.size
    cut = pack(PackConfig(batch_conversations=99, row_tokens=4, split_long="wrap"), [examples[0]], 1, "d")[0]
    pieces = [(row, RowLoss(torch.zeros(()), losses_of(row), np.flatnonzero(row.loss_weights))) for row in cut.rows]
    assert len(visits(pieces)) <= 1


# A whole training


def trained(folder, tiny_model_folder, examples, epochs=2.0, **options):
    stream = batches(examples, batch=4, epochs=epochs)
    train(plan(len(stream), checkpoint_steps=2, **options), model(tiny_model_folder), stream, folder)
    return read_metrics(folder / "metrics.jsonl")


def test_every_step_has_its_figures(tiny_model_folder, tmp_path):
    examples = [labeled(f"c{n}", [C, A, A, A, C], [0, 0, 1, 1, 1], f"s{n % 2}") for n in range(12)]
    lines = trained(tmp_path, tiny_model_folder, examples)
    assert [line["tokens_seen"] for line in lines] == [20 * step for step in range(1, 7)]
    assert [line["supervised_seen"] for line in lines] == [12 * step for step in range(1, 7)]
    for line in lines:
        assert set(line["loss_by_part"]) == {"answer", "stop"}
        assert set(line["loss_by_source"]) <= {"s0", "s1"}
        parts = line["loss_by_part"]
        assert (2 * parts["answer"] + parts["stop"]) / 3 == pytest.approx(line["loss"], rel=1e-5)
        assert line["memory_bytes"] > 10_000_000
        assert line["matmul_share"] > 0
        assert line["supervised_per_second"] == pytest.approx(line["tokens_per_second"] * 12 / 20)


def test_interrupted_and_resumed_files_equal_those_of_one_run(tiny_model_folder, tmp_path):
    """Kill after step 3 (checkpoint at 2), so that a step, and a torn line, are beyond the checkpoint."""
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    lines = trained(whole, tiny_model_folder, rendered(12))

    class Cut(Exception):
        pass

    stream = batches(rendered(12), batch=4, epochs=2.0)

    def dies(step, network):
        if step == 4:
            raise Cut

    with pytest.raises(Cut):
        train(
            plan(len(stream), checkpoint_steps=2),
            model(tiny_model_folder),
            stream,
            parted,
            [FunctionProbe("cut", dies, every_steps=1)],
        )
    for name in ("metrics.jsonl", "conversation_losses.jsonl"):
        with (parted / name).open("a") as file:
            file.write('{"step": 5, "id": "x", "loss": 1, "epoch": 0, "num_supervised": 1}\n{"step": 6, "to')
    again = trained(parted, tiny_model_folder, rendered(12))
    assert [line["tokens_seen"] for line in again] == [line["tokens_seen"] for line in lines]
    assert [line["loss"] for line in again] == [line["loss"] for line in lines]
    assert (parted / "conversation_losses.jsonl").read_text() == (whole / "conversation_losses.jsonl").read_text()


def test_the_plot_is_drawn_at_the_end_and_on_interruption(tiny_model_folder, tmp_path):
    trained(tmp_path / "whole", tiny_model_folder, rendered(8))
    assert (tmp_path / "whole" / "loss.svg").read_text().startswith("<svg")
    stream = batches(rendered(12), batch=4, epochs=2.0)

    def stops_here(step, network):
        if step == 2:
            raise Interrupted("enough")

    probe = FunctionProbe("stop", stops_here, every_steps=2)
    with pytest.raises(Interrupted):
        train(plan(6, checkpoint_steps=2), model(tiny_model_folder), stream, tmp_path / "part", [probe])
    assert (tmp_path / "part" / "loss.svg").exists()


# The file of conversations


def course_of(folder, ids_and_losses):
    with ConversationLosses(folder, 1) as losses:
        for step, (epoch, found) in enumerate(ids_and_losses, 1):
            losses.add(step, [Visit(name, epoch, loss, 5) for name, loss in found.items()])
    return read_courses(folder)


def test_what_never_fell_is_found_and_the_worst_stand_first(tmp_path):
    courses = course_of(
        tmp_path,
        [
            (0, {"easy": 2.0, "wrong": 3.0, "hard": 4.0, "short": 1.0}),
            (1, {"easy": 0.1, "wrong": 3.1, "hard": 3.2, "short": 0.95}),
            (2, {"easy": 0.0, "wrong": 2.9, "hard": 2.0, "short": 1.1}),
        ],
    )
    assert [course.conversation_id for course in worst(courses, 3)] == ["wrong", "hard", "short"]
    assert [course.conversation_id for course in worst(courses, 9, never_fell=True)] == ["wrong", "short"]
    assert worst(courses, 1)[0] == Course("wrong", (3.0, 3.1, 2.9), 5)


def test_one_visit_says_nothing_about_falling():
    assert not Course("a", (9.0,), 3).never_fell


def test_cutting_back_keeps_the_steps_before(tmp_path):
    course_of(tmp_path, [(0, {"a": 1.0}), (0, {"b": 2.0}), (1, {"a": 3.0})])
    cut_losses(tmp_path, 2)
    assert [course.losses for course in read_courses(tmp_path)] == [(1.0,), (2.0,)]
    cut_losses(tmp_path / "nowhere", 2)


def test_the_file_is_bounded_and_watches_the_same_conversations_in_every_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr("tunesmith.train.conversation_losses.MOST_VISITS", 500)
    with ConversationLosses(tmp_path, 4000) as losses:
        for epoch in range(2):
            losses.add(epoch + 1, [Visit(f"c{number}", epoch, 1.0, 1) for number in range(2000)])
    courses = read_courses(tmp_path)
    assert 150 < len(courses) < 350
    assert all(len(course.losses) == 2 for course in courses)
    assert all(is_watched(course.conversation_id, 500 / 4000) for course in courses)


def test_a_folder_without_losses_is_named(tmp_path):
    with pytest.raises(DataError, match="has trained"):
        read_courses(tmp_path)


# The plot


def test_smoothing_keeps_a_constant_and_a_line_and_quiets_noise():
    constant = [(step, 2.0) for step in range(1, 301)]
    assert smoothed(constant) == [(x, pytest.approx(y)) for x, y in constant]
    line = [(step, float(step)) for step in range(1, 301)]
    assert smoothed(line)[150] == pytest.approx(line[150])
    noise = [(step, value) for step, value in enumerate(np.random.default_rng(0).normal(size=500))]
    assert np.std([y for _, y in smoothed(noise)]) < 0.4
    assert len(smoothed([(step, 1.0) for step in range(100_000)])) <= 2001
    assert smoothed([(1, 1.0), (2, float("nan"))]) == [(1, 1.0)]


def test_the_page_shows_what_there_is():
    lines = [
        {"step": step, "epoch": step // 6, "loss": 3 / step, "learning_rate": 1e-4, "validation_loss": 4 / step}
        for step in range(1, 11)
    ]
    page = loss_page(lines, num_warmup=2)
    for text in ("training", "validation", "warmup ends", "epoch 2", "best validation", "Learning rate"):
        assert text in page
    assert "Loss by source" not in page
    assert "epoch 2" in loss_page([{"step": 0, "validation_loss": 5.0}, *lines]), "measured before the first step"
    several = [{**line, "loss_by_source": {"chats": 1.0, "code <new>": 2.0}} for line in lines]
    assert "Loss by source" in loss_page(several) and "code &lt;new&gt;" in loss_page(several)


# The machine


def test_the_best_rate_ever_seen_counts(tiny_model_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path))
    shapes, cpu = ((64, 32), (32, 64)), torch.device("cpu")

    def rate(value, rows=128, dtype=torch.float32):
        return matmul_rate(shapes, rows, dtype, cpu, lambda *_: value)

    assert [rate(5.0), rate(9.0), rate(7.0)] == [5.0, 9.0, 9.0]
    assert rate(1.0, rows=64) == 1.0
    assert rate(1.0, dtype=torch.bfloat16) == 1.0
    assert matmul_rate((), 128, torch.float32, cpu) == 0.0
    next((tmp_path / "matmul").glob("*.json")).write_text("{torn")
    assert rate(2.0) > 0


def test_measuring_leaves_the_random_state_alone(tiny_model_folder):
    network = prepare(model(tiny_model_folder), TrainConfig())
    before = torch.get_rng_state()
    assert linear_shapes(network) == ((16, 32), (32, 32), (32, 64), (64, 32))
    assert measured_rate(linear_shapes(network), 64, torch.float32, torch.device("cpu")) > 1e6
    assert torch.equal(torch.get_rng_state(), before)


def test_memory_is_that_of_the_process():
    kept = np.ones(40_000_000, np.uint8)
    assert memory_bytes(torch.device("cpu")) > kept.nbytes


# The console line


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_the_console_line_stays_one_line(columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    with Progress("train", 100, stream=stream) as progress:
        progress.advance(50, {"loss": 1.234567, "lr": 1e-5, "tok/s": 12_345, "matmul": "45%", "mem": "1.2 GB"})
    line = stream.getvalue().split("\x1b[2K")[-1].rstrip("\n")
    assert len(line) < columns
    assert "50/100" in line
    assert ("mem 1.2 GB" in line) == (columns > 100)
    assert ("loss 1.235" in line) == (columns > 40)


def test_a_log_file_has_every_figure(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    stream = io.StringIO()
    with Progress("train", 1, stream=stream) as progress:
        progress.advance(1, {"loss": 1.0, "mem": "1.2 GB"})
    assert "mem 1.2 GB" in stream.getvalue()
