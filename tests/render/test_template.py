"""Chat templates in their sandbox: transformers' own rendering is the oracle, hostile templates are stopped."""

import datetime
import enum
import json
import os
import pickle
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hostile_templates import HOSTILE
from jinja2.filters import FILTERS

from tunesmith.errors import RenderError, TemplateRefusal
from tunesmith.render import sandbox
from tunesmith.render.sandbox import meter, prices
from tunesmith.render.template import ChatTemplate

DAY = datetime.date(2025, 1, 2)
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
HELLO = [{"role": "user", "content": "Hi"}]


def template(source: str, **given: Any) -> ChatTemplate:
    return ChatTemplate(source, name="test", **{"special": SPECIAL, "options": {}, "today": DAY, **given})


@pytest.fixture
def oracle(monkeypatch):
    """transformers' rendering with our day on its clock; its error in place of a text where it refuses."""
    theirs = pytest.importorskip("transformers.utils.chat_template_utils")

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(DAY.year, DAY.month, DAY.day)

    monkeypatch.setattr(theirs, "datetime", Clock)

    def render(source, messages, tools=None, **given):
        try:
            return theirs.render_jinja_template([messages], tools=tools, chat_template=source, **SPECIAL, **given)[0][0]
        except Exception as error:
            return error

    return render


def ours(source, messages, tools=None, generation=False, **options):
    try:
        return template(source, options=options).text(messages, tools, add_generation_prompt=generation)
    except RenderError as error:
        return error


def agree(first, second) -> bool:
    return first == second or (isinstance(first, Exception) and isinstance(second, Exception))


# As transformers

CALL = {"id": "abcdefgh1", "type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": "ü<x>"}}}
PARAMETERS = {
    "type": "object",
    "properties": {
        "a": {"type": "integer", "description": "One.", "enum": [1, 2]},
        "b": {"type": ["string", "null"]},
        "c": {"type": "array", "items": {"type": "object", "properties": {"d": {"type": "number"}}}},
    },
    "required": ["a"],
}
TOOLS = [{"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": PARAMETERS}}]
SYSTEM = {"role": "system", "content": " Be brief. "}
ASK = {"role": "user", "content": "Hi\n <b> é😀"}
SAY = {"role": "assistant", "content": "Hello."}
THINK = {"role": "assistant", "content": "Four.", "reasoning_content": "2 + 2\nis 4"}
DO = {"role": "assistant", "content": "", "tool_calls": [CALL]}
DONE = {"role": "tool", "tool_call_id": "abcdefgh1", "name": "add", "content": "3"}
CONVERSATIONS: dict[str, tuple[list[dict[str, Any]], Any]] = {
    "plain": ([ASK, SAY], None),
    "system": ([SYSTEM, ASK, SAY, ASK], None),
    "tools": ([SYSTEM, ASK], TOOLS),
    "calls": ([ASK, DO, DONE, SAY, ASK, SAY], TOOLS),
    "bare call": ([ASK, {"role": "assistant", "content": None, "tool_calls": [CALL]}, DONE, SAY], TOOLS),
    "reasoning": ([ASK, THINK, ASK, THINK], None),
    "older reasoning": ([ASK, {"role": "assistant", "content": "x", "thinking": "y"}], None),
    "reasoning before a call": ([ASK, {**DO, "reasoning_content": "hm"}, DONE, THINK], TOOLS),
    "parts": ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, SAY], None),
    "developer": ([{"role": "developer", "content": "x"}, ASK, SAY], None),
    "thought in text": ([ASK, {"role": "assistant", "content": "<think>\nx\n</think>\n\ny"}, ASK], None),
    "wrong order": ([SAY, ASK], None),
    "nothing": ([], None),
    "long": ([SYSTEM, *([ASK, SAY] * 40)], None),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_real_templates_give_the_text_of_transformers(name, shared_data, oracle):
    messages, tools = CONVERSATIONS[name]
    paths = sorted((shared_data / "chat_templates").glob("*.jinja"))
    sources = {path.name: path.read_text(encoding="utf-8") for path in paths}
    differing = [
        (path, generation)
        for path, source in sources.items()
        for generation in (False, True)
        if not agree(
            oracle(source, messages, tools, add_generation_prompt=generation), ours(source, messages, tools, generation)
        )
    ]
    assert sources and not differing


