"""Filters, tests and methods of a chat template with their prices, paid before they run or while they do.

Whatever could make much out of little (`'x'.ljust(10**10)`, `|replace`, `|indent`) or take long on the way (a backward
search, sorting) says so to the meter first. A filter that is not known here is priced as if it were quadratic; a method
that is not known here is not allowed.
"""

import json
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from jinja2.filters import FILTERS
from jinja2.tests import TESTS

from tunesmith.render.sandbox.meter import ITEM, WIDTH, LimitReached, Meter
from tunesmith.render.sandbox.operators import Function, held, price_percent, settled, weighed

Price = Callable[[Meter, str, tuple[Any, ...]], None]

_LONGEST_DIGITS = 5000
_MOST_DECIMALS = 400
_GROWTH = 24
"""No text filter makes more units than this of one character (`|wordcount` and `|title` hold a list of words)."""


# Filters and tests


def filters(meter: Meter) -> dict[str, Function]:
    """Jinja's filters, each with its price, and transformers' own `tojson`."""
    found: dict[str, Function] = {}
    for name, function in FILTERS.items():
        maker = _FILTER_MAKERS.get(name, _quadratic_filter)
        found[name] = function if name in _FREE_FILTERS else maker(meter, function, name)
    found["tojson"] = _tojson(meter)
    return found


def tests(meter: Meter) -> dict[str, Any]:
    """Jinja's tests; those that look into their values have a price."""
    found: dict[str, Any] = {**TESTS}
    found |= {name: _deep_test(meter, found[name]) for name in _DEEP_TESTS}
    return found | {name: _number_test(found[name]) for name in ("divisibleby", "even", "odd")}


def _deep_test(meter: Meter, function: Function) -> Function:
    @wraps(function)
    def run(*args: Any, **options: Any) -> Any:
        meter.spend(sum(meter.weigh(arg) for arg in (*args, *options.values())))
        return function(*args, **options)

    return run


def _number_test(function: Function) -> Function:
    """A test that divides, which would fill in a text with `%` in it."""

    @wraps(function)
    def run(value: Any, *args: Any, **options: Any) -> Any:
        _check_number(value)
        return function(value, *args, **options)

    return run


def _check_number(value: Any) -> None:
    if isinstance(value, str | list | tuple):
        raise TypeError(f"a number is expected, not a {type(value).__name__}")


def _skipped(function: Function) -> int:
    """How many arguments Jinja itself puts before the value (its context, or its environment)."""
    return 1 if hasattr(function, "jinja_pass_arg") else 0


def _text_filter(meter: Meter, function: Function, name: str) -> Function:
    """A filter that makes text of one value, however deep."""
    skip, extra = _skipped(function), _EXTRA_PRICES.get(name)

    @wraps(function)
    def run(*args: Any, **options: Any) -> Any:
        weight = sum(meter.weigh(each) for each in (*args[skip:], *options.values()))
        meter.room(_GROWTH * weight)
        meter.spend(weight)
        if extra is not None:
            extra(meter, *args[skip:], **options)
        made = function(*args, **options)
        if isinstance(made, str):
            meter.hold(len(made))
        return made

    return run


