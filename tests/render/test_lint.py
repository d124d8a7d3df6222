"""Every check reports the defect that it is about, and nothing where there is none."""

import gc
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import CHATML, build_tokenizer
from tunesmith.data import DataConfig
from tunesmith.data import data as stream
from tunesmith.model.tokenizer import Tokenizer
from tunesmith.render import RenderConfig, Renderer, renderer_for
from tunesmith.render.lint import Again, Check, Setting, checks, lint
from tunesmith.render.lint.checks import CHECKS
from tunesmith.render.lint.results import Result, Results
from tunesmith.render.show.tokens import Reader
from tunesmith.render.show.views import AT_ONCE
from tunesmith.types import Conversation, Dropped, Rendered

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALLS = (
    "{% for call in message.tool_calls or [] %}<call>{{ call.function.name }} PRINTED</call>{% endfor %}"
    "{{ '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
WITH_CALLS = (
    "{% if tools %}{{ '<|im_start|>system\\n' + (tools | tojson) + '<|im_end|>\\n' }}{% endif %}"
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content }}" + CALLS
)
EACH = "{% for key, value in call.function.arguments.items() %}{{ key }}={{ value }} {% endfor %}"
POLITE = (
    "{% for message in messages %}{% if loop.first and message.role == 'assistant' %}"
    "{{ raise_exception('Begin with the user!') }}{% endif %}{% endfor %}" + CHATML
)