VALUES = {
    "word": "a b,a",
    "wide": "é😀ß",
    "number": 2,
    "half": 2.5,
    "numbers": [3, 1, 2],
    "words": ["x", "y", "x"],
    "mapping": {"b": [1], "a": "z"},
    "rows": [{"k": 2}, {"k": 1}],
    "nested": [[1], [2, "z"]],
    "lines": "A\nb\n\nc",
    "html": "<a href='x'>&",
    "none": None,
}
EXPRESSIONS = """
word + wide | numbers + numbers | number + half | word ~ number ~ none ~ numbers | word * 3 | 3 * numbers | -number
number ** 3 | 7 % number | '%s-%05.1f' % (word, half) | '%(a)s' % mapping | 7 // number | 7 / number | 7 - half
(mapping.keys() - ['a'])~'' | word + number | word - word | number + none | word == 'a b,a' | numbers == [3, 1, 2]
1 < number <= 2 | number in numbers | 'a' in word | 'a' in mapping | 'z' not in mapping.values() | 5 in range(9)
word[1:] | numbers[::-1] | numbers[0] | numbers[9] | mapping['b'] | mapping.b[0] | mapping.missing | mapping['items']
rows[0].k | word[0] | word.missing | none.x | missing.x | missing | numbers[1:9] | mapping[none]
word.split() | word.split(',', 1) | word.rsplit(',') | word.partition(',') | lines.splitlines() | word.strip('a')
word.upper() | wide.title() | word.replace('a', 'xx') | word.replace('', '-') | word.find('b') | word.rfind('a')
word.ljust(9) ~ '|' | word.zfill(9) | word.center(9, '*') | ', '.join(words) | ', '.join(numbers) | word.count('a')
'{} {:>4} {k}'.format(1, 2, k=3) | '{0.k}'.format(rows[0]) | '{a}'.format_map(mapping) | '{!r}'.format(word)
'a\\tb'.expandtabs(3) | word.startswith(('a', 'b')) | word.isdigit() | numbers.index(1) | numbers.count(3)
mapping.get('a') | mapping.get('q', 4) | mapping.items()|list | mapping.copy() | numbers.append(1) | word.nothing()
word|upper | wide|lower | word|title | word|capitalize | word|trim | '  x '|trim | 'xax'|trim('x') | word|length
numbers|join(',') | rows|join(',', attribute='k') | words|join | range(4)|join('-') | words|map('upper')|join
numbers|sort | words|unique|list | rows|sort(attribute='k') | mapping|dictsort | rows|groupby('k') | numbers|sum
rows|sum(attribute='k') | nested|sum(start=[]) | numbers|min | numbers|max | numbers|first | words|last | none|sort
numbers|batch(2, 0)|list | numbers|slice(2)|list | numbers|select('odd')|list | rows|selectattr('k', 'eq', 1)|list
none|selectattr('k')|list | none|map('upper')|list | numbers|reject('gt', 1)|list | rows|map(attribute='k')|list
numbers|reverse|list | word|reverse | word|list | mapping|list | mapping|items|list | missing|items|list | 1|unique
half|round | half|round(1, 'floor') | word|round | '12'|int | 'x'|int(7) | 'ff'|int(0, 16) | '2.5'|float | -3|abs
word|replace('a', 'b', 1) | lines|indent | lines|indent(2, true) | lines|indent('> ', blank=true) | word|center(9)
word|truncate(3, true, '') | lines|wordwrap(1) | word|wordcount | 12345|filesizeformat | 'x %s'|format(word)
html|e | html|safe | html|escape ~ '<' | (html|safe).upper() | html|striptags | html|urlencode | mapping|urlencode
mapping|xmlattr | 'www.x.org'|urlize | html|forceescape | mapping|string | none|default('d') | ''|default('d', true)
missing|default('d') | mapping|tojson | mapping|tojson(indent=2) | wide|tojson(ensure_ascii=true)
mapping|tojson(sort_keys=true) | mapping|tojson(separators=(',', ':')) | html|tojson | mapping|attr('get')
range(3)|tojson
mapping|pprint | number is even | word is odd | 9 is divisibleby(3) | word is string | mapping is mapping
number is in numbers | number is sameas number | word is upper | missing is defined
numbers is iterable | half is float
dict(a=1) | dict(a=1).a | dict.fromkeys('ab', 1) | cycler('a', 'b').next() | joiner(',')() | namespace(a=1).a
strftime_now('%Y-%m-%d %H:%M') | strftime_now('%A, %d %B') | 1 if false
number if none else word | bos_token ~ eos_token
nothing() | word() | (word|nosuchfilter) | 1 / 0 | 'a' < 1 | numbers.sort() | documents is none | tools is none
"""


