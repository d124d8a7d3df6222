"""Chat templates as programs: Jinja as transformers sets it up, in a sandbox that bounds time and memory.

A template comes with a model that somebody else uploaded. Jinja's own sandbox keeps it from Python's insides, but not
from filling the memory or running forever. Here attributes and calls are allowed by name, everything that costs is
counted (rewrite.py, operators.py, prices.py, meter.py), and nothing can be read but what is handed in. Rendering stays
in this process, so that it costs no more than without.

The environment is that of transformers' `chat_template_utils`: trim_blocks, lstrip_blocks, loop controls,
`{% generation %}`, `tojson`, `raise_exception`, `strftime_now`, and namespaces without underscore names. Refused on top
are `|random` and `lipsum()`, `{% autoescape %}`, `{% include %}` and its kin even where they are never reached, some
methods of text marked as HTML (`|safe`, `|escape`), and attributes that the sandbox hides, which Jinja would print as
nothing.
"""

import datetime
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import BuiltinMethodType, FunctionType, MethodType
from typing import Any

from jinja2 import Template, nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, LoopControlExtension
from jinja2.filters import _GroupTuple
from jinja2.parser import Parser
from jinja2.runtime import BlockReference, Context, LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Cycler, Joiner, Namespace
from markupsafe import Markup

from tunesmith.render.sandbox import prices
from tunesmith.render.sandbox.meter import ITEM, WIDTH, LimitReached, Meter
from tunesmith.render.sandbox.operators import Formatter, operators, settled
from tunesmith.render.sandbox.rewrite import rewrite

MOST_CHARACTERS = 250_000
"""The longest source of a template; the longest known is a fifteenth of it."""
MOST_NODES = 10_000
"""The most parts of its syntax tree, of which the largest known has an eighth; Jinja's compiler is quadratic."""
_LONGEST_DATE_FORMAT = 1000


class Refused(TemplateError):
    """What `raise_exception` raises inside a template."""


def _refuse(message: Any) -> None:
    raise Refused(str(message))


