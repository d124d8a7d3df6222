"""The ledger: each answer is made once, survives any death, and is never read wrongly."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tunesmith.errors import GenerateError
from tunesmith.generate import Completion, Likelihood, Prompt, Sampling, Window
from tunesmith.generate.ledger import Ledger, Recorded, ledger_path, recorded
from tunesmith.types import Message

GREEDY, DRAWN = Sampling(), Sampling(temperature=1.0)


class Counting:
    """Answers with the number of its calls; prices by length."""

    digest, engine = "d", "counting"

    def __init__(self):
        self.asked = []

    def generate(self, prompts, sampling, on_done=None):
        found = []
        for index, prompt in enumerate(prompts):
            self.asked.append(prompt)
            found.append(Completion(f"answer {len(self.asked)} é\ud800", (1, len(self.asked)), True, 0.25))
            if on_done:
                on_done(index, found[-1])
        return found

    def log_likelihood(self, prompts, continuations, window=None, on_done=None):
        found = []
        for index, (prompt, offered) in enumerate(zip(prompts, continuations, strict=True)):
            self.asked.append(prompt)
            found.append(tuple(Likelihood(-0.1 * len(str(each)), 1, len(str(each))) for each in offered))
            if on_done:
                on_done(index, found[-1])
        return found


def behind(path, model, mark="m"):
    return Recorded(lambda: model, Ledger(path), digest="d", engine="counting", mark=mark)


def prompts(*texts, sample=0):
    return [Prompt((Message("user", text),), sample=sample) for text in texts]


def test_an_answer_is_made_once(tmp_path):
    path, model = tmp_path / "ledger.sqlite", Counting()
    told = {}
    first = behind(path, model).generate(prompts("a", "b", "a"), GREEDY, told.__setitem__)
    assert len(model.asked) == 2 and first[0] == first[2] and [told[n] for n in range(3)] == first

    def never():
        raise AssertionError("the model was loaded")

    again = Recorded(never, Ledger(path), digest="d", engine="counting", mark="m")
    assert again.generate(prompts("a", "b", "a"), GREEDY) == first
    assert (again.digest, again.engine) == ("d", "counting")
    part = behind(path, model).generate(prompts("c", "b"), GREEDY)
    assert part[1] == first[1] and len(model.asked) == 3


def test_prices_are_recorded_to_the_last_bit(tmp_path):
    model = Counting()
    generator = behind(tmp_path / "ledger.sqlite", model)
    asked = (prompts("a"), [["x", "yyy"]])
    assert generator.log_likelihood(*asked) == generator.log_likelihood(*asked) == model.log_likelihood(*asked)
    assert len(model.asked) == 2
    generator.log_likelihood(*asked, Window(8, 4))
    generator.log_likelihood(prompts("a"), [["yyy", "x"]])
    generator.log_likelihood(prompts("a"), [[Message("assistant", "x"), "yyy"]])
    assert len(model.asked) == 5


@pytest.mark.parametrize(
    ("prompt", "sampling", "mark", "is_new"),
    [
        (prompts("a")[0], GREEDY, "m", False),
        (prompts("a", sample=3)[0], GREEDY, "m", False),
        (prompts("a")[0], Sampling(seed=4, top_p=0.5), "m", False),
        (prompts("a")[0], GREEDY, "other weights", True),
        (prompts("a")[0], Sampling(max_tokens=7), "m", True),
        (Prompt(text="a"), GREEDY, "m", True),
        (Prompt((Message("user", "a"),), ({"name": "tool"},)), GREEDY, "m", True),
        (Prompt((Message("system", "a"),)), GREEDY, "m", True),
    ],
)
def test_the_key_holds_all_that_decides_a_greedy_answer_and_no_more(tmp_path, prompt, sampling, mark, is_new):
    path, model = tmp_path / "ledger.sqlite", Counting()
    behind(path, model).generate(prompts("a"), GREEDY)
    behind(path, model, mark).generate([prompt], sampling)
    assert len(model.asked) == 1 + is_new


def test_a_begun_answer_is_another_question(tmp_path):
    path, model = tmp_path / "ledger.sqlite", Counting()
    [plain] = prompts("a")
    asked = [plain, Prompt(plain.messages, begun="Well,"), Prompt(plain.messages, begun="No,")]
    assert len({each.text for each in behind(path, model).generate(asked, GREEDY)}) == 3


def test_draws_differ_by_seed_and_number(tmp_path):
    model = Counting()
    generator = behind(tmp_path / "ledger.sqlite", model)
    for sampling in (DRAWN, Sampling(temperature=1.0, seed=1), Sampling(temperature=0.5), DRAWN):
        generator.generate([*prompts("a"), *prompts("a", sample=1)], sampling)
    assert len(model.asked) == 6


def test_a_killed_process_loses_nothing_that_it_told(tmp_path):
    program = f"""
        import sys
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_ledger import Counting, behind, prompts, GREEDY
        def told(index, completion):
            print(index, flush=True)
        asked = prompts(*map(str, range(5000)))
        behind(Path({str(tmp_path / "ledger.sqlite")!r}), Counting()).generate(asked, GREEDY, told)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    seen = [int(process.stdout.readline()) for _ in range(50)]
    process.send_signal(signal.SIGKILL)
    seen += [int(line) for line in process.stdout.read().splitlines() if line]
    process.wait()
    model = Counting()
    behind(tmp_path / "ledger.sqlite", model).generate(prompts(*map(str, seen)), GREEDY)
    assert len(seen) >= 50 and model.asked == []