@pytest.mark.parametrize("expression", re.split(r" \| |\n", EXPRESSIONS.strip()))
def test_expressions_are_worth_what_they_are_in_transformers(expression, oracle):
    source = "{{ " + expression + " }}"
    expected, made = oracle(source, HELLO, **VALUES), ours(source, HELLO, **VALUES)
    if isinstance(expected, str):
        expected, made = (re.sub("0x[0-9a-f]+", "0x", str(text)) for text in (expected, made))
    assert agree(expected, made)


STATEMENTS = [
    " {% if true %}\n  x\n {% endif %}\ny",
    "{% for m in messages %}{{ loop.index }}{{ loop.last }}{{ m.role }}{% else %}none{% endfor %}",
    "{% for i in range(9) if i is odd %}{{ i }}{{ loop.length }}{{ loop.nextitem }}{% endfor %}",
    "{% for i in range(9) %}{% if i == 3 %}{% continue %}{% elif i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for a in [[1, [2]], 3] recursive %}{{ loop(a) if a is iterable else a }}{{ loop.depth }}{% endfor %}",
    "{% for a, b in {'x': 1}.items() %}{{ a }}{{ b }}{% endfor %}",
    "{% for c in 'abc' %}{{ loop.cycle('-', '+') }}{{ loop.changed(c) }}{{ c }}{% endfor %}",
    "{% for x in none %}{% endfor %}",
    "{% set ns = namespace(n=0) %}{% for i in range(4) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
    "{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}",
    "{% set a, b = 1, [2] %}{{ b[0] }}{% set block %} q {{ a }} {% endset %}{{ block|trim }}",
    "{% macro m(a, b=2) %}{{ a, b, varargs, kwargs }}{% endmacro %}{{ m(1) }}{{ m(*[1, 2, 3], **{'c': 4}) }}",
    "{% macro m() %}[{{ caller(1) }}]{% endmacro %}{% call(x) m() %}{{ x }}{% endcall %}",
    "{% macro m(n) %}{{ n }}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(5) }}{{ m.name }}",
    "{% filter upper %}abc{{ 1 }}{% endfilter %}{% with x = 2 %}{{ x }}{% endwith %}{% raw %}{{ a }}{% endraw %}",
    "{% block a %}{{ messages[0].content }}{% endblock %}{{ self.a() }}",
    "{%- generation -%} a {{ 1 }} {%- endgeneration -%}{% generation %}{% set z = 1 %}{% endgeneration %}{{ z }}",
    "{# comment #}{{ '\\n' }}a\n\n",
    "{{ messages[0]['content'] | upper }}{{ messages[0].role }}{{ messages|length }}",
    "{{ raise_exception('no ' ~ messages[0].role) }}",
    "{% if x %}",
]


@pytest.mark.parametrize("source", STATEMENTS)
def test_statements_do_what_they_do_in_transformers(source, oracle):
    assert agree(oracle(source, HELLO), ours(source, HELLO))


def test_documents_and_options_reach_the_template():
    text = template(
        "{{ documents[0].title }}{{ enable_thinking }}{{ eos_token }}",
        options={"documents": [{"title": "T"}], "enable_thinking": False, "eos_token": "E"},
    ).text(HELLO)
    assert text == "TFalseE"


@pytest.mark.parametrize("taken", ["messages", "tools", "add_generation_prompt"])
def test_options_cannot_replace_the_conversation(taken):
    with pytest.raises(RenderError, match=f"cannot set '{taken}'"):
        template("x", options={taken: []})


def test_the_day_is_the_one_that_was_given():
    assert template("{{ strftime_now('%d %b %Y %H:%M') }}").text(HELLO) == "02 Jan 2025 00:00"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ strftime_now('%Y') }}", True),
        ("{% if strftime_now is defined %}{% endif %}", True),
        ("{# strftime_now #}", False),
    ],
)
def test_a_template_that_asks_for_the_date_is_known(source, expected):
    assert template(source).uses_clock is expected


def test_messages_are_not_changed_by_a_template():
    messages = [{"role": "user", "content": ["a"]}]
    with pytest.raises(RenderError):
        template("{{ messages[0].content|indent }}").text(messages)
    assert messages == [{"role": "user", "content": ["a"]}]


@pytest.mark.parametrize("message", [{"role": "user", "content": {1, 2}}, {"role": "user", "content": b"x"}, "Hi"])
def test_what_json_has_not_is_refused(message):
    with pytest.raises(RenderError, match=r"a message (holds a|must be)"):
        template("{{ messages }}").text([message])