class TemplateNamespace(Namespace):
    """`namespace()` without names that begin with an underscore, as transformers has it."""

    def __init__(*args: Any, **options: Any) -> None:  # `self` stays free as a name, as in Jinja's own class
        self, args = args[0], args[1:]
        attributes = dict(*args, **options)
        for name in attributes:
            _check_name(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        Namespace.__setitem__(self, name, value)


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace cannot have a name that begins with an underscore: {name[:80]!r}")


class TemplateDict:
    """`dict` as templates see it: a function, not Python's class."""

    def __call__(self, *args: Any, **options: Any) -> dict[Any, Any]:
        return dict(*args, **options)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class Format:
    """`str.format` of one text, with prices."""

    def __init__(self, formatter: Formatter, template: str, takes_mapping: bool) -> None:
        self._formatter = formatter
        self._template = template
        self._takes_mapping = takes_mapping

    def __call__(self, *args: Any, **options: Any) -> str:
        if self._takes_mapping:
            (options,), args = args, ()
        return self._formatter.vformat(self._template, args, options)


class Generation(Extension):
    """`{% generation %}` ... `{% endgeneration %}`: what stands between was written by the model."""

    tags = {"generation"}  # noqa: RUF012
    environment: "Sandbox"

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        self.environment.has_generation_marks = True
        return nodes.CallBlock(self.call_method("marked"), [], [], body).set_lineno(line)

    def marked(self, caller: Callable[[], str]) -> str:
        marks = self.environment.marks
        return caller() if marks is None else f"{marks[0]}{caller()}{marks[1]}"


_ATTRIBUTES: Mapping[type, frozenset[str]] = {
    str: frozenset({*prices.STRING_METHODS, "format", "format_map", "join"}),
    Markup: prices.MARKUP_METHODS,
    dict: frozenset({"copy", "get", "items", "keys", "values"}),
    list: frozenset({"copy", "count", "index"}),
    tuple: frozenset({"count", "index"}),
    range: frozenset({"count", "index", "start", "step", "stop"}),
    int: frozenset({"bit_length"}),
    float: frozenset({"is_integer"}),
    LoopContext: frozenset(
        {"index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem"}
        | {"depth", "depth0", "changed", "cycle"}
    ),
    Macro: frozenset({"arguments", "caller", "catch_kwargs", "catch_varargs", "name"}),
    BlockReference: frozenset({"super"}),
    Cycler: frozenset({"current", "next", "reset"}),
    TemplateDict: frozenset({"fromkeys"}),
    _GroupTuple: frozenset({"grouper", "list", "count", "index"}),
}
"""What a template may ask of a value, by its exact type; the items of mappings and namespaces come on top."""

_DICT_ATTRIBUTES = frozenset(dir(dict))
_FREE_CALLS = (Macro, BlockReference, LoopContext, Undefined)
_PRICED_CALLS = (TemplateDict, Format, Joiner)
_OWNERS = (Cycler, LoopContext, TemplateDict, Generation)


class Sandbox(ImmutableSandboxedEnvironment):
    """One compiled template and the place where it runs."""

    def __init__(self, source: str) -> None:
        """Compile `source`; raises TemplateSyntaxError or LimitReached."""
        self.meter = Meter()
        self.today = datetime.date.min
        self.marks: tuple[str, str] | None = None
        self.has_generation_marks = False
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, optimized=False, extensions=[Generation, LoopControlExtension]
        )
        self.filters = {**prices.filters(self.meter), **operators(self.meter)}
        self.tests = dict(prices.tests(self.meter))
        functions = [_refuse, self._date, prices.draw_nothing, safe_range]
        classes = [TemplateNamespace, Cycler, Joiner]
        self._callables = (*functions, *classes)
        self.globals.update(zip(("raise_exception", "strftime_now", "lipsum"), functions, strict=False))
        self.globals.update(namespace=TemplateNamespace, dict=TemplateDict())
        self._formatter = Formatter(self, self.meter)
        self._lock = threading.Lock()
        self.template = self._compiled(source)

    def _compiled(self, source: str) -> Template:
        if len(source) > MOST_CHARACTERS:
            raise LimitReached(f"its source has more than {MOST_CHARACTERS:,} characters")
        tree = self.parse(source)
        if sum(1 for _ in tree.find_all(nodes.Node)) > MOST_NODES:
            raise LimitReached(f"its source has more than {MOST_NODES:,} parts")
        self.uses_clock = any(name.name == "strftime_now" for name in tree.find_all(nodes.Name))
        tree = rewrite(tree)
        tree.set_environment(self)
        return Template.from_code(self, self.compile(tree), self.globals)

    def run(self, variables: dict[str, Any], today: datetime.date, marks: tuple[str, str] | None = None) -> str:
        """The text that the template makes; raises whatever stops it.

        `marks` are put around what stands in `{% generation %}`. One rendering at a time: threads wait for each other.
        """
        with self._lock:
            self.meter.start(variables)
            self.today, self.marks = today, marks
            context = self.template.new_context({**self.globals, **variables}, shared=True)
            try:
                text = self.concat(self.template.root_render_func(context))
                self.meter.keep_output(len(text))
                return text
            finally:
                context.vars.clear()  # macros are in rings of references, which would keep all this for long
                context.parent.clear()
                self.meter.start(None)

    def line_of(self, error: Exception) -> int | None:
        """The line of the template where an error of `run` came up, where that is known."""
        line, step = None, error.__traceback__
        while step is not None:
            if step.tb_frame.f_globals.get("__jinja_template__") is self.template:
                line = self.template.get_corresponding_lineno(step.tb_lineno)
            step = step.tb_next
        return line

    # What templates reach

    def getattr(self, obj: Any, attribute: str) -> Any:
        if type(obj) is dict and attribute not in _DICT_ATTRIBUTES:
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if type(argument) is str:
            if len(argument) > WIDTH:
                self.meter.room(10 * len(argument))  # a complaint would print it
            if type(obj) is dict and argument not in _DICT_ATTRIBUTES:
                return obj[argument] if argument in obj else self.undefined(obj=obj, name=argument)
        elif type(argument) is not int:
            self.meter.hold(10 * self.meter.weigh(argument))  # it is hashed, and a complaint would print it
        return super().getitem(obj, argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if attr.startswith("_"):
            return False
        return isinstance(obj, Namespace) or attr in _ATTRIBUTES.get(type(obj), ())

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        raise SecurityError(f"it asks for {attribute[:80]!r} of a {type(obj).__name__}, which is not allowed")

    def wrap_str_format(self, value: Any) -> Format | None:
        if not isinstance(value, BuiltinMethodType) or value.__name__ not in ("format", "format_map"):
            return None
        template = value.__self__
        if type(template) is not str:
            return None
        return Format(self._formatter, template, value.__name__ == "format_map")

    # What templates call

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        kind = type(__obj)
        if kind is BuiltinMethodType or (kind is MethodType and type(__obj.__self__) is Markup):
            kwargs.pop("_loop_vars", None)
            kwargs.pop("_block_vars", None)
            return __self._call_method(__obj, args, kwargs)
        if not isinstance(__obj, _FREE_CALLS):
            args = __self._paid(__obj, kind, args, kwargs)
        return __context.call(__obj, *args, **kwargs)

    def _paid(self, obj: Any, kind: type, args: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[Any, ...]:
        """The arguments of a call that is allowed and paid for."""
        is_method = kind is MethodType and isinstance(obj.__self__, _OWNERS)
        if not (is_method or isinstance(obj, _PRICED_CALLS) or any(obj is each for each in self._callables)):
            raise SecurityError(f"it calls a {kind.__name__}, which is not allowed")
        args = tuple(settled(self.meter, arg) for arg in args)
        self.meter.hold(sum(map(self.meter.weigh, args)) + 2 * ITEM * len(options))
        if kind is FunctionType:
            self.meter.hold(sum(self.meter.weigh(each) for name, each in options.items() if name[0] != "_"))
        return args

    def _call_method(self, method: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """A method of one of Python's own types."""
        owner = method.__self__
        if type(owner) is str:
            return prices.call_string_method(self.meter, method, owner, args, options)
        if type(owner) is Markup and method.__name__ in prices.MARKUP_METHODS:
            return prices.call_string_method(self.meter, method, str(owner), args, options)
        if type(owner) is dict and method.__name__ == "get" and args and type(args[0]) is str:
            return method(*args, **options)
        if method.__name__ not in _ATTRIBUTES.get(type(owner), ()):
            raise SecurityError(f"it calls {method.__name__!r} of a {type(owner).__name__}, which is not allowed")
        return prices.call_other_method(self.meter, method, owner, args, options)

    def call_filter(self, name: str, *args: Any, **options: Any) -> Any:
        """A filter named by a text, as in `|map('upper')`; operators are filters here, but not for that."""
        if isinstance(name, str) and " " in name:
            raise SecurityError(f"there is no filter {name[:80]!r}")
        return super().call_filter(name, *args, **options)

    def concat(self, parts: Iterable[str]) -> str:
        pieces = parts if isinstance(parts, list) else list(parts)
        self.meter.hold(sum(map(len, pieces)))
        return "".join(pieces)

    def _date(self, format: Any) -> str:
        if isinstance(format, str) and len(format) > _LONGEST_DATE_FORMAT:
            raise LimitReached(f"it asks for a date of more than {_LONGEST_DATE_FORMAT:,} characters")
        return datetime.datetime.combine(self.today, datetime.time()).strftime(format)


@lru_cache(maxsize=32)
def sandbox_for(source: str) -> Sandbox:
    """The compiled template of a source, made once."""
    return Sandbox(source)
