"""Bulk rendering: nothing is rendered twice, in whatever way it ended the first time, and every way gives the same."""

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from word_renderer import WordRenderer, example, examples, turns

from tunesmith.errors import ConfigError, DataError, RenderError
from tunesmith.files import StageFolder, write_jsonl
from tunesmith.messages import conversation_to_dict
from tunesmith.render import RenderConfig, render, renderer_for
from tunesmith.render.bulk import chunks, store
from tunesmith.render.bulk import stage as bulk
from tunesmith.render.bulk.rendered_file import INDEX, SHARDS, RenderedFile
from tunesmith.types import Conversation, Message, ToolCall


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "MEAN_CONVERSATIONS", 8)
    monkeypatch.setattr(chunks, "MIN_CONVERSATIONS", 2)
    monkeypatch.setattr(chunks, "MAX_CONVERSATIONS", 32)
    monkeypatch.setattr(chunks, "MIN_BYTES", 1 << 30)


def write(folder, conversations, renderer=None, **config):
    renderer = renderer or WordRenderer()
    return render(RenderConfig(**config), renderer, conversations, StageFolder(folder, "render"))


def write_file(path, conversations):
    write_jsonl(path, map(conversation_to_dict, conversations))
    return path


def contents(folder):
    """Every file of a render folder, by name."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def keys_of(conversations):
    lines = chunks.read_lines(conversations)
    return [chunks.chunk_key(b"", chunk) for chunk in chunks.chunks(lines)]


def read_dropped(folder):
    return [json.loads(line) for line in (folder / "dropped.jsonl").open()]


# Chunks


def test_chunks_hold_every_conversation_once_in_order():
    lines = list(chunks.read_lines(examples(20_000)))
    cut = list(chunks.chunks(lines))
    assert [name for chunk in cut for name in chunk.ids] == [line.id for line in lines]
    assert [body for chunk in cut for body in chunk.bodies] == [line.body for line in lines]
    sizes = [len(chunk) for chunk in cut]
    assert all(chunks.MIN_CONVERSATIONS <= size <= chunks.MAX_CONVERSATIONS for size in sizes[:-1])
    assert 3 < len(cut) < 40


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 599), st.sampled_from(["insert", "remove", "change"]))
def test_an_edit_changes_few_chunks(place, edit):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "MEAN_CONVERSATIONS", 8)
        patch.setattr(chunks, "MIN_CONVERSATIONS", 2)
        patch.setattr(chunks, "MIN_BYTES", 1 << 30)
        before = examples(600)
        after = before[:place] + ([] if edit == "remove" else [example(9_999)]) + before[place + (edit != "insert") :]
        # A reader names conversations by their lines, which an insertion moves.
        renamed = [dataclasses.replace(each, id=f"n{n}", source=f"train.jsonl:{n}") for n, each in enumerate(after)]
        old, new = keys_of(before), keys_of(renamed)
    assert len(old) > 30
    assert len(set(new) - set(old)) <= 4


def test_long_conversations_make_short_chunks():
    long = [Conversation(f"c{number}", text=f"{number} " * 50_000) for number in range(300)]
    sizes = [sum(map(len, chunk.bodies)) for chunk in chunks.chunks(chunks.read_lines(long))]
    assert max(sizes) <= chunks.MAX_BYTES + 400_000
    assert chunks.MEAN_BYTES / 4 < np.mean(sizes) < chunks.MEAN_BYTES * 4


ODD = [
    Conversation(
        "c1", (Message("user", 'a "quoted", "source": "x"}'), Message("assistant", "b\\n\n")), source="a.jsonl:1"
    ),
    Conversation('i"d', (Message("user", "é\u2028"), Message("assistant", "ß")), source='with "quotes":2'),
    Conversation("c3", text='{"id": "no", "source": "no"}', source=""),
    Conversation("back\\slash", text="t", source="a.jsonl:4"),
    Conversation(
        "c5",
        (
            Message("user", "u"),
            Message("assistant", "", "hm", (ToolCall("f", {"source": "x"}, "1"),)),
            Message("tool", "r", tool_call_id="1"),
            Message("assistant", "a"),
        ),
        tools=({"type": "function", "function": {"name": "f", "source": "z"}},),
        source="a.json:12, item 3",
    ),
]


def test_a_file_and_its_conversations_are_the_same_lines(tmp_path):
    path = write_file(tmp_path / "conversations.jsonl", ODD + examples(20))
    from_file, given = list(chunks.read_lines(path)), list(chunks.read_lines(ODD + examples(20)))
    assert from_file == given
    assert chunks.conversations_of(*zip(*from_file, strict=True)) == ODD + examples(20)


def test_lines_of_other_spelling_are_read_as_well(tmp_path):
    path = tmp_path / "other.jsonl"
    path.write_text('{"text":"a","id":7}\r\n\n{"source": "x:1", "text": "b"}\n{"id": "", "text": "c", "source": "y:2"}')
    lines = list(chunks.read_lines(path))
    assert [(line.id, line.source) for line in lines] == [("7", f"{path}:1"), ("other:3", "x:1"), ("other:4", "y:2")]
    assert [line.body for line in lines] == [b'{"text": "a"}', b'{"text": "b"}', b'{"text": "c"}']


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"id": "a", "messages": [}, "source": "b"}', '{"id": "a", "source": "s:1"}']
)
def test_a_line_that_is_no_conversation_is_told_with_its_place(tmp_path, line):
    (tmp_path / "c.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=r"c\.jsonl:1|^b: |^s:1: "):
        write(tmp_path / "out", tmp_path / "c.jsonl")


# Once is enough


def test_a_second_run_renders_nothing(tmp_path, small_chunks):
    renderer = WordRenderer()
    first = write(tmp_path / "a", examples(100), renderer)
    second = write(tmp_path / "b", write_file(tmp_path / "c.jsonl", examples(100)), renderer)
    assert renderer.num_rendered == 100
    assert (first["num_shards_rendered"], second["num_shards_rendered"]) == (first["num_shards"], 0)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_appended_conversations_alone_are_rendered(tmp_path, small_chunks):
    renderer = WordRenderer()
    write(tmp_path / "a", examples(400), renderer)
    write(tmp_path / "b", examples(404), renderer)
    assert 404 <= renderer.num_rendered <= 404 + 32
    assert RenderedFile(tmp_path / "b")[403].conversation_id == "c403"


def test_equal_chunks_of_one_input_are_rendered_once(tmp_path, small_chunks):
    renderer = WordRenderer()
    twice = examples(100) + [dataclasses.replace(each, id=f"again-{each.id}") for each in examples(100)]
    facts = write(tmp_path, twice, renderer)
    assert renderer.num_rendered < 150
    assert facts["num_shards_rendered"] < facts["num_shards"]
    assert [each.conversation_id for each in RenderedFile(tmp_path)] == [each.id for each in twice]


@pytest.mark.parametrize("change", [{"max_tokens": 99}, {"too_long": "truncate_response"}, {"train_on": "last_turn"}])
def test_other_rules_render_again(tmp_path, change):
    renderer = WordRenderer()
    write(tmp_path / "a", examples(10), renderer)
    write(tmp_path / "b", examples(10), renderer, **change)
    assert renderer.num_rendered == 20


def test_another_renderer_renders_again(tmp_path):
    write(tmp_path / "a", examples(10))
    assert write(tmp_path / "b", examples(10), WordRenderer(bos=True))["num_shards_rendered"] == 1


def test_after_an_error_whoever_chooses_to_drop_goes_on(tmp_path, small_chunks):
    given = [*examples(100), turns("a", "refuse", source="train.jsonl:101"), *examples(100, 100)]
    renderer = WordRenderer()
    with pytest.raises(RenderError, match=r"train\.jsonl:101"):
        write(tmp_path / "a", given, renderer)
    begun = renderer.num_rendered
    facts = write(tmp_path / "a", given, renderer, refused="drop")
    assert renderer.num_rendered == 201
    assert begun >= 101
    assert (facts["num_out"], facts["dropped_by_reason"]) == (200, {"refused": 1})


def test_a_run_folder_stands_alone(tmp_path, small_chunks, monkeypatch):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "run", examples(50))
    cached = sorted((tmp_path / "cache" / "rendered").glob("*/*.shard"))
    own = sorted((tmp_path / "run" / SHARDS).iterdir(), key=lambda path: path.name)
    assert [path.name for path in cached] == [path.name for path in own]
    assert all(a.samefile(b) for a, b in zip(cached, own, strict=True))
    for path in cached:
        path.unlink()
    assert len(list(RenderedFile(tmp_path / "run"))) == 50


def test_without_hard_links_the_shards_are_copied(tmp_path, small_chunks, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    write(tmp_path / "a", examples(50))
    facts = write(tmp_path / "b", examples(50))
    assert facts["num_shards_rendered"] == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert all(path.stat().st_nlink == 1 for path in (tmp_path / "a" / SHARDS).iterdir())


def test_without_a_cache_the_run_folder_resumes_by_itself(tmp_path, small_chunks, monkeypatch):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TUNESMITH_RENDER_CACHE_GB", "0")
    renderer = WordRenderer()
    write(tmp_path / "a", examples(100), renderer)
    (tmp_path / "a" / INDEX).unlink()
    assert write(tmp_path / "a", examples(100), renderer)["num_shards_rendered"] == 0
    assert not (tmp_path / "cache").exists()
    write(tmp_path / "b", examples(100), renderer)
    assert renderer.num_rendered == 200
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("text", ["many", "-1", "inf", "nan"])
def test_a_limit_that_is_no_size_is_refused(tmp_path, monkeypatch, text):
    monkeypatch.setenv("TUNESMITH_RENDER_CACHE_GB", text)
    with pytest.raises(ConfigError, match="gigabytes"):
        write(tmp_path, examples(1))


def test_the_cache_forgets_what_was_not_used_for_longest(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    cache = tmp_path / "cache" / "rendered"
    shards = {}
    for number, name in enumerate("abc"):
        write(tmp_path / name, examples(100, start=1_000 * number))
        shards[name] = cache / (key := RenderedFile(tmp_path / name)._paths[0].stem)[:2] / f"{key}.shard"
        os.utime(shards[name], (number + 1, number + 1))
    stale = shards["a"].with_name(".x.shard.1.tmp")
    stale.touch()
    os.utime(stale, (1, 1))
    write(tmp_path / "again", examples(100))  # uses what a left, which was the oldest
    limit = sum(path.stat().st_size for path in shards.values()) - 1
    monkeypatch.setenv("TUNESMITH_RENDER_CACHE_GB", str(limit / 1e9))
    write(tmp_path / "again", examples(100))
    assert {name for name, path in shards.items() if path.exists()} == {"a", "c"}
    assert not stale.exists()
    assert len(RenderedFile(tmp_path / "b")) == 100


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[:-8], lambda whole: whole[:-40] + b"!" + whole[-39:], lambda _: b""]
)
@pytest.mark.parametrize("cache", ["20", "0"])
def test_a_damaged_shard_is_rendered_again(tmp_path, small_chunks, monkeypatch, damage, cache):
    monkeypatch.setenv("TUNESMITH_RENDER_CACHE_GB", cache)
    renderer = WordRenderer()
    write(tmp_path / "a", examples(100), renderer)
    whole = contents(tmp_path / "a")
    shard = next((tmp_path / "a" / SHARDS).iterdir())
    shard.write_bytes(damage(shard.read_bytes()))  # and its link in the cache with it
    facts = write(tmp_path / "a", examples(100), renderer)
    assert facts["num_shards_rendered"] == 1
    assert contents(tmp_path / "a") == whole


# Order, counts, complaints


def test_ids_and_order_are_those_of_the_input(tmp_path, small_chunks):
    given = [dataclasses.replace(each, id=name) for each, name in zip(examples(60), odd_names(), strict=False)]
    write(tmp_path, given)
    assert [each.conversation_id for each in RenderedFile(tmp_path)] == [each.id for each in given]


def odd_names():
    yield from ("é", "\ud800", "a#2", "", " ", "\n")
    number = 0
    while True:
        yield f"name-{(number := number + 1)}"


def test_counts_and_ledger_balance(tmp_path, small_chunks):
    given = [*examples(30), turns("a", "refuse me", source="b.jsonl:1"), *examples(30, words=40, source="long.jsonl")]
    given += [turns(*(f"w{n} " * 6 for n in range(6)), identifier="split", source="b.jsonl:2")]
    facts = write(tmp_path, given, max_tokens=24, too_long="split_turns", refused="drop")
    ledger = json.loads((tmp_path / "ledger.json").read_text())
    assert (facts["num_in"], facts["num_out"], facts["num_dropped"]) == (62, 31, 31)
    assert (
        facts["dropped_by_reason"]
        == {"refused": 1, "too_long": 30}
        == dict(Counter(r["reason"] for r in read_dropped(tmp_path)))
    )
    assert facts["num_pieces"] == len(RenderedFile(tmp_path)) == 33
    assert [each.conversation_id for each in RenderedFile(tmp_path)][-3:] == ["split", "split#2", "split#3"]
    assert facts["num_tokens"] == RenderedFile(tmp_path).lengths.sum()
    assert facts["num_supervised"] == RenderedFile(tmp_path).supervised.sum()
    assert facts["longest"] == facts["longest_sequence"] == RenderedFile(tmp_path).lengths.max()
    assert facts["ledger"] == ledger
    assert (ledger["policy"], ledger["max_tokens"]) == ("split_turns", 24)
    assert [ledger["sources"][name]["num_in"] for name in ("train.jsonl", "b.jsonl", "long.jsonl")] == [30, 2, 30]
    for account in (ledger["total"], *ledger["sources"].values()):
        for kind in ("tokens", "supervised"):
            came, repeated, went, cut = (account[f"num_{kind}_{word}"] for word in ("in", "repeated", "out", "cut"))
            assert came + repeated == went + cut


def test_a_turn_that_is_dropped_from_a_kept_conversation_is_in_the_file_but_not_in_the_counts(tmp_path):
    facts = write(tmp_path, [turns("a", "b", "w " * 30, "c")], max_tokens=20, too_long="split_turns")
    assert (facts["num_in"], facts["num_out"], facts["num_dropped"]) == (1, 1, 0)
    assert [record["detail"][:15] for record in read_dropped(tmp_path)] == ["messages 3 to 4"]


@pytest.mark.parametrize("order", [("refuse", "long"), ("long", "refuse")])
def test_the_first_failing_conversation_of_the_input_is_told(tmp_path, small_chunks, order):
    bad = {"refuse": turns("a", "refuse"), "long": turns("a", "w " * 50)}
    given = examples(80)
    for place, kind in zip((40, 60), order, strict=True):
        given.insert(place, dataclasses.replace(bad[kind], source=f"bad.jsonl:{place}"))
    remedy = {"refuse": r"the word 'refuse'.*refused=drop", "long": r"max_tokens=57.*too_long=drop.*split_turns"}
    with pytest.raises(RenderError, match=rf"^bad\.jsonl:40: .*{remedy[order[0]]}"):
        write(tmp_path, given, max_tokens=30)
    assert not (tmp_path / INDEX).exists()
    assert any((tmp_path / SHARDS).iterdir())


def test_dropping_everything_is_an_error_that_says_why(tmp_path):
    with pytest.raises(RenderError, match=r"all 3 conversations were dropped \(too_long 3\)"):
        write(tmp_path, examples(3), max_tokens=5, too_long="drop")


def test_an_unfinished_attempt_leaves_no_index(tmp_path, small_chunks):
    write(tmp_path, examples(50))
    with pytest.raises(RenderError, match="refuse"):
        write(tmp_path, [*examples(50), turns("a", "refuse")])
    assert not (tmp_path / INDEX).exists()


def test_shards_of_an_earlier_input_do_not_stay(tmp_path, small_chunks):
    write(tmp_path, examples(50))
    facts = write(tmp_path, examples(20, start=500))
    assert len(list((tmp_path / SHARDS).iterdir())) == facts["num_shards"]


def test_a_full_disk_is_told_and_leaves_nothing_half_written(tmp_path, small_chunks, monkeypatch):
    real, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    renderer = WordRenderer()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            RenderError, match=r"No space left on device.*goes on from there.*TUNESMITH_RENDER_CACHE_GB=0"
        ):
            write(tmp_path / "a", examples(100), renderer)
    cache = Path(os.environ["TUNESMITH_CACHE"]) / "rendered"
    assert [path for path in [*cache.rglob("*"), *tmp_path.rglob("*")] if path.suffix == ".tmp"] == []
    assert len(list(cache.glob("*/*.shard"))) == 3
    facts = write(tmp_path / "a", examples(100), renderer)
    assert facts["num_shards_rendered"] == facts["num_shards"] - 3


# Memory

FRUGAL = """
import dataclasses, re, sys
from pathlib import Path
from word_renderer import WordRenderer, example
from tunesmith.files import StageFolder
from tunesmith.render import RenderConfig, render
from tunesmith.render.bulk import chunks