Run = Callable[..., Results]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def answer(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def call(arguments: Any) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": arguments}}


def with_call(arguments: Any) -> dict[str, Any]:
    result = {"role": "tool", "tool_call_id": "c1", "content": "21"}
    return {
        "messages": [user("Rain?"), answer("", tool_calls=[call(arguments)]), result, answer("No.")],
        "tools": [TOOL],
    }


def pair(question: str, reply: str, **more: Any) -> dict[str, Any]:
    return {"messages": [user(question), answer(reply, **more)]}


CLEAN = [
    pair("What is the capital of Peru?", "Lima."),
    pair("How many legs has a spider?", "Eight."),
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            user("Hi"),
            answer("Hello."),
            user("Bye"),
            answer("Bye."),
        ]
    },
    {"messages": [user("Name a fruit, please."), answer("Apple.")]},
]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Lint records, by default with the tiny tokenizer and ChatML, its padding token a token of its own."""

    def run(
        records: Sequence[Any],
        template: str = CHATML,
        *,
        pad: str = "<|endoftext|>",
        change: Callable[[Rendered], Rendered] | None = None,
        prepare: Callable[[Path], None] | None = None,
        skip: bool = False,
        **render: Any,
    ) -> Results:
        folder = tmp_path / "model"
        build_tokenizer(folder, template)
        (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>", "pad_token": pad}))
        if prepare is not None:
            prepare(folder)
        file = tmp_path / "data.jsonl"
        lines = (each if isinstance(each, str) else json.dumps(each) for each in records)
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        config = RenderConfig(**render)
        renderer: Any = renderer_for(folder, config)
        if change is not None:
            renderer = Changed(renderer, change)
        data = DataConfig(paths=(str(file),), on_error="skip")
        conversations = stream(data)
        setting = Setting(config, renderer, Tokenizer.load(folder), Reader(renderer), skip)
        return lint(setting, checks.CHECKS, conversations, conversations.dropped, lambda: stream(data))

    return run


class Changed:
    """A renderer with a defect."""

    def __init__(self, renderer: Renderer, change: Callable[[Rendered], Rendered]) -> None:
        self._renderer = renderer
        self._change = change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._renderer, name)

    def render_many(self, conversations: Sequence[Conversation]) -> list[Any]:
        return [
            self._change(each) if isinstance(each, Rendered) else each
            for each in self._renderer.render_many(conversations)
        ]


def of(results: Results, name: str) -> Result:
    return next(result for result in results.results if result.name == name)


def bad(results: Results) -> dict[str, str]:
    """The level of every check that found something."""
    return {result.name: result.level for result in results.results if result.level != "ok"}


def places(result: Result) -> list[str]:
    return [example.source for example in result.examples]


def test_clean_data_are_clean(run: Run) -> None:
    results = run(CLEAN)
    assert bad(results) == {}
    assert results.level == "ok"
    assert results.num_conversations == len(CLEAN)


def test_clean_tool_calls_are_clean(run: Run) -> None:
    template = WITH_CALLS.replace("PRINTED", "{{ call.function.arguments | tojson }}")
    results = run([*CLEAN, with_call({"city": "Lima", "is_now": True, "near": None, "days": [{"a": 1}]})], template)
    assert bad(results) == {}
    assert of(results, "tool_arguments").total == 1


def test_every_check_has_a_name_of_its_own() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)


def test_every_check_has_a_planted_defect() -> None:
    """A check without a test of its defect does not go in."""
    text = Path(__file__).read_text(encoding="utf-8")
    assert [check.name for check in CHECKS if text.count(f'"{check.name}"') < 1] == []


@pytest.mark.parametrize(
    ("record", "name", "level"),
    [
        ("no json", "records", "error"),
        ({"messages": [{"role": "critic", "content": "x"}, answer("y")]}, "records", "error"),
        ({"messages": [user("only a question")]}, "nothing_trained", "error"),
        (pair("x", ""), "empty_answers", "error"),
        (pair("x", " \n"), "empty_answers", "error"),
        ({"messages": [answer("I begin."), user("So?"), answer("Yes.")]}, "roles", "warning"),
        ({"messages": [user("a"), user("b"), answer("c")]}, "roles", "warning"),
        ({"messages": [user("a"), answer("b"), answer("c")]}, "roles", "warning"),
        ({"messages": [user("a"), {"role": "system", "content": "late"}, answer("b")]}, "roles", "warning"),
        ({"messages": [user("a"), answer("b"), user("c")]}, "roles", "warning"),
        ({"messages": [user("a"), {"role": "tool", "content": "1"}, answer("b")]}, "roles", "error"),
        (pair("x", " leading"), "spaces", "warning"),
        (pair("x", "trailing\n"), "spaces", "warning"),
        (pair("x", "<|im_start|>user"), "control_text", "warning"),
        (pair("x <|eot_id|>", "y"), "control_text", "note"),
        (pair("x", "caf\ufffd"), "characters", "warning"),
        (pair("itâ€™s a cafÃ©", "y"), "characters", "warning"),
        (pair("x", "A" * 1500), "characters", "note"),
        (CLEAN[0], "duplicates", "warning"),
        (pair("What is the capital of Peru?", "Cusco."), "same_prompt", "note"),
        (pair("x " * 900, "y"), "supervised_share", "note"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_planted_record_is_found_and_nothing_else(run: Run, record: Any, name: str, level: str) -> None:
    results = run([*CLEAN, record])
    assert bad(results) == {name: level}
    found = of(results, name)
    assert found.count >= 1
    assert found.remedies
    assert places(found) == ["data.jsonl:5"]


def test_a_record_that_training_skips_is_only_a_warning(run: Run) -> None:
    assert bad(run([*CLEAN, "no json", pair("x", "")], skip=True)) == {"records": "warning", "empty_answers": "warning"}


def test_refusals_are_grouped_by_the_template_s_message(run: Run) -> None:
    wrong = {"messages": [answer("I begin."), user("So?"), answer("Yes.")]}
    results = run([*CLEAN, wrong, {"messages": [answer("Me too."), user("Oh"), answer("!")]}], POLITE)
    refused = of(results, "refused")
    assert (refused.level, refused.count, refused.total) == ("error", 2, 6)
    assert len(refused.details["messages"]) == 1
    assert "Begin with the user!" in refused.summary
    assert places(refused) == ["data.jsonl:5", "data.jsonl:6"]
    assert of(run([*CLEAN, wrong], POLITE, refused="drop"), "refused").level == "warning"


def test_an_overall_share_too_low_is_a_warning(run: Run) -> None:
    share = of(run([pair("x " * 900, "y"), pair("y " * 900, "z")]), "supervised_share")
    assert (share.level, share.count) == ("warning", 2)


def test_lengths_are_measured(run: Run) -> None:
    results = run([*CLEAN, pair("x", "z " * 100)], max_tokens=500)
    length = of(results, "length")
    assert (length.level, length.total, length.details["max_tokens"]) == ("ok", 5, 500)
    assert length.details["least"] < length.details["p50"] < length.details["most"]
    assert sum(number for *_, number in length.details["histogram"]) == 5
    assert length.lines


LONG = {"messages": [user("q " * 40), answer("first."), user("r " * 40), answer("second " * 4)]}


@pytest.mark.parametrize(
    ("policy", "level", "word"),
    [
        ("error", "error", "would stop the run"),
        ("drop", "warning", "left out"),
        ("truncate_prompt_head", "warning", "truncated"),
        ("truncate_response", "warning", "truncated"),
        ("split_turns", "note", "split"),
    ],
)
def test_what_is_cut_is_booked(run: Run, policy: str, level: str, word: str) -> None:
    results = run([*CLEAN, LONG], max_tokens=140, too_long=policy)
    found = of(results, "truncation")
    assert (found.level, found.count, found.total) == (level, 1, 5)
    assert word in found.summary
    assert found.details["longest"] > 140
    assert f"render.max_tokens={found.details['longest']}" in found.remedies[0]
    assert found.details["total"]["num_in"] == 5
    assert list(found.details["sources"]) == ["data.jsonl"]
    assert places(found) == ["data.jsonl:5"]
    longer = of(run([*CLEAN, LONG], max_tokens=found.details["longest"]), "truncation")
    assert (longer.level, longer.count) == ("ok", 0)


def without_stop(rendered: Rendered) -> Rendered:
    """The last trained token, which is the stop token, is not trained."""
    weights = rendered.loss_weights.copy()
    weights[np.flatnonzero(weights)[-1]] = 0
    return replace(rendered, loss_weights=weights)


def test_turns_without_a_trained_stop_token_are_errors(run: Run) -> None:
    found = of(run(CLEAN, change=without_stop), "stop_tokens")
    assert (found.level, found.count, found.total) == ("error", 4, 5)
    assert of(run(CLEAN, change=lambda each: without_stop(replace(each, messages=None))), "stop_tokens").count == 4


@pytest.mark.parametrize("train_on", ["last_turn", "response_only", "per_message"])
def test_stop_tokens_are_found_whatever_is_trained(run: Run, train_on: str) -> None:
    found = of(run(CLEAN, train_on=train_on), "stop_tokens")
    assert (found.level, found.count) == ("ok", 0)
    assert found.total >= len(CLEAN)


def test_stop_tokens_that_a_policy_cuts_are_explained(run: Run) -> None:
    long = pair("q", "word " * 60)
    found = of(run([*CLEAN, long], max_tokens=100, too_long="truncate_response"), "stop_tokens")
    assert (found.level, found.count) == ("note", 1)
    assert "truncate_response" in found.summary


def with_bos(folder: Path) -> None:
    """A tokenizer that begins every text with <|endoftext|> by itself."""
    from tokenizers import Tokenizer as Backend
    from tokenizers.processors import TemplateProcessing

    path = str(folder / "tokenizer.json")
    backend = Backend.from_file(path)
    number = backend.token_to_id("<|endoftext|>")
    backend.post_processor = TemplateProcessing("<|endoftext|> $A", special_tokens=[("<|endoftext|>", number)])
    backend.save(path)


def prepended(rendered: Rendered, times: int) -> Rendered:
    tokens = np.insert(rendered.tokens, 0, [0] * times).astype(np.int32)
    weights = np.insert(rendered.loss_weights, 0, [0.0] * times).astype(np.float32)
    return Rendered(rendered.conversation_id, tokens, weights)


def test_beginning_tokens_are_counted(run: Run) -> None:
    right = of(run(CLEAN, bos="add", prepare=with_bos), "bos")
    assert (right.level, right.details["sequences_by_number"]) == ("ok", {"0": 0, "1": 4, "2+": 0})
    missing = of(run(CLEAN, bos="template", prepare=with_bos), "bos")
    assert (missing.level, missing.count) == ("warning", 4)
    double = run(CLEAN, bos="template", prepare=with_bos, change=lambda each: prepended(each, 2))
    assert (of(double, "bos").level, of(double, "bos").count) == ("error", 4)


def test_a_padding_token_that_stops_is_noted(run: Run) -> None:
    assert bad(run(CLEAN, pad="<|im_end|>")) == {"pad_token": "note"}


def test_arguments_encoded_twice_are_errors(run: Run) -> None:
    template = WITH_CALLS.replace("PRINTED", "{{ call.function.arguments | tojson }}")
    found = of(run([*CLEAN, with_call(json.dumps(json.dumps({"city": "Lima"})))], template), "tool_arguments")
    assert (found.level, found.count, places(found)) == ("error", 1, ["data.jsonl:5"])
    inner = of(run([*CLEAN, with_call({"filter": '{"city": "Lima"}'})], template), "tool_arguments")
    assert (inner.level, inner.count) == ("note", 1)
    once = of(run([*CLEAN, with_call(json.dumps({"city": "Lima"}))], template), "tool_arguments")
    assert (once.level, once.total) == ("ok", 1)


@pytest.mark.parametrize(
    ("printed", "arguments", "level"),
    [
        (EACH, {"x": True}, "warning"),
        (EACH, {"x": {"y": "z"}}, "error"),
        ("{{ call.function.arguments | tojson | tojson }}", {"x": 1}, "warning"),
    ],
)
def test_arguments_that_a_template_spoils_are_found(run: Run, printed: str, arguments: Any, level: str) -> None:
    results = run([*CLEAN, with_call(arguments)], WITH_CALLS.replace("PRINTED", printed))
    assert of(results, "tool_arguments").level == level


def test_mixed_reasoning_is_found(run: Run) -> None:
    template = CHATML.replace(
        "message['content']",
        "('<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' if message.reasoning_content else '')"
        " + message['content']",
    )
    field, inline = pair("q", "a", reasoning_content="hm"), pair("r", "<think>\nhm\n</think>\n\nb")
    every = [
        {"messages": [*each["messages"][:-1], {**each["messages"][-1], "reasoning_content": "Let me think."}]}
        for each in CLEAN
    ]
    assert of(run([*CLEAN, field, inline], template), "reasoning").level == "warning"
    assert of(run([*CLEAN, field], template), "reasoning").level == "note"
    assert of(run(every, template), "reasoning").level == "ok"


def test_white_space_in_every_answer_is_a_habit(run: Run) -> None:
    results = run([pair("a", " x"), pair("b", " y")])
    assert bad(results) == {"spaces": "note"}


def test_very_long_tokens_are_noted(run: Run) -> None:
    def with_ruler(folder: Path) -> None:
        from tokenizers import AddedToken
        from tokenizers import Tokenizer as Backend

        path = str(folder / "tokenizer.json")
        backend = Backend.from_file(path)
        backend.add_tokens([AddedToken("=" * 60, special=False)])
        backend.save(path)

    results = run([*CLEAN, pair("a ruler", "=" * 60)], prepare=with_ruler)
    assert bad(results) == {"characters": "note"}


def test_near_duplicates_are_noted_apart_from_copies(run: Run) -> None:
    text = "It was a bright cold day in April, and all the clocks of the old town were striking thirteen once more"
    results = run([*CLEAN, pair("Go on.", text), pair("Go on.", f"{text}!"), pair("Go on.", text)])
    found = of(results, "duplicates")
    assert found.details["kinds"] == {"exact": 1, "near": 1}
    assert {(example.source, example.detail) for example in found.examples} == {
        ("data.jsonl:7", "the same as data.jsonl:5"),
        ("data.jsonl:6", "nearly like data.jsonl:5"),
    }


def test_both_answers_of_a_prompt_are_shown(run: Run) -> None:
    found = of(run([*CLEAN, pair("What is the capital of Peru?", "Cusco.")]), "same_prompt")
    assert found.count == 2
    assert "'Cusco.'" in found.examples[0].detail
    assert "data.jsonl:1: 'Lima.'" in found.examples[0].detail


def test_examples_are_few_and_of_every_kind(run: Run) -> None:
    first = [{"messages": [answer("I begin."), user(f"So {n}?"), answer("Yes.")]} for n in range(9)]
    end = {"messages": [user("a"), answer("b"), user("c")]}
    found = of(run([*CLEAN, *first, end]), "roles")
    assert found.count == 10
    assert places(found) == ["data.jsonl:5", "data.jsonl:14", "data.jsonl:6"]


def test_documents_are_looked_at_without_messages(run: Run) -> None:
    results = run([{"text": "Once upon a time there was a fox."}, {"text": "The fox ran into the woods."}])
    assert bad(results) == {}


def test_conversations_are_let_go(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks hold digests and a few examples, so that memory stays small at a million conversations."""

    def num_alive() -> int:
        gc.collect()
        return sum(type(each) in (Conversation, Dropped) for each in gc.get_objects())

    alive: list[int] = []

    class Census(Check):
        name = "census"

        def look_again(self, again: Again) -> None:
            alive.append(num_alive())

    monkeypatch.setattr(checks, "CHECKS", (*CHECKS, Census))
    before = num_alive()
    run([*(pair(f"What is {n}?", f"It is {n}.") for n in range(300)), *(["no json"] * 100)])
    assert alive[0] - before < 2 * AT_ONCE


def test_results_are_plain_json(run: Run) -> None:
    results = run([*CLEAN, CLEAN[0], "no json", LONG], max_tokens=100, too_long="split_turns")
    plain = json.loads(json.dumps(results.to_dict()))
    assert set(plain) == {"level", "num_conversations", "checks"}
    keys = {"name", "level", "summary", "count", "total", "remedies", "examples", "details"}
    assert all(set(each) == keys for each in plain["checks"])
