"""`tunesmith losses` finds a wrong label, and says which line of which file it stands in."""

import json
from pathlib import Path

from typer.testing import CliRunner

from tunesmith.cli import app
from tunesmith.files import write_jsonl
from tunesmith.messages import conversation_to_dict
from tunesmith.train.conversation_losses import FILE
from tunesmith.types import Conversation, Message


def make_run(folder: Path) -> Path:
    """Two epochs over three conversations, of which the second never falls."""
    (folder / "train").mkdir(parents=True)
    (folder / "data").mkdir()
    conversations = [
        Conversation(f"c{n}", (Message("user", "Hi"), Message("assistant", f"Answer\n{n}")), source=f"chats.jsonl:{n}")
        for n in (1, 2, 3)
    ]
    write_jsonl(folder / "data" / "conversations.jsonl", map(conversation_to_dict, conversations))
    found = {("c1", 0): 2.0, ("c2", 0): 3.0, ("c3", 0): 4.0, ("c1", 1): 0.5, ("c2", 1): 3.1, ("c3", 1): 1.0}
    write_jsonl(
        folder / "train" / FILE,
        [
            {"step": 1 + epoch, "epoch": epoch, "id": name, "loss": loss, "num_supervised": 4}
            for (name, epoch), loss in found.items()
        ],
    )
    return folder


def losses(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["losses", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_the_worst_stand_first_with_their_place_and_words(tmp_path: Path) -> None:
    lines = losses(str(make_run(tmp_path / "run"))).splitlines()
    assert [line.split()[:2] for line in lines[1:4]] == [["3.100", "3.000"], ["1.000", "4.000"], ["0.500", "2.000"]]
    assert "chats.jsonl:2" in lines[1] and "Answer / 2" in lines[1]
    assert "3 of 3 conversations; 1 never fell" in lines[-1]


def test_only_those_that_never_fell_as_json(tmp_path: Path) -> None:
    printed = losses(str(make_run(tmp_path / "run")), "--never-fell", "--json")
    found = [json.loads(line) for line in printed.splitlines()]
    expected = {"id": "c2", "losses": [3.0, 3.1], "num_supervised": 4, "never_fell": True, "source": "chats.jsonl:2"}
    assert found == [expected]


def test_a_folder_of_training_alone_names_conversations(tmp_path: Path) -> None:
    assert "chats.jsonl:2" in losses(str(make_run(tmp_path / "run") / "train"), "--num", "1")
    (tmp_path / "run" / "data" / "conversations.jsonl").unlink()
    assert "c2" in losses(str(tmp_path / "run"), "--num", "1")


def test_of_several_phases_the_last_is_taken_or_the_one_asked_for(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    for number, name in ((1, "01-first"), (2, "02-second")):
        (run / "train" / name).mkdir()
        line = {"step": 1, "epoch": 0, "id": f"c{number}", "loss": 1.0, "num_supervised": 4}
        write_jsonl(run / "train" / name / FILE, [line])
    assert "chats.jsonl:2" in losses(str(run)) and "chats.jsonl:1" not in losses(str(run))
    assert "chats.jsonl:1" in losses(str(run / "train" / "01-first"))


def test_a_run_that_has_not_trained_is_named(tmp_path: Path) -> None:
    assert "has trained" in losses(str(tmp_path), code=1)