def test_writers_at_once_agree_on_one_answer(tmp_path):
    path = tmp_path / "ledger.sqlite"

    def write(number):
        ledger = Ledger(path)
        found = [ledger.put(f"key {n}", [number, n]) for n in range(40)]
        ledger.close()
        return found

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(write, range(4)))
    assert all(result == results[0] for result in results)
    assert len(Ledger(path)) == 40


def test_a_full_disk_is_an_error_that_loses_nothing(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.put("before", "kept")
    (pages,) = ledger._connection.execute("PRAGMA page_count").fetchone()
    ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(GenerateError, match=r"no space .*What was recorded is safe"):
        for number in range(1000):
            ledger.put(f"key {number}", "x" * 1000)
    ledger.close()
    assert Ledger(tmp_path / "ledger.sqlite").get("before") == "kept"


def test_a_damaged_file_is_named_with_the_way_to_mend_it(tmp_path):
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(GenerateError, match=r"damaged .*Move it away.*\.recover"):
        Ledger(path).get("a")


def test_a_changed_answer_is_never_read(tmp_path):
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path)
    ledger.put("a", "the right answer")
    ledger.close()
    for place in (path, Path(f"{path}-wal")):
        if place.exists():
            place.write_bytes(place.read_bytes().replace(b"the right", b"the wrong"))
    with pytest.raises(GenerateError, match="damaged"):
        Ledger(path).get("a")


def test_a_ledger_of_another_version_is_refused(tmp_path):
    path = tmp_path / "ledger.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9")
    with pytest.raises(GenerateError, match="version 9"):
        Ledger(path).get("a")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(GenerateError, match=r"evaluate.ledger=off"):
        Ledger(tmp_path / "file" / "ledger.sqlite").get("a")
    (tmp_path / "folder").mkdir()
    with pytest.raises(GenerateError, match=r"evaluate.ledger=off"):
        Ledger(tmp_path / "folder").get("a")


def test_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path))
    assert ledger_path("cache") == tmp_path / "ledger.sqlite"
    assert ledger_path("mine.sqlite") == Path("mine.sqlite")
    model = Counting()
    assert recorded(lambda: model, "off", digest="d", engine="e", mark="m") is model
