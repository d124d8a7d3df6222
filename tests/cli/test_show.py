"""`tunesmith show`: which conversations it takes, and where it prints them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tunesmith.cli import app

Show = Callable[..., Result]


def pair(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


@pytest.fixture
def show(in_tmp: Path, tiny_tokenizer_folder: Path) -> Show:
    """Run `tunesmith show` on a folder of two files; fails unless the exit code is as expected."""
    Path("data").mkdir()
    write("data/a.jsonl", [pair("one", "first"), pair("two " * 30, "second " * 9), pair("three", "third")])
    write("data/b.jsonl", [pair("four", "fourth"), pair("five", "fifth"), pair("six " * 9, "sixth")])

    def run(*arguments: str, data: str = "data", code: int = 0) -> Result:
        result = CliRunner().invoke(app, ["show", data, "--model", str(tiny_tokenizer_folder), *arguments])
        assert result.exit_code == code, (arguments, result.output, result.exception)
        return result

    return run


def write(path: str, records: list[dict[str, Any]]) -> None:
    Path(path).write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")


def test_the_first_conversations_are_printed(show: Show) -> None:
    output = show().output
    assert "a.jsonl:1 (a:1): " in output
    assert "⟦first<|im_end|>⟧" in output and "⟦third<|im_end|>⟧" in output
    assert "fourth" not in output
    assert "3 conversations, " in output


def test_a_limit_reads_no_further(show: Show) -> None:
    with Path("data/a.jsonl").open("a") as file:
        file.write("no json\n")
    assert "1 conversation, " in show("--limit", "1").output
    assert "a.jsonl:4" in show("--limit", "4", code=1).stderr


@pytest.mark.parametrize(("source", "shown"), [("b.jsonl", "fourth fifth sixth"), ("a.jsonl:3", "third")])
def test_a_source_is_a_file_or_a_line(show: Show, source: str, shown: str) -> None:
    output = show("--source", source).output
    for word in ("first", "second", "third", "fourth", "fifth", "sixth"):
        assert (f"{word}<|im_end|>⟧" in output) == (word in shown.split()), word


def test_an_unknown_source_says_what_is_accepted(show: Show) -> None:
    assert "--source takes a file's name or file:line" in show("--source", "c.jsonl", code=1).stderr


def test_the_longest_come_first(show: Show) -> None:
    output = show("--longest", "2").output
    assert output.index("a.jsonl:2") < output.index("b.jsonl:3")
    assert "2 conversations, " in output


def test_the_most_truncated_come_first(show: Show) -> None:
    policy = ("--set", "render.max_tokens=90", "--set", "render.too_long=truncate_prompt_head")
    output = show("--most-truncated", "3", "--source", "a.jsonl", *policy).output
    assert "a.jsonl:2" in output and "truncated: " in output and "⟪" in output
    assert "1 conversation, " in output
    assert "⟪cut away⟫" in output
    assert "--most-truncated finds only" in show("--most-truncated", "3", code=1).stderr


def test_one_way_to_choose_at_a_time(show: Show) -> None:
    assert "give one of them" in show("--longest", "2", "--limit", "3", code=2).stderr


def test_token_borders_are_printed_on_demand(show: Show) -> None:
    assert "│" in show("--tokens").output
    assert "│" not in show().output


def test_a_refused_conversation_is_named_and_the_others_follow(show: Show, tiny_tokenizer_folder: Path) -> None:
    write("flags.jsonl", [pair("x", "y"), {**pair("x", "y"), "id": "flagged"}])
    record = json.loads(Path("flags.jsonl").read_text().splitlines()[1])
    record["messages"][0]["content"] = "a noncharacter: \ufdd0"
    write("flags.jsonl", [record, pair("x", "y")])
    output = show(data="flags.jsonl").output
    assert "flags.jsonl:1 (flagged): refused: " in output
    assert "⟦y<|im_end|>⟧" in output
    assert "1 refused" in output
    show("--limit", "1", data="flags.jsonl", code=1)


def test_a_page_is_written_whole(show: Show) -> None:
    output = show("--html", "out/page.html").output
    assert "out/page.html: 6 conversations" in output
    page = Path("out/page.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    assert '"id":"b:3","source":"b.jsonl:3"' in page


def test_a_page_takes_the_same_choices(show: Show) -> None:
    assert "1 conversation" in show("--html", "page.html", "--longest", "1").output
    assert "2 conversations" in show("--html", "page.html", "--limit", "2").output