def test_kinds_of_text_are_text():
    class Color(enum.StrEnum):
        RED = "red"

    assert template("{{ messages[0].content }}").text([{"role": "user", "content": Color.RED}]) == "red"


def test_lists_too_deep_are_refused():
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(RenderError, match="too deep"):
        template("x").text([{"role": "user", "content": deep}])


def test_threads_share_a_compiled_template():
    made: list[str] = []
    shared = template("{% for m in messages %}{{ m.content * 50 }}{% endfor %}")

    def work(letter: str) -> None:
        made.extend(shared.text([{"role": "user", "content": letter}] * 20) for _ in range(50))

    threads = [threading.Thread(target=work, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == sorted(letter * 1000 for letter in "abcd" for _ in range(50))


def test_a_source_is_compiled_once():
    source = "{{ messages }} once"
    template(source)
    before = sandbox.sandbox_for.cache_info().misses
    template(source, special={}).text(HELLO)
    assert sandbox.sandbox_for.cache_info().misses == before


def test_a_template_travels_between_processes():
    told = pickle.loads(pickle.dumps(template("{{ bos_token }}{{ enable }}", options={"enable": 1})))
    assert told.text(HELLO) == "<s>1"


# What the model wrote

MARKED = (
    "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}</s>{% endgeneration %}{% else %}{{ m.content }}{% endif %}\n{% endfor %}"
)


def test_spans_of_generation_marks():
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a😀"}] * 2
    text, spans = template(MARKED).marked(messages)
    assert [text[start:end] for start, end in spans] == ["a😀</s>", "a😀</s>"]
    assert text == template(MARKED).text(messages)


def test_spans_are_those_of_transformers():
    theirs = pytest.importorskip("transformers.utils.chat_template_utils")
    messages = [ASK, SAY, ASK, SAY]
    rendered, spans = theirs.render_jinja_template([messages], chat_template=MARKED, return_assistant_tokens_mask=True)
    assert template(MARKED).marked(messages) == (rendered[0], spans[0])


def test_spans_are_right_where_marks_stand_in_a_macro():
    source = "{% macro m(x) %}[{% generation %}{{ x }}{% endgeneration %}]{% endmacro %}--{{ m('ab') }}{{ m('') }}"
    assert template(source).marked(HELLO) == ("--[ab][]", [(3, 5), (7, 7)])


def test_nested_marks_are_one_span():
    source = "a{% generation %}b{% generation %}c{% endgeneration %}d{% endgeneration %}e"
    assert template(source).marked(HELLO) == ("abcde", [(1, 4)])


def test_marks_avoid_characters_of_the_text():
    text, spans = template(MARKED).marked([{"role": "assistant", "content": "\ufde0\ufde1 \ufde2"}])
    assert [text[start:end] for start, end in spans] == ["\ufde0\ufde1 \ufde2</s>"]


def test_marks_that_change_the_text_are_refused():
    source = "{% set x %}{% generation %} a {% endgeneration %}{% endset %}{{ x|trim }}"
    assert template(source).text(HELLO) == "a"
    with pytest.raises(RenderError, match="changes what stands in"):
        template(source).marked(HELLO)


def test_templates_without_marks_have_no_spans():
    plain = template("{# {% generation %} #}x")
    assert not plain.has_generation_marks
    assert plain.marked(HELLO) == ("x", [])
    assert template(MARKED).has_generation_marks


# What goes wrong is said


def test_a_refusal_carries_the_words_of_the_template():
    with pytest.raises(TemplateRefusal) as caught:
        template("{{ raise_exception('Roles must ' ~ 'alternate') }}").text(HELLO)
    assert str(caught.value) == "the chat template test refuses this conversation: Roles must alternate"


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("a\nb{% if %}", ["line 2", "cannot be read"]),
        ("a\n{{ x|nosuchfilter }}", ["line 2", "cannot be read", "nosuchfilter"]),
        ("a\n\n{{ nothing.x }}", ["line 3", "UndefinedError", "'nothing' is undefined"]),
        ("{% for m in messages %}\n{{ m.content + 1 }}{% endfor %}", ["line 2", "TypeError"]),
        ("{% macro m(x) %}\n{{ x|sort }}{% endmacro %}\n{{ m(1) }}", ["line 2", "TypeError"]),
        ("\n{{ 1 / 0 }}", ["line 2", "ZeroDivisionError"]),
        ("\n{{ messages|tojson(indent=none, foo=1) }}", ["line 2", "TypeError"]),
        ("{% macro m() %}{{ m() }}{% endmacro %}\n{{ m() }}", ["line", "calls itself too deeply"]),
        ("\n{{ [1].append(2) }}", ["line 2", "stopped", "'append' of a list"]),
    ],
)
def test_errors_name_the_template_the_line_and_the_problem(source, parts):
    with pytest.raises(RenderError) as caught:
        template(source).text(HELLO)
    assert str(caught.value).startswith("the chat template test, line ")
    assert not isinstance(caught.value, TemplateRefusal)
    assert all(part in str(caught.value) for part in parts)


