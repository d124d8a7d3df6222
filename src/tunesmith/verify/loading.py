"""Find a scorer by name or load the user's own, and call either with care."""

import copy
import difflib
import hashlib
import importlib.util
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from tunesmith.errors import EvaluateError, SkippedError
from tunesmith.files import file_digest, fingerprint
from tunesmith.types import Score
from tunesmith.verify.items import Item
from tunesmith.verify.scorers import BUILT_IN, Scorer

SIGNATURE = "def score(item: dict, completion: str) -> tuple[float, str]"


def load_scorer(name_or_reference: str, base: Path) -> tuple[Scorer, str]:
    """A built-in scorer by name, or a user's function by `file.py:function`, relative to `base`.

    The second value is a fingerprint: the declared version of a built-in, or the content of the user's file
    and of the neighbors it imported. The user's code runs with the rights of this process.
    """
    if name_or_reference in BUILT_IN:
        scorer, version = BUILT_IN[name_or_reference]
        return scorer, f"{name_or_reference}@{version}"
    file, separator, function = name_or_reference.rpartition(":")
    if not separator or not file.endswith(".py"):
        raise EvaluateError(_unknown(name_or_reference))
    path = (base / file).resolve()
    if not path.is_file():
        raise EvaluateError(f"scorer {name_or_reference!r}: there is no file {path}; paths start at {base}")
    module, content = _load(path)
    return _function(module, function, path), f"{path.name}:{function}@{content}"


def apply_scorer(scorer: Scorer, item: Item, completion: str) -> Score:
    """Score one completion; whatever fails inside the function becomes an EvaluateError that names it.

    SkippedError goes through: it says that this task cannot be judged here.
    """
    where = f"scorer {_name(scorer)}, item {item.id!r}"
    try:
        result: Any = scorer(copy.deepcopy(dict(item.record)), completion)
    except EvaluateError as error:
        raise EvaluateError(f"{where}: {error}") from error
    except SkippedError:
        raise
    except Exception as error:
        raise EvaluateError(f"{where}: it raised {type(error).__name__}: {error}") from error
    if not isinstance(result, tuple) or len(result) not in (2, 3) or not all(isinstance(e, str) for e in result[1:]):
        raise EvaluateError(f"{where}: it must return (value, explanation[, rule]), not {repr(result)[:100]}")
    return Score(_value(result[0], where), *result[1:])


def _value(value: Any, where: str) -> float:
    try:
        number = float(value) if not isinstance(value, str) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise EvaluateError(f"{where}: the value must be a finite number, not {repr(value)[:100]}")
    return number


def _name(scorer: Scorer) -> str:
    name = getattr(scorer, "__qualname__", repr(scorer))
    code = getattr(scorer, "__code__", None)
    is_built_in = any(scorer is function for function, _ in BUILT_IN.values())
    return repr(name) if is_built_in or code is None else f"{name!r} ({code.co_filename})"


def _unknown(name: str) -> str:
    nearest = difflib.get_close_matches(name, BUILT_IN, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    return (
        f"no scorer {name!r}; {hint}built in: {', '.join(BUILT_IN)}; your own is named by its file and "
        f"function, such as scorer.py:score ({SIGNATURE})"
    )


def _load(path: Path) -> tuple[ModuleType, str]:
    """The module under a private name, and a fingerprint of the sources it came from."""
    digest = file_digest(path)
    name = f"_tunesmith_scorer_{hashlib.sha256(f'{path}{digest}'.encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise EvaluateError(f"{path}: Python cannot load this file as a module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with _neighbors(path.parent) as imported:
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            raise EvaluateError(f"{path}: loading it raised {type(error).__name__}: {error}") from error
    sources = {neighbor.name: file_digest(neighbor) for neighbor in imported}
    return module, fingerprint({**sources, path.name: digest})


@contextmanager
def _neighbors(folder: Path) -> Iterator[list[Path]]:
    """Let a file import its siblings while it loads; fills in which ones it did.

    They leave `sys.modules` again, so that two scorers may each have a `helpers.py` of their own, and no byte
    code is written beside the user's files.
    """
    before, quiet = set(sys.modules), sys.dont_write_bytecode
    imported: list[Path] = []
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    try:
        yield imported
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = quiet
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and Path(file).resolve().is_relative_to(folder):
                imported.append(Path(file).resolve())
                del sys.modules[name]


def _function(module: ModuleType, name: str, path: Path) -> Scorer:
    found = getattr(module, name, None)
    if callable(found):
        scorer: Scorer = found
        return scorer
    functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    nearest = difflib.get_close_matches(name, functions, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"write one: {SIGNATURE}"
    raise EvaluateError(f"{path}: no function {name!r} in it; {hint}")