chunks.MEAN_CONVERSATIONS, chunks.MAX_CONVERSATIONS = 256, 512

class Quick(WordRenderer):
    def render_many(self, conversations):
        plain = self.render(conversations[0])
        return [dataclasses.replace(plain, tokens=plain.tokens.copy()) for _ in conversations]

conversations = (example(number, words=100) for number in range(int(sys.argv[1])))
facts = render(RenderConfig(), Quick(), conversations, StageFolder(Path(sys.argv[2]), "render"))
# The system's own count of the peak begins with that of the process that started this one; this one does not.
print(facts["num_shards"], re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_input(tmp_path):
    peaks = []
    for count in (5_000, 25_000):
        command = [sys.executable, "-c", FRUGAL, str(count), str(tmp_path / str(count))]
        paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=True
        )
        num_shards, peak = map(int, done.stdout.split())
        peaks.append(peak / 1024)
    assert num_shards > 40
    assert peaks[1] < 150
    assert peaks[1] < peaks[0] + 15


# Several processes


SIZES = {"MEAN_CONVERSATIONS": 128, "MIN_CONVERSATIONS": 32, "MAX_CONVERSATIONS": 512, "MIN_BYTES": 1 << 30}


@pytest.fixture
def many(tmp_path, tiny_tokenizer_folder, monkeypatch):
    """A file of conversations in more chunks than one process does by itself, and what renders them."""
    for name, size in SIZES.items():
        monkeypatch.setattr(chunks, name, size)
    path = write_file(tmp_path / "conversations.jsonl", examples(4_000))
    return path, real_renderer(tiny_tokenizer_folder)