def test_errors_are_short_and_keep_nothing_alive():
    with pytest.raises(RenderError) as caught:
        template("{% set x = 'a' * 1000000 %}{{ raise_exception(x) }}").text(HELLO)
    assert len(str(caught.value)) < 1100
    assert caught.value.__context__ is None


def test_memory_that_is_not_there_is_an_error_of_the_template(monkeypatch):
    def empty(self, parts):
        raise MemoryError

    monkeypatch.setattr(sandbox.Sandbox, "concat", empty)
    with pytest.raises(RenderError, match="no memory left"):
        template("{# empty #}").text(HELLO)


# Hostile templates


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_templates_are_stopped(name, tmp_path, monkeypatch):
    monkeypatch.setattr(meter, "SECONDS", 0.2)  # the same bound, sooner
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    start = time.thread_time()
    with pytest.raises(RenderError) as caught:
        text = template(HOSTILE[name].replace("FILE", str(secret))).text(HELLO)
        pytest.fail(f"it gave {text[:100]!r}")
    assert time.thread_time() - start < 4
    assert "hunter2" not in str(caught.value)
    assert "no memory left" not in str(caught.value)


BOMBS = (
    "doubling",
    "doubling a list",
    "times a list",
    "percent over and over",
    "format over and over",
    "join",
    "urlencode",
    "words",
    "letters",
    "star arguments",
    "output",
    "output of a block",
    "lists kept",
    "chained mappings",
    "trees printed",
)
SCRIPT = """
import json, resource, sys
from tunesmith.errors import RenderError
from test_template import HELLO, HOSTILE, template
template("x").text(HELLO)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
for name in json.loads(sys.argv[1]):
    try:
        template(HOSTILE[name]).text(HELLO)
    except RenderError as error:
        assert "no memory left" not in str(error), name
    else:
        raise AssertionError(name)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured in kilobytes on Linux only")
def test_hostile_templates_stay_below_three_hundred_megabytes(tmp_path):
    here = Path(__file__).resolve().parent
    paths = [str(here), str(here.parent), str(here.parents[1] / "src")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(BOMBS)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) < 300


def test_bounds_grow_with_the_conversation():
    source = (
        "{% set ns = namespace(x='') %}{% for m in messages %}{% set ns.x = ns.x ~ m.content %}{% endfor %}{{ ns.x }}"
    )
    messages = [{"role": "user", "content": "x" * 3000}] * 250
    assert sum(range(250)) * 3000 > meter.VOLUME
    assert template(source).text(messages) == "x" * 750_000


def test_long_conversations_render(shared_data):
    source = (shared_data / "chat_templates" / "Qwen-Qwen3-0.6B.jinja").read_text(encoding="utf-8")
    text = template(source).text([ASK, {"role": "assistant", "content": "x" * 3_000_000}] * 3)
    assert text.count("x") == 9_000_000


def test_a_healthy_template_costs_no_more_than_without_bounds(shared_data):
    theirs = pytest.importorskip("transformers.utils.chat_template_utils")
    source = (shared_data / "chat_templates" / "Qwen-Qwen3-0.6B.jinja").read_text(encoding="utf-8")
    plain, guarded = theirs._compile_jinja_template(source), template(source)
    messages = [SYSTEM, ASK, SAY]
    given = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": False}

    def seconds(work) -> float:
        start = time.thread_time()
        for _ in range(100):
            work()
        return time.thread_time() - start

    ratios = [seconds(lambda: guarded.text(messages)) / seconds(lambda: plain.render(**given)) for _ in range(7)]
    assert min(ratios) < 1.1


def test_every_filter_and_test_of_jinja_has_a_price():
    unknown = set(FILTERS) - set(prices._FREE_FILTERS) - set(prices._FILTER_MAKERS) - {"tojson"}
    assert unknown == {"pprint", "striptags", "urlize", "wordwrap"}  # priced as quadratic
