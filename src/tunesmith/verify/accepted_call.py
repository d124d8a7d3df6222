"""The scorer `accepted_call`: is the one function called, each argument with one of its accepted values?

The rules are those of the Berkeley Function Calling Leaderboard for simple calls of Python functions (Patil et al.
2023, its syntax-tree checker), on calls in the spelling of `tool_call`.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from tunesmith.errors import EvaluateError
from tunesmith.verify.calls import cut, read_calls
from tunesmith.verify.equivalence.json_values import json_value

# Spelling that no caller minds: BFCL leaves these out of texts, and compares without case and kind of quote.
IGNORED = re.compile(r"[ ,./\-_*^]")
LEFT_OUT = ""
EXAMPLE = '{"accepted": {"area": {"base": [10], "unit": ["cm", ""]}}}'
KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
Verdict = tuple[float, str, str]


def accepted_call(item: dict[str, Any], completion: str) -> Verdict:
    """Right when the completion calls the function of `checker.accepted` once, as its definition in `tools` says.

    `accepted` is `{function: {argument: [value, ...]}}`; "" among the values: the argument may be left out. Integers
    do for numbers; texts are compared without case, spaces and most punctuation. The rule says what is wrong: text,
    broken, count, name, missing, unknown, type or value.
    """
    name, accepted = _accepted(item.get("checker"))
    calls, problem = read_calls(completion, _as_written)
    if problem is not None:
        return 0.0, problem, "broken"
    if not calls:
        return 0.0, f"it replies with text where a call of {cut(name)} is expected.", "text"
    if len(calls) > 1:
        return 0.0, f"it makes {len(calls)} calls where one is expected.", "count"
    seen = calls[0]["name"]
    if seen not in (name, name.replace(".", "_")):
        return 0.0, f"it calls {cut(seen)}, not {cut(name)}.", "name"
    return _judge(calls[0].get("arguments", {}), accepted, _parameters(item, name), name)


def _as_written(text: str) -> Any:
    """JSON with 10 and 10.0 apart, which are different answers here; raises Refused as `json_value` does."""
    json_value(text)
    return json.loads(text, strict=False)


def _judge(
    arguments: Mapping[str, Any], accepted: Mapping[str, list[Any]], parameters: Mapping[str, Any], name: str
) -> Verdict:
    described = parameters.get("properties", {})
    for argument in parameters.get("required", []):
        if argument not in arguments:
            return 0.0, f"the required argument {argument!r} is missing.", "missing"
    for argument, value in arguments.items():
        if argument not in described or argument not in accepted:
            return 0.0, f"there is no argument {cut(repr(argument))} to be given.", "unknown"
        options = [option for option in accepted[argument] if option != LEFT_OUT]
        if not _fits(value, described[argument], options):
            kind = described[argument].get("type", "value")
            return 0.0, f"{argument!r} is {cut(repr(value))}, which is no {kind}.", "type"
        if not any(_equals(value, option) for option in accepted[argument]):
            return 0.0, f"{argument!r} is {cut(repr(value))}, not {_either(options)}.", "value"
    for argument, options in accepted.items():
        if argument not in arguments and LEFT_OUT not in options:
            return 0.0, f"the argument {argument!r} is missing, which must be {_either(options)}.", "missing"
    return 1.0, f"it calls {cut(name)} with accepted arguments.", "passed"


def _fits(value: Any, schema: Mapping[str, Any], options: list[Any]) -> bool:
    """Whether a value is of the described type, or of the type of an accepted one (such as a variable's name)."""
    kinds = KINDS.get(str(schema.get("type")), (type(value),))
    if type(value) not in kinds:
        return any(type(value) is type(option) for option in options)
    if not isinstance(value, list) or not isinstance(schema.get("items"), dict):
        return True
    inner = [each for option in options if isinstance(option, list) for each in option]
    return all(_fits(each, schema["items"], inner) for each in value)


def _equals(value: Any, option: Any) -> bool:
    """Equal as BFCL has it: inside an accepted object, each key has a list of accepted values of its own."""
    if isinstance(value, str) and isinstance(option, str):
        return _spelling(value) == _spelling(option)
    if isinstance(value, list) and isinstance(option, list):
        return len(value) == len(option) and all(map(_equals, value, option))
    if isinstance(value, dict) and isinstance(option, dict):
        options = {key: each if isinstance(each, list) else [each] for key, each in option.items()}
        given = all(key in options and any(_equals(each, one) for one in options[key]) for key, each in value.items())
        return given and all(key in value or LEFT_OUT in each for key, each in options.items())
    return isinstance(value, bool) == isinstance(option, bool) and bool(value == option)


def _spelling(text: str) -> str:
    return IGNORED.sub("", text).lower().replace("'", '"')


def _either(options: list[Any]) -> str:
    return cut(" or ".join(repr(option) for option in options if option != LEFT_OUT) or "left out")


def _parameters(item: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    for tool in item.get("tools") or []:
        function = tool.get("function", tool)
        if function.get("name") == name:
            parameters: Mapping[str, Any] = function.get("parameters") or {}
            return parameters
    raise EvaluateError(f"the function {name!r} of checker.accepted is not among the item's tools")


def _accepted(checker: Any) -> tuple[str, Mapping[str, list[Any]]]:
    accepted = checker.get("accepted") if isinstance(checker, dict) else None
    if isinstance(accepted, dict) and len(accepted) == 1:
        name, arguments = next(iter(accepted.items()))
        if isinstance(arguments, dict) and all(isinstance(options, list) for options in arguments.values()):
            return name, arguments
    raise EvaluateError(f"the scorer 'accepted_call' needs a checker with one function, such as {EXAMPLE}")