def _quadratic_filter(meter: Meter, function: Function, name: str) -> Function:
    """A filter that may look at its text over and over."""
    priced = _text_filter(meter, function, name)
    skip = _skipped(function)

    @wraps(function)
    def run(*args: Any, **options: Any) -> Any:
        weight = sum(meter.weigh(each) for each in (*args[skip:], *options.values()))
        meter.hold(weight + weight * weight // 2)
        return priced(*args, **options)

    return run


def _lazy_filter(meter: Meter, function: Function, name: str) -> Function:
    """A filter that passes items on, one by one."""
    skip = _skipped(function)

    @wraps(function)
    def run(*args: Any, **options: Any) -> Any:
        each = ITEM + sum(meter.weigh(other) for other in (*args[skip + 1 :], *options.values()))
        if name in ("batch", "slice"):
            meter.hold(sum(ITEM * abs(other) for other in (*args[1:], *options.values()) if isinstance(other, int)))
        value = args[skip]
        if name == "reverse" and hasattr(value, "__len__"):
            meter.hold(ITEM * len(value))  # it tells texts and lists apart
        else:
            value = held(meter, value, each)
        return function(*args[:skip], value, *args[skip + 1 :], **options)

    return run


def _deep_filter(meter: Meter, function: Function, name: str) -> Function:
    """A filter that compares its items, or adds them up."""
    skip = _skipped(function)

    @wraps(function)
    def run(*args: Any, **options: Any) -> Any:
        value = settled(meter, args[skip])
        if not hasattr(value, "__len__"):
            return function(*args, **options)
        others = sum(meter.weigh(other) for other in (*args[skip + 1 :], *options.values()))
        weight = meter.weigh(value) + len(value) * (ITEM + others)
        meter.hold(weight)
        meter.spend(weight * len(value).bit_length())
        if name == "sum":
            start = args[skip + 2] if len(args) > skip + 2 else options.get("start", 0)
            meter.hold(0 if isinstance(start, int | float) else weight * len(value))
        return function(*args[:skip], value, *args[skip + 1 :], **options)

    return run


def _join_filter(meter: Meter, function: Function, name: str) -> Function:
    @wraps(function)
    def run(context: Any, value: Any, d: Any = "", attribute: Any = None) -> Any:
        between = meter.weigh(d) + (0 if attribute is None else meter.weigh(attribute))
        made = function(context, _joinable(meter, value, between), d, attribute)
        meter.hold(len(made))
        return made

    return run


def _joinable(meter: Meter, items: Any, between: int) -> Any:
    """Items whose join there is room for."""
    if not hasattr(items, "__len__"):
        return weighed(meter, items, between) if hasattr(items, "__iter__") else items
    weight = meter.weigh(items) + len(items) * (ITEM + between)
    meter.room(weight)
    meter.spend(weight)
    return items


def _random_filter(meter: Meter, function: Function, name: str) -> Function:
    def run(*args: Any) -> Any:
        draw_nothing()

    return run


def draw_nothing(*args: Any, **options: Any) -> None:
    """In place of `|random` and `lipsum()`: what is drawn at random would be trained, and differ each time."""
    raise LimitReached("it draws at random, so that no two renderings would be the same")


def _tojson(meter: Meter) -> Function:
    """JSON as transformers writes it: not escaped for HTML, with the options of json.dumps."""

    def tojson(
        x: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
    ) -> str:
        weight = meter.weigh(x)
        meter.spend(weight)
        meter.room(weight * (6 + sum(map(len, separators or ()))))
        if indent is None:
            text = json.dumps(x, ensure_ascii=ensure_ascii, separators=separators, sort_keys=sort_keys)
            meter.hold(len(text))
            return text
        _check_indent(indent)
        encoder = json.JSONEncoder(ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
        return "".join(weighed(meter, encoder.iterencode(x), 0))

    return tojson


def _check_indent(indent: Any) -> None:
    width = len(indent) if isinstance(indent, str) else indent
    if isinstance(width, int) and width > WIDTH:
        raise LimitReached(f"it asks for a padding of more than {WIDTH:,} characters")


def _price_center(meter: Meter, value: Any, width: Any = 80) -> None:
    meter.room(width if isinstance(width, int) else 0)


def _price_indent(meter: Meter, s: Any, width: Any = 4, first: Any = False, blank: Any = False) -> None:
    size = len(width) if isinstance(width, str) else width
    if isinstance(s, str) and isinstance(size, int) and len(s) * size > WIDTH:
        meter.room((1 + sum(map(s.count, "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"))) * (size + ITEM))
    if isinstance(size, int):
        meter.room(size)


def _price_replace(meter: Meter, s: Any, old: Any, new: Any, count: Any = None) -> None:
    text, old = str(s), str(old)
    _price_growth(meter, text, old, len(str(new)))


def _price_growth(meter: Meter, text: str, old: str, size: int) -> None:
    """Room for `text` with each `old` replaced by something of `size` characters."""
    if len(text) * size > WIDTH:
        meter.room(len(text) + (text.count(old) if old else len(text) + 1) * size)


def _price_format(meter: Meter, value: Any, *args: Any, **options: Any) -> None:
    price_percent(meter, str(value), options or args)


def _price_int(meter: Meter, value: Any, *rest: Any, **options: Any) -> None:
    if isinstance(value, str) and len(value) > _LONGEST_DIGITS:
        raise LimitReached(f"it reads a whole number of {len(value):,} digits")


def _price_round(meter: Meter, value: Any, precision: Any = 0, method: Any = "common") -> None:
    _check_number(value)
    if isinstance(precision, int) and abs(precision) > _MOST_DECIMALS:
        raise LimitReached(f"it rounds to {precision} decimals")


_FREE_FILTERS = frozenset({"abs", "attr", "count", "d", "default", "first", "items", "last", "length"})
_TEXT_FILTERS = (
    "capitalize", "center", "e", "escape", "filesizeformat", "float", "forceescape", "format", "indent", "int", "lower",
    "replace", "round", "safe", "string", "title", "trim", "truncate", "upper", "urlencode", "wordcount", "xmlattr",
)  # fmt: skip
_LAZY_FILTERS = ("batch", "list", "map", "reject", "rejectattr", "reverse", "select", "selectattr", "slice")
_DEEP_FILTERS = ("dictsort", "groupby", "max", "min", "sort", "sum", "unique")
_FILTER_MAKERS: dict[str, Callable[[Meter, Function, str], Function]] = {
    **dict.fromkeys(_TEXT_FILTERS, _text_filter),
    **dict.fromkeys(_LAZY_FILTERS, _lazy_filter),
    **dict.fromkeys(_DEEP_FILTERS, _deep_filter),
    "join": _join_filter,
    "random": _random_filter,
}
_EXTRA_PRICES: dict[str, Callable[..., None]] = {
    "center": _price_center,
    "format": _price_format,
    "indent": _price_indent,
    "int": _price_int,
    "replace": _price_replace,
    "round": _price_round,
}
_DEEP_TESTS = frozenset(
    {"==", "eq", "equalto", "!=", "ne", ">", "gt", "greaterthan", "ge", ">=", "<", "lt", "lessthan", "<=", "le", "in"}
    | {"lower", "upper"}
)


# Methods


def _looks(meter: Meter, text: str, args: tuple[Any, ...]) -> None:
    meter.spend(len(text))


def _copies(meter: Meter, text: str, args: tuple[Any, ...]) -> None:
    meter.hold(3 * len(text))  # some letters become three in the other case


def _strips(meter: Meter, text: str, args: tuple[Any, ...]) -> None:
    characters = len(args[0]) if args and isinstance(args[0], str) else 1
    meter.spend(len(text) * characters >> 2)
    meter.hold(len(text))


def _looks_backward(meter: Meter, text: str, args: tuple[Any, ...]) -> None:
    """Python looks for a text from the end in quadratic time."""
    wanted = len(args[0]) if args and isinstance(args[0], str) else 1
    meter.spend(len(text) * wanted >> 2)


def _splits(meter: Meter, text: str, args: tuple[Any, ...]) -> None:
    """Room for the pieces; what they come to is counted afterwards."""
    if len(text) > WIDTH:
        separator = args[0] if args and isinstance(args[0], str) else None
        pieces = text.count(separator) if separator else len(text) // 2
        meter.room(len(text) + ITEM * pieces)


def _splits_backward(meter: Meter, text: str, args: tuple[Any, ...]) -> None:
    _looks_backward(meter, text, args)
    _splits(meter, text, args)


def _pads(meter: Meter, text: str, args: tuple[Any, ...]) -> None:
    meter.hold(len(text) + sum(max(arg, 0) for arg in args if isinstance(arg, int)))


def _expands(meter: Meter, text: str, args: tuple[Any, ...]) -> None:
    size = next((arg for arg in args if isinstance(arg, int)), 8)
    meter.hold(len(text) + text.count("\t") * max(size, 0))


def _replaces(meter: Meter, text: str, args: tuple[Any, ...]) -> None:
    if len(args) > 1 and isinstance(args[0], str) and isinstance(args[1], str):
        _price_growth(meter, text, args[0], len(args[1]))
    meter.spend(len(text))


STRING_METHODS: Mapping[str, Price] = {
    **dict.fromkeys(("count", "endswith", "find", "index", "startswith"), _looks),
    **dict.fromkeys(("isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower"), _looks),
    **dict.fromkeys(("isnumeric", "isprintable", "isspace", "istitle", "isupper"), _looks),
    **dict.fromkeys(("capitalize", "casefold", "lower", "swapcase", "title", "upper"), _copies),
    **dict.fromkeys(("partition", "removeprefix", "removesuffix"), _copies),
    **dict.fromkeys(("lstrip", "rstrip", "strip"), _strips),
    **dict.fromkeys(("rfind", "rindex", "rpartition"), _looks_backward),
    **dict.fromkeys(("split", "splitlines"), _splits),
    **dict.fromkeys(("center", "ljust", "rjust", "zfill"), _pads),
    "expandtabs": _expands,
    "replace": _replaces,
    "rsplit": _splits_backward,
}

MARKUP_METHODS = frozenset(STRING_METHODS) - {"center", "expandtabs", "ljust", "replace", "rjust", "zfill"}
"""The methods of text marked as HTML: none that would escape something into much more."""


def call_string_method(meter: Meter, method: Function, text: str, args: tuple[Any, ...], options: Any) -> Any:
    """Call a method of a text after its price is paid; `join` and the methods above are known."""
    name = method.__name__
    for arg in args:
        if type(arg) is not str and type(arg) is not int and name != "join":
            meter.spend(meter.weigh(arg))
    if name == "join":
        items = _joinable(meter, args[0], len(text)) if len(args) == 1 else ()
        made = method(*([items] if len(args) == 1 else args), **options)
    else:
        STRING_METHODS[name](meter, text, (*args, *options.values()))
        made = method(*args, **options)
    if isinstance(made, str):
        meter.hold(len(made))
    elif isinstance(made, list | tuple):
        meter.hold(len(text) + ITEM * len(made))
    return made


def call_other_method(meter: Meter, method: Function, owner: Any, args: tuple[Any, ...], options: Any) -> Any:
    """Call a method of a list, tuple, dict or number: it may compare, hash or copy."""
    weight = sum(meter.weigh(arg) for arg in (*args, *options.values()))
    meter.room(10 * weight)  # Python prints the value that is not in a list
    meter.spend(ITEM + weight)
    if method.__name__ in ("count", "index"):
        meter.spend(meter.weigh(owner))
    if method.__name__ == "copy":
        meter.hold(2 * ITEM * len(owner))
    return method(*args, **options)