def real_renderer(folder, config=None):
    return renderer_for(folder, config or RenderConfig())


def count_workers(monkeypatch):
    started = []
    real = ProcessPoolExecutor.__init__

    def counted(self, *arguments):
        started.append(arguments[0])
        real(self, *arguments)

    monkeypatch.setattr(ProcessPoolExecutor, "__init__", counted)
    return started


def test_workers_give_the_same_bytes(tmp_path, many, monkeypatch, capfd):
    path, renderer = many
    started = count_workers(monkeypatch)
    for name, number in (("one", 1), ("two", 2)):
        monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / f"cache-{name}"))
        monkeypatch.setenv("TUNESMITH_RENDER_WORKERS", str(number))
        facts = write(tmp_path / name, path, renderer)
        assert facts["num_shards"] == facts["num_shards_rendered"] > 2
    assert started == [2]
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert "4,000/4,000" in capfd.readouterr().err


def test_little_work_starts_no_process(tmp_path, tiny_tokenizer_folder, monkeypatch, capfd):
    started = count_workers(monkeypatch)
    monkeypatch.setenv("TUNESMITH_RENDER_WORKERS", "4")
    write(tmp_path, examples(300), real_renderer(tiny_tokenizer_folder))
    assert started == []
    assert capfd.readouterr().err == ""


