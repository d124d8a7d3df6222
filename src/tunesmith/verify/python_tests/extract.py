"""Find the code in a model's answer.

The rules, in order:

1. What stands before the last `</think>` is reasoning and is left out.
2. The first fenced block of Python that defines the function is the code (a block without a language counts; a fence
   that is never closed ends with the answer).
3. Without such a block, an answer that has no block at all but defines the function is the code, from its first line
   of code to its last.
4. Else the first block, or the whole answer where there is none, is the body of the function: it is indented if it is
   not, and put behind the stub.

Where the answer defines the function, what the stub has before it (imports, helpers) is put in front. Everything here
reads hostile text in linear time.
"""

import re

PYTHON = ("", "python", "python3", "py")
FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^\n`]*\Z")
CODE_LINE = re.compile(r"(?:def|class|async def|import|from)\s+\w|@\w")
END_OF_REASONING = "</think>"
CLOSERS = (")", "]", "}", '"""', "'''")
CODE_STARTS = ("#", "if ", "else", "try:", "except", "for ", "while ", "with ")
INDENT = "    "


def code_of_answer(answer: str, names: tuple[str, ...], stub: str) -> str:
    """The program in an answer to a chat prompt; `stub` is the code that was to be completed, or empty."""
    text = answer.rpartition(END_OF_REASONING)[2]
    blocks = fenced_blocks(text)
    for block in blocks:
        if defines(block, names[0]):
            return _before(stub, names[0]) + block
    if not blocks and defines(text, names[0]):
        return _before(stub, names[0]) + _without_prose(text)
    body = blocks[0] if blocks else text
    return f"{stub.rstrip(' ')}{_line_end(stub)}{_indented(body)}\n" if stub.strip() else body


def code_of_continuation(stub: str, continuation: str) -> str:
    """The program in a plain continuation of `stub`: it goes on until a line begins at the margin again."""
    first, *rest = continuation.split("\n")
    kept = [first]
    for line in rest:
        if line.strip() and not line[0].isspace() and not line.startswith(CLOSERS):
            break
        kept.append(line)
    return stub + "\n".join(kept) + "\n"


def fenced_blocks(text: str) -> list[str]:
    """The blocks of Python in a Markdown text, in order."""
    blocks: list[str] = []
    lines: list[str] | None = None
    mark, is_python = "", False
    for line in text.split("\n"):
        fence = FENCE.match(line.rstrip())
        if lines is None and fence is not None:
            lines, mark, is_python = [], fence[1], fence[2].lower() in PYTHON
        elif lines is not None and fence is not None and not fence[2] and fence[1].startswith(mark):
            blocks += ["\n".join(lines) + "\n"] if is_python else []
            lines = None
        elif lines is not None:
            lines.append(line)
    return [*blocks, "\n".join(lines) + "\n"] if lines is not None and is_python else blocks


def defines(code: str, name: str) -> bool:
    """Whether a line defines a function or class of this name, or gives it a value."""
    return _definition(code, name) is not None


def _definition(code: str, name: str) -> re.Match[str] | None:
    word = re.escape(name)
    return re.search(rf"^[ \t]*(?:(?:async[ \t]+)?def|class)[ \t]+{word}\b|^{word}[ \t]*=", code, re.MULTILINE)


def _before(stub: str, name: str) -> str:
    """What a stub has before the function that is asked for: imports and helpers."""
    found = _definition(stub, name)
    return stub[: found.start()] if found is not None else stub + _line_end(stub)


def _line_end(text: str) -> str:
    return "" if not text or text.rstrip(" ").endswith("\n") else "\n"


def _without_prose(text: str) -> str:
    """From the first line of code to where prose begins at the margin again."""
    lines = text.split("\n")
    start = next((at for at, line in enumerate(lines) if CODE_LINE.match(line)), 0)
    kept: list[str] = []
    for line in lines[start:]:
        if line.strip() and not line[0].isspace() and not _may_be_code(line):
            break
        kept.append(line)
    return "\n".join(kept) + "\n"


def _may_be_code(line: str) -> bool:
    return bool(
        CODE_LINE.match(line) or line.startswith((*CLOSERS, "#", "if ", "else", "try:", "except")) or "=" in line
    )


def _indented(body: str) -> str:
    """A body as it must stand below its signature."""
    lines = body.strip("\n").rstrip().split("\n")
    first = next((line for line in lines if line.strip()), "")
    if first[:1].isspace():
        return "\n".join(lines)
    return "\n".join(INDENT + line if line.strip() else line for line in lines)
