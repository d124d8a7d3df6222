"""Where the code is in an answer."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.verify.python_tests.extract import code_of_answer, code_of_continuation, fenced_blocks

STUB = 'import math\n\ndef helper(x):\n    return x\n\ndef area(r):\n    """The area of a circle."""\n'
WHOLE = "def area(r):\n    return math.pi * r * r"
BODY = "    return math.pi * r * r"


def area_of(answer: str, stub: str = STUB) -> float:
    """Run what was found (the test's own text, not a model's) and call it."""
    space: dict[str, object] = {}
    exec(code_of_answer(answer, ("area",), stub), space)
    return round(space["area"](1), 3)  # type: ignore[operator,no-any-return]


@pytest.mark.parametrize(
    "answer",
    [
        f"```python\n{WHOLE}\n```",
        f"Here it is:\n\n```python\n{WHOLE}\n```\n\nIt uses pi.",
        f"```\n{WHOLE}\n```",
        f"```Python\n{WHOLE}\n```",
        f"~~~py\n{WHOLE}\n~~~",
        f"````python\n{WHOLE}\n````",
        f"```bash\npip install math\n```\n```python\n{WHOLE}\n```",
        f"```python\n{WHOLE}\n```\nUse it so:\n```python\nprint(area(2))\n```",
        f"```python\nfrom math import pi\n```\nThen:\n```python\n{WHOLE}\n```",
        f"```python\n{WHOLE}",
        f"<think>```python\ndef area(r): return 0\n```</think>\n```python\n{WHOLE}\n```",
        WHOLE,
        f"Sure! This is the function:\n\n{WHOLE}\n\nIt multiplies.",
        f"{WHOLE}\n\nNote that it uses pi.",
        f"```python\nimport math\n\n{WHOLE}\n```",
        "```python\narea = lambda r: math.pi * r * r\n```",
        f"```python\n{BODY}\n```",
        "```python\nreturn math.pi * r * r\n```",
        BODY,
        "return math.pi * r * r",
        "x = r * r\nif x:\n    return helper(math.pi) * x\nreturn 0",
    ],
)
def test_the_code_is_found(answer: str) -> None:
    assert area_of(answer) == 3.142


def test_the_first_block_that_defines_the_function_counts() -> None:
    answer = "```python\ndef area(r):\n    return 1\n```\nor\n```python\ndef area(r):\n    return 2\n```"
    assert area_of(answer) == 1


def test_a_name_that_only_begins_alike_is_another() -> None:
    code = code_of_answer("```python\ndef area_of(r):\n    return 1\n```", ("area",), "")
    assert code == "def area_of(r):\n    return 1\n"


def test_a_stub_without_the_function_is_put_in_front() -> None:
    assert area_of(f"```python\n{WHOLE}\n```", "import math") == 3.142


@pytest.mark.parametrize(
    "continuation",
    [
        f"{BODY}\n",
        f"{BODY}\n\ndef other():\n    pass\n",
        f"{BODY}\n# The end.\nprint(area(1))\n",
        f"{BODY}\n\n\nif __name__ == '__main__':\n    area(2)",
        f"{BODY}\n```\nThis is it.",
        "    return (\n        math.pi * r * r\n)\n",
        '    """More.\n"""\n    return math.pi * r * r\nclass A: pass',
    ],
)
def test_a_continuation_ends_where_a_line_begins_at_the_margin(continuation: str) -> None:
    code = code_of_continuation(STUB, continuation)
    space: dict[str, object] = {}
    exec(code, space)
    assert round(space["area"](1), 3) == 3.142  # type: ignore[operator]
    assert "other" not in space and "A" not in space


@given(st.text(alphabet="`~ \n\tpython def area(r):=#é\u2028", max_size=200))
def test_no_answer_is_too_strange(answer: str) -> None:
    assert isinstance(code_of_answer(answer, ("area",), STUB), str)
    assert isinstance(code_of_continuation(STUB, answer), str)


@pytest.mark.parametrize("piece", ["```", "```py\n", "def ", " ", "\n", "~~~~", "`````\n", "def area", "\t", "x=\n"])
def test_long_answers_are_read_in_linear_time(piece: str) -> None:
    answer = piece * (1_000_000 // len(piece))
    began = time.process_time()
    code_of_answer(answer, ("area",), STUB)
    code_of_continuation(STUB, answer)
    assert time.process_time() - began < 5.0


def test_blocks_are_read_like_markdown() -> None:
    assert fenced_blocks("```\na\n~~~\nb\n```\nc\n```js\nd\n```\n~~~py\ne") == ["a\n~~~\nb\n", "e\n"]
    assert fenced_blocks("````\n```\na\n````") == ["```\na\n"]
    assert fenced_blocks("inline ``` is none") == []