def test_a_first_failure_among_workers_is_the_first_of_the_input(tmp_path, many, monkeypatch):
    monkeypatch.setenv("TUNESMITH_RENDER_WORKERS", "2")
    given = examples(4_000)
    for place in (3_500, 2_000):
        given[place] = dataclasses.replace(turns("a", "w " * 500), source=f"bad.jsonl:{place}")
    with pytest.raises(RenderError, match=r"^bad\.jsonl:2000: "):
        write(tmp_path / "out", given, many[1], max_tokens=200)


@pytest.mark.parametrize("text", ["0", "two", "-1"])
def test_a_number_of_workers_that_is_none_is_refused(tmp_path, monkeypatch, text):
    monkeypatch.setenv("TUNESMITH_RENDER_WORKERS", text)
    with pytest.raises(ConfigError, match="TUNESMITH_RENDER_WORKERS"):
        write(tmp_path, examples(1))


PROGRAM = """
import json, sys
from pathlib import Path
from tunesmith.files import StageFolder
from tunesmith.render import RenderConfig, render, renderer_for
from tunesmith.render.bulk import chunks

# No guard for the main module, as in many a script.
for name, size in json.loads(sys.argv.pop()).items():
    setattr(chunks, name, size)
folder, path, out = map(Path, sys.argv[1:])
config = RenderConfig()
render(config, renderer_for(folder, config), path, StageFolder(out, "render"))
print("done")
"""


