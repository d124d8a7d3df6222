import gzip
import json
import tracemalloc

import pytest

from tunesmith.data import DataConfig, iter_conversations, write_data
from tunesmith.errors import DataError

PAIRS = [{"prompt": f"What is {n} plus {n * n}?", "completion": f"{n + n * n}"} for n in range(40)]
LONG = "All work and no play makes a dull conversation. " * 40


def config_for(*paths, **fields):
    return DataConfig(paths=tuple(str(path) for path in paths), **fields)


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def balances(facts):
    kept_and_dropped = facts["num_out"] + facts["num_heldout"] + facts["num_dropped"]
    return facts["num_in"] == kept_and_dropped and facts["num_dropped"] == sum(facts["dropped_by_reason"].values())


def test_the_folder_and_the_facts(write_file, tmp_path):
    path = write_file("train.jsonl", PAIRS)
    facts = write_data(config_for(path, system="Add."), tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["conversations.jsonl"]
    assert facts["format"] == "prompt_completion"
    assert facts["evidence"] == "train.jsonl: 20 of the first 20 records have 'prompt' and 'completion'"
    assert (facts["num_in"], facts["num_out"], facts["num_messages"]) == (40, 40, 120)
    assert facts["shared_system"] == "Add."
    assert facts["files"][0]["path"] == str(path)
    assert json.loads(json.dumps(facts)) == facts
    assert balances(facts)


@pytest.mark.parametrize(
    ("systems", "expected"),
    [(["s", "s"], "s"), (["s", "t"], None), (["s", None], None), ([None, "s"], None), ([None, None], None)],
)
def test_shared_system(write_file, tmp_path, systems, expected):
    records = [{**pair, "system": system} for pair, system in zip(PAIRS, systems, strict=False)]
    facts = write_data(config_for(write_file("a.jsonl", records)), tmp_path / "out")
    assert facts["shared_system"] == expected


def test_holdout_divides_the_lines_and_keeps_their_order(write_file, tmp_path):
    path = write_file("train.jsonl", PAIRS)
    whole = write_data(config_for(path), tmp_path / "whole")
    parts = write_data(config_for(path, holdout=7), tmp_path / "parts")
    kept, held = (lines_of(tmp_path / "parts" / f"{name}.jsonl") for name in ("conversations", "heldout"))
    assert (parts["num_out"], parts["num_heldout"]) == (len(kept), len(held)) == (33, 7)
    assert parts["num_messages"] == whole["num_messages"]
    merged = sorted(kept + held, key=lambda raw: int(raw["id"].split(":")[1]))
    assert merged == lines_of(tmp_path / "whole" / "conversations.jsonl")
    assert kept == [raw for raw in merged if raw not in held]
    assert balances(parts)


def test_skipping_keeps_every_bad_record_with_its_reason(write_file, tmp_path):
    good, bad_bytes = json.dumps(PAIRS[0]).encode(), b'{"prompt": "\xff"}'
    lines = [good, b"{oops", bad_bytes, b"3", b'{"prompt": "q", "completion": "\\ud800"}', good]
    path = write_file("train.jsonl", b"\r\n".join(lines))
    facts = write_data(config_for(path, on_error="skip"), tmp_path / "out")
    dropped = lines_of(tmp_path / "out" / "dropped.jsonl")
    assert facts["dropped_by_reason"] == {"unreadable record": 2, "malformed record": 1, "not writable": 1}
    assert [record["source"] for record in dropped] == [f"train.jsonl:{n}" for n in (2, 3, 4, 5)]
    assert [record["record"] for record in dropped] == [
        "{oops",
        '{"prompt": "\\xff"}',
        3,
        {"prompt": "q", "completion": "\ud800"},
    ]
    assert all(f"{path}:" in record["detail"] and record["stage"] == "data" for record in dropped)
    assert (facts["num_in"], facts["num_out"], facts["num_dropped"]) == (6, 2, 4)
    assert balances(facts)


@pytest.mark.parametrize("holdout", [0, 2])
def test_max_conversations_stops_the_reading(write_file, tmp_path, holdout):
    path = write_file("train.jsonl", [{"prompt": "no answer"}, *PAIRS])
    config = config_for(path, format="prompt_completion", on_error="skip", max_conversations=5, holdout=holdout)
    facts = write_data(config, tmp_path / "out")
    assert (facts["num_in"], facts["num_out"], facts["num_dropped"]) == (6, 5 - holdout, 1)
    assert balances(facts)


def test_a_second_run_replaces_the_first_whole(write_file, tmp_path):
    path = write_file("train.jsonl", [*PAIRS, {"prompt": "no answer"}])
    write_data(config_for(path, on_error="skip", holdout=5), tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == 3
    write_data(config_for(path, max_conversations=40), tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["conversations.jsonl"]


@pytest.mark.parametrize("fields", [{}, {"holdout": 40}])
def test_a_failed_run_leaves_the_folder_as_it_was(write_file, tmp_path, fields):
    path = write_file("train.jsonl", PAIRS)
    write_data(config_for(path), tmp_path / "out")
    before = (tmp_path / "out" / "conversations.jsonl").read_bytes()
    broken = write_file("broken.jsonl", [*PAIRS, *([] if fields else [3])])
    with pytest.raises(DataError):
        write_data(config_for(broken, **fields), tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["conversations.jsonl"]
    assert (tmp_path / "out" / "conversations.jsonl").read_bytes() == before


def test_a_truncated_gzip_stops_even_when_skipping(write_file, tmp_path):
    content = gzip.compress("".join(json.dumps(pair) + "\n" for pair in PAIRS).encode())
    path = write_file("train.jsonl.gz", content[:-20])
    with pytest.raises(DataError, match="truncated"):
        write_data(config_for(path, on_error="skip"), tmp_path / "out")


def test_when_everything_is_dropped_the_error_says_why(write_file, tmp_path):
    path = write_file("train.jsonl", [{"prompt": "q", "completion": ""}] * 3)
    with pytest.raises(DataError) as caught:
        write_data(config_for(path, on_error="skip"), tmp_path / "out")
    assert "all 3 records were dropped (empty assistant message 3); the first: " in str(caught.value)
    assert not list((tmp_path / "out").iterdir())


def test_the_same_input_gives_the_same_bytes(write_file, tmp_path):
    path = write_file("train.jsonl", PAIRS)
    for name in ("one", "two"):
        write_data(config_for(path, holdout=0.2, seed=3), tmp_path / name)
    for name in ("conversations.jsonl", "heldout.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_what_was_written_can_be_read_and_written_again(write_file, tmp_path):
    write_data(config_for(write_file("train.jsonl", PAIRS)), tmp_path / "one")
    write_data(config_for(tmp_path / "one" / "conversations.jsonl"), tmp_path / "two")
    first, second = (list(iter_conversations(tmp_path / name / "conversations.jsonl")) for name in ("one", "two"))
    assert [(found.id, found.messages) for found in first] == [(found.id, found.messages) for found in second]


def peak_bytes(config, folder):
    tracemalloc.start()
    write_data(config, folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv"])
def test_memory_does_not_grow_with_the_file(write_file, tmp_path, kind):
    def write(name, count):
        pairs = [{"prompt": f"{n} {LONG}", "completion": "a"} for n in range(count)]
        if kind == "csv":
            return write_file(name, "prompt,completion\n" + "".join(f"{p['prompt']},a\n" for p in pairs))
        return write_file(name, pairs if kind == "jsonl" else json.dumps(pairs))

    small, large = write(f"small.{kind}", 100), write(f"large.{kind}", 5000)
    peak_bytes(config_for(small), tmp_path / "warm")
    growth = peak_bytes(config_for(large), tmp_path / "b") - peak_bytes(config_for(small), tmp_path / "a")
    # What may grow is the hash of each id; the file grew by about 10 MB.
    assert large.stat().st_size - small.stat().st_size > 9_000_000
    assert growth < 150 * 5000 + 600_000
