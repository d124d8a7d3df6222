"""Pairs of a prompt and a response that studies train on and judge by: read, drawn, and sorted out by length."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tunesmith.errors import DataError
from tunesmith.files import read_jsonl
from tunesmith.types import Conversation, Dropped, Message

Pair = dict[str, str]
"""`id`, `prompt` and `response`."""

SELF_INSTRUCT = ("seed_tasks.jsonl", "user_oriented_instructions.jsonl")


def read_self_instruct(folder: Path) -> list[Pair]:
    """Self-Instruct's human-written tasks, each with its first instance; DataError where they are not there."""
    missing = [name for name in SELF_INSTRUCT if not (folder / "self_instruct" / name).is_file()]
    if missing:
        one, other = SELF_INSTRUCT
        raise DataError(
            f"{folder / 'self_instruct'}: no {' and no '.join(missing)}. The study needs the files `data/{one}` "
            f"and `human_eval/{other}` of github.com/yizhongw/self-instruct there; --data names the folder above"
        )
    return [_task(raw) for name in SELF_INSTRUCT for _, raw in read_jsonl(folder / "self_instruct" / name)]


def _task(raw: dict[str, Any]) -> Pair:
    first = raw["instances"][0]
    prompt = user_text(raw["instruction"], first["input"])
    return {"id": raw["id"], "prompt": prompt, "response": first["output"].strip()}


def user_text(instruction: str, given: str) -> str:
    """The user's message: the instruction, and below it what it is about, where there is something."""
    return f"{instruction.strip()}\n\n{given.strip()}" if given.strip() else instruction.strip()


def read_gsm8k(folder: Path, part: str) -> list[Pair]:
    """GSM8K's questions and worked answers, of `part` train or test; DataError where they are not there."""
    path = folder / "gsm8k" / f"{part}.jsonl"
    if not path.is_file():
        raise DataError(
            f"{path}: no such file. The study needs the file of that name in grade_school_math/data of "
            "github.com/openai/grade-school-math there; --data names the folder above"
        )
    return [
        {"id": f"gsm8k-{part}-{number}", "prompt": raw["question"].strip(), "response": raw["answer"].strip()}
        for number, raw in read_jsonl(path)
    ]


def draw(pairs: Sequence[Pair], count: int, seed: int = 0) -> list[Pair]:
    """`count` pairs at random, in their order; all where there are no more."""
    count = min(count, len(pairs))
    return [pairs[index] for index in sorted(random.Random(seed).sample(range(len(pairs)), count))]


def sort_out(pairs: Sequence[Pair], num_tokens: Callable[[Pair], int], limit: int) -> tuple[list[Pair], list[Dropped]]:
    """Those to use, and those without a response or longer than `limit` tokens.

    Dropped here and not while rendering, where only the arm with the longer prompts would lose them.
    """
    kept, dropped = [], []
    for pair in pairs:
        length = num_tokens(pair) if pair["response"] else 0
        if not pair["response"]:
            dropped.append(Dropped(pair["id"], "study", "no response"))
        elif length > limit:
            dropped.append(Dropped(pair["id"], "study", "too long", f"{length} tokens; the limit is {limit}"))
        else:
            kept.append(pair)
    return kept, dropped


def conversation_of(pair: Pair) -> Conversation:
    return Conversation(pair["id"], (Message("user", pair["prompt"]), Message("assistant", pair["response"])))
