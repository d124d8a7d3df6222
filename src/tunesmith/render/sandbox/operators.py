"""Operators, loops and formats of a chat template as functions that count what they use.

Whatever could make much out of little (`'a' * 10**10`, `'%9999999d' % 1`, a list that holds itself many times over) or
take long on the way (comparing lists, a key to hash) says so to the meter first.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment, SandboxedFormatter
from jinja2.utils import pass_context

from tunesmith.render.sandbox.meter import BITS, ITEM, WIDTH, LimitReached, Meter

Function = Callable[..., Any]

_AT_ONCE = 1_000_000
_WIDE_NUMBER = re.compile(r"\d{5,}")
_BRACKETS = re.compile(r"[()]")
_SPECIFIER = re.compile(r"[-#0 +]*(\d+|\*)?(?:\.(\d+|\*))?")


def operators(meter: Meter) -> dict[str, Function]:
    """What stands in for operators and statements; the names have a space, so that no template can spell them."""

    def add(left: Any, right: Any) -> Any:
        if type(left) is str and type(right) is str:
            meter.hold(len(left) + len(right))
        elif isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
            meter.hold(6 * (len(left) + len(right)))
        return left + right

    def subtract(left: Any, right: Any) -> Any:
        left, right = settled(meter, left), settled(meter, right)
        meter.hold(meter.weigh(left) + meter.weigh(right))
        return left - right

    def multiply(left: Any, right: Any) -> Any:
        for sized, times in ((left, right), (right, left)):
            if isinstance(sized, str | list | tuple) and isinstance(times, int):
                meter.hold(len(sized) * max(times, 0) * (1 if type(sized) is str else 6))
        if isinstance(left, int) and isinstance(right, int):
            _check_bits(left.bit_length() + right.bit_length())
        return left * right

    def power(left: Any, right: Any) -> Any:
        if isinstance(left, int) and isinstance(right, int):
            _check_bits(left.bit_length() * right)
        return left**right

    def modulo(left: Any, right: Any) -> Any:
        if not isinstance(left, str):
            return left % right
        price_percent(meter, left, right)
        text = left % right
        meter.hold(len(text))
        return text

    def concatenate(parts: tuple[Any, ...]) -> str:
        meter.hold(sum(len(part) if type(part) is str else meter.weigh(part) for part in parts))
        return "".join(map(str, parts))

    def compared(value: Any) -> Any:
        meter.spend(meter.weigh(value))
        return value

    def unpacked(value: Any) -> Any:
        meter.hold(meter.weigh(value))
        return value

    def contained(left: Any, right: Any) -> bool:
        meter.spend(_search_price(meter, left, right))
        return left in right

    def cut(value: Any, start: Any, stop: Any, step: Any) -> Any:
        part = value[start:stop:step]
        meter.hold(2 * len(part))
        return part

    @pass_context  # keeps Jinja from working out constants while it compiles
    def written(_context: Context, value: Any) -> Any:
        meter.hold(len(value) if type(value) is str else meter.weigh(value))
        return value

    def turned(number: int, work: int, volume: int) -> None:
        meter.spend(number * work)
        meter.hold(number * volume)

    def looped(items: Any, work: int, volume: int) -> Any:
        return _paced(items, lambda number: turned(number, work, volume), work + volume)

    def entered(_nothing: None, work: int, volume: int) -> None:
        turned(1, work, volume)

    return {
        "a + b": add,
        "a - b": subtract,
        "a * b": multiply,
        "a ** b": power,
        "a % b": modulo,
        "a ~ b": concatenate,
        "a == b": compared,
        "**a": unpacked,
        "a in b": contained,
        "a [:]": cut,
        "{{ a }}": written,
        "for a": looped,
        "enter a": entered,
    }


def _check_bits(bits: int) -> None:
    if bits > BITS:
        raise LimitReached(f"it asks for a whole number of more than {BITS:,} bits")


def _search_price(meter: Meter, left: Any, right: Any) -> int:
    """Steps of looking for `left` in `right`."""
    if isinstance(right, str):
        return len(right) >> 2
    wanted = meter.weigh(left)
    if isinstance(right, dict) or not hasattr(right, "__len__"):
        return wanted
    return meter.weigh(right) if isinstance(left, list | tuple | dict) else len(right) * (ITEM + wanted // 8)


def _paced(items: Any, count: Callable[[int], Any], each: int) -> Any:
    """`items` with a price on each: paid at once where they are few, one by one where many or of unknown number.

    What has no items is left as it is: a lazy filter minds it later, or never.
    """
    if not hasattr(items, "__len__"):
        return _paid_one_by_one(items, count) if hasattr(items, "__iter__") else items
    number = len(items)
    if number * each > _AT_ONCE:
        return _paid_one_by_one(items, count)
    count(number)
    return items


def _paid_one_by_one(items: Iterable[Any], count: Callable[[int], Any]) -> Iterator[Any]:
    for item in items:
        count(1)
        yield item


def held(meter: Meter, items: Any, each: int) -> Any:
    return _paced(items, lambda number: meter.hold(number * each), each)


def weighed(meter: Meter, items: Iterable[Any], extra: int) -> Iterator[Any]:
    for item in items:
        meter.hold(meter.weigh(item) + ITEM + extra)
        yield item


def settled(meter: Meter, value: Any) -> Any:
    """A list in place of what can be gone through only once, so that it can be weighed."""
    return list(held(meter, value, ITEM)) if hasattr(value, "__next__") else value


# Formats


def price_percent(meter: Meter, template: str, values: Any) -> None:
    """The price of `template % values`: paddings, and the values written out as often as they are named."""
    parts = values if isinstance(values, tuple) else (values,)
    widest = max((abs(part) for part in parts if isinstance(part, int)), default=0)
    number = width = 0
    meter.hold(len(template))
    for specifier in _specifiers(template):
        meter.spend(ITEM)
        number += 1
        width += sum(_width(each, widest) for each in specifier.groups() if each)
    weight = meter.weigh(values) * (1 if isinstance(values, tuple) else max(number, 1))
    meter.room(len(template) + width + 10 * weight)


def _specifiers(template: str) -> Iterator[re.Match[str]]:
    """Flags, width and precision behind each `%` and its name in brackets, as Python reads them."""
    at = template.find("%")
    while at >= 0:
        at += 1
        if template.startswith("(", at):
            at = _behind_brackets(template, at)
        match = _SPECIFIER.match(template, at)
        assert match is not None  # it matches the empty text, too
        yield match
        at = template.find("%", max(match.end() + 1, at))


def _behind_brackets(template: str, at: int) -> int:
    depth = 0
    for bracket in _BRACKETS.finditer(template, at):
        depth += 1 if bracket[0] == "(" else -1
        if depth == 0:
            return bracket.end()
    return len(template)


def _width(digits: str, widest: int) -> int:
    width = widest if digits == "*" else int(digits[:20])
    if width > WIDTH:
        raise LimitReached(f"it asks for a padding of more than {WIDTH:,} characters")
    return width


class Formatter(SandboxedFormatter):
    """`str.format` in the sandbox, with a price on each field."""

    def __init__(self, environment: SandboxedEnvironment, meter: Meter) -> None:
        super().__init__(environment)
        self.meter = meter

    def vformat(self, format_string: str, args: Any, kwargs: Any) -> str:
        self.meter.hold(ITEM * len(format_string))
        return super().vformat(format_string, args, kwargs)

    def format_field(self, value: Any, format_spec: str) -> Any:
        if _WIDE_NUMBER.search(format_spec):
            raise LimitReached(f"it asks for a padding of more than {WIDTH:,} characters")
        self.meter.hold(self.meter.weigh(value))
        text = super().format_field(value, format_spec)
        self.meter.hold(len(text))
        return text

    def convert_field(self, value: Any, conversion: Any) -> Any:
        self.meter.room(10 * self.meter.weigh(value))
        return super().convert_field(value, conversion)