def start(tmp_path, folder, path, out):
    script = tmp_path / "script.py"
    script.write_text(PROGRAM)
    return subprocess.Popen(
        [sys.executable, script, folder, path, out, json.dumps(SIZES)],
        env={**os.environ, "TUNESMITH_RENDER_WORKERS": "2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children_of(pid):
    """The processes that `pid` started to work for it, the system's helper for shared resources left out."""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    rows = [line.split(None, 1) for line in listed.stdout.splitlines()]
    return [int(row[0]) for row in rows if "spawn_main" in row[1]]


def wait_until(is_so, seconds=60):
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def cached():
    return list((Path(os.environ["TUNESMITH_CACHE"]) / "rendered").glob("*/*.shard"))


def halt_in_the_middle(process):
    """Stop the process after its first shard; its workers finish the little that they were given. Their pids."""
    wait_until(cached)
    process.send_signal(signal.SIGSTOP)
    assert process.poll() is None, "it ended before it could be stopped"
    workers = children_of(process.pid)
    assert len(workers) == 2
    return workers


def test_a_script_without_a_guard_runs_once(tmp_path, many, tiny_tokenizer_folder):
    process = start(tmp_path, tiny_tokenizer_folder, many[0], tmp_path / "out")
    output, complaint = process.communicate(timeout=120)
    assert (process.returncode, output) == (0, "done\n"), complaint


def test_sigkill_in_the_middle_loses_no_finished_shard_and_leaves_no_process(tmp_path, many, tiny_tokenizer_folder):
    path, renderer = many
    process = start(tmp_path, tiny_tokenizer_folder, path, tmp_path / "out")
    workers = halt_in_the_middle(process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    wait_until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers))
    kept = len(cached())
    assert not (tmp_path / "out" / INDEX).exists()
    facts = write(tmp_path / "out", path, renderer)
    assert facts["num_shards_rendered"] == facts["num_shards"] - kept < facts["num_shards"]
    assert len(RenderedFile(tmp_path / "out")) == 4_000


def test_a_killed_worker_is_told_and_the_rest_goes_on_later(tmp_path, many, tiny_tokenizer_folder):
    path, renderer = many
    process = start(tmp_path, tiny_tokenizer_folder, path, tmp_path / "out")
    os.kill(halt_in_the_middle(process)[0], signal.SIGKILL)
    process.send_signal(signal.SIGCONT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "one of 2 worker processes died" in complaint.splitlines()[-1]
    kept = len(cached())
    facts = write(tmp_path / "out", path, renderer)
    assert facts["num_shards_rendered"] == facts["num_shards"] - kept


def test_ctrl_c_ends_cleanly(tmp_path, many, tiny_tokenizer_folder):
    process = start(tmp_path, tiny_tokenizer_folder, many[0], tmp_path / "out")
    workers = halt_in_the_middle(process)
    for pid in (process.pid, *workers):  # as a terminal does
        os.kill(pid, signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    _, complaint = process.communicate(timeout=60)
    assert complaint.splitlines()[-1] == "KeyboardInterrupt"
    assert complaint.count("Traceback") == 1
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert not (tmp_path / "out" / INDEX).exists()


def test_a_renderer_that_changed_meanwhile_is_refused(tiny_tokenizer_folder):
    recipe = bulk._Recipe(tiny_tokenizer_folder, RenderConfig(), "another fingerprint")
    with pytest.raises(RenderError, match="changed while"):
        recipe.build()


def test_store_takes_a_shard_that_vanishes_for_one_that_is_not_there(tmp_path, monkeypatch):
    here = store.ShardStore(tmp_path, 1e9)
    monkeypatch.setattr(store, "_is_whole", lambda path: path == here.origin("ab"))
    assert not here.find("ab")
