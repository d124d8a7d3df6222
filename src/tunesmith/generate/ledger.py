"""The request ledger: what a model once answered is read from then on, by any run on this machine.

One SQLite file. The key of an answer is the hash of all that decides it: the generator's `mark` (weights, engine,
template, machine), the prompt, the sampling and the sample's number. Each answer is committed by itself, so a killed
process loses none; several processes may use the file at once. What cannot be read is an error, never a wrong answer.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple
from functools import cached_property
from pathlib import Path
from typing import Any

from tunesmith.errors import GenerateError
from tunesmith.files import canonical_json
from tunesmith.generate import (
    Completion,
    Continuation,
    Generator,
    Likelihood,
    OnCompletion,
    OnLikelihoods,
    Prompt,
    Sampling,
    Window,
)
from tunesmith.model import cache_folder

VERSION = 1
BUSY_SECONDS = 60.0
TABLE = """CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, value TEXT NOT NULL, guard TEXT NOT NULL, written TEXT DEFAULT CURRENT_TIMESTAMP)"""


def ledger_path(choice: str) -> Path | None:
    """The file of `evaluate.ledger`: `cache`, `off` (None), or a path."""
    if choice == "off":
        return None
    return cache_folder() / "ledger.sqlite" if choice == "cache" else Path(choice).expanduser()


class Ledger:
    """Answers by key. Opened at first use."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _connection(self) -> sqlite3.Connection:
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            try:
                # In this mode a commit survives the death of the process, and readers do not wait for a writer.
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                self._check_version(connection)
                connection.execute(TABLE)
            except BaseException:
                connection.close()
                raise
        return connection

    def _check_version(self, connection: sqlite3.Connection) -> None:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found not in (0, VERSION):
            raise GenerateError(
                f"{self.path}: a ledger of version {found}, but this tunesmith writes version {VERSION}; give another "
                "file with --set evaluate.ledger=FILE, or move this one away"
            )
        connection.execute(f"PRAGMA user_version = {VERSION}")

    def get(self, key: str) -> Any:
        """The recorded value, or None. Raises GenerateError where the file is damaged."""
        with self._explained():
            row = self._connection.execute("SELECT value, guard FROM answers WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        if row[1] != _guard(key, row[0]):
            raise GenerateError(self._damaged("a recorded answer is not what was written"))
        return json.loads(row[0])

    def put(self, key: str, value: Any) -> Any:
        """Record a value for good and return it, or the one that another process recorded first."""
        text = json.dumps(value, separators=(",", ":"))
        row = (key, text, _guard(key, text))
        with self._explained():
            self._connection.execute("INSERT OR IGNORE INTO answers (key, value, guard) VALUES (?, ?, ?)", row)
        return self.get(key)

    def __len__(self) -> int:
        with self._explained():
            return int(self._connection.execute("SELECT count(*) FROM answers").fetchone()[0])

    def close(self) -> None:
        if "_connection" in self.__dict__:
            self._connection.close()
            del self.__dict__["_connection"]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """SQLite's errors, with what can be done about them."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise GenerateError(self._reason(str(error))) from error
        except sqlite3.DatabaseError as error:
            raise GenerateError(self._damaged(str(error))) from error
        except OSError as error:
            raise GenerateError(self._reason(str(error))) from error

    def _reason(self, error: str) -> str:
        if "full" in error or "No space" in error:
            return (
                f"{self.path}: no space for another answer ({error}). What was recorded is safe: make space, or move "
                "the file and name it with --set evaluate.ledger=FILE, and run the same command again"
            )
        if "locked" in error:
            return (
                f"{self.path}: another process has held the ledger for more than {BUSY_SECONDS:.0f} seconds; wait for "
                "it, or take a file of its own with --set evaluate.ledger=FILE"
            )
        if "malformed" in error or "disk I/O" in error:
            return self._damaged(error)
        return (
            f"{self.path}: the ledger cannot be used ({error}). Name a file that can be written with "
            "--set evaluate.ledger=FILE, or do without: --set evaluate.ledger=off"
        )

    def _damaged(self, error: str) -> str:
        return (
            f"{self.path}: the ledger is damaged ({error}). Move it away, with its -wal and -shm files, and a new one "
            f"begins; to save what can be read: sqlite3 {self.path} .recover | sqlite3 NEW, then move NEW here"
        )


class Recorded:
    """A generator behind a ledger. `make` is called when an answer is missing, so a second evaluation loads nothing."""

    def __init__(
        self, make: Callable[[], Generator], ledger: Ledger, *, digest: str, engine: str | None, mark: str
    ) -> None:
        """`engine` is None where the generator alone can tell."""
        self._make = make
        self.ledger = ledger
        self.digest = digest
        self._engine = engine
        self.mark = mark

    @property
    def engine(self) -> str:
        return self._engine or self.generator.engine

    @cached_property
    def generator(self) -> Generator:
        return self._make()

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, on_done: OnCompletion | None = None
    ) -> list[Completion]:
        keys = [self._key(prompt, sampling) for prompt in prompts]

        def ask(indices: Sequence[int], tell: Callable[[int, Any], None]) -> None:
            asked = [prompts[index] for index in indices]
            self.generator.generate(asked, sampling, lambda at, found: tell(at, asdict(found)))

        return self._answers(keys, _completion, ask, on_done)

    def log_likelihood(
        self,
        prompts: Sequence[Prompt],
        continuations: Sequence[Sequence[Continuation]],
        window: Window | None = None,
        on_done: OnLikelihoods | None = None,
    ) -> list[tuple[Likelihood, ...]]:
        pairs = zip(prompts, continuations, strict=True)
        keys = [self._key(prompt, {"priced": list(offered), "window": window}) for prompt, offered in pairs]

        def ask(indices: Sequence[int], tell: Callable[[int, Any], None]) -> None:
            asked, offered = [prompts[index] for index in indices], [continuations[index] for index in indices]
            told = lambda at, found: tell(at, [astuple(each) for each in found])  # noqa: E731
            self.generator.log_likelihood(asked, offered, window, told)

        return self._answers(keys, _likelihoods, ask, on_done)

    def _answers(self, keys: Sequence[str], read: Callable[[Any], Any], ask: Any, on_done: Any) -> list[Any]:
        """What is recorded at once, then what has to be asked, each recorded before it is told."""
        found: dict[int, Any] = {}
        missing: dict[str, list[int]] = {}

        def tell(indices: Sequence[int], value: Any) -> None:
            for index in indices:
                found[index] = read(value)
                if on_done:
                    on_done(index, found[index])

        for index, key in enumerate(keys):
            value = self.ledger.get(key)
            if value is None:
                missing.setdefault(key, []).append(index)
            else:
                tell([index], value)
        if missing:
            wanted = list(missing)
            ask(
                [missing[key][0] for key in wanted],
                lambda at, value: tell(missing[wanted[at]], self.ledger.put(wanted[at], value)),
            )
        return [found[index] for index in range(len(keys))]

    def _key(self, prompt: Prompt, how: Any) -> str:
        """The hash of all that decides an answer; a greedy one does not depend on seeds and numbers."""
        asked = {name: value for name, value in asdict(prompt).items() if name != "begun" or value}
        if isinstance(how, Sampling):
            how = asdict(how) if how.temperature else {"max_tokens": how.max_tokens, "temperature": 0.0}
        if "priced" in how or not how["temperature"]:
            del asked["sample"]
        payload = canonical_json({"mark": self.mark, "prompt": asked, "how": how})
        return hashlib.sha256(payload.encode("utf-8", "surrogatepass")).hexdigest()


def recorded(make: Callable[[], Generator], choice: str, *, digest: str, engine: str | None, mark: str) -> Generator:
    """The generator that `make` gives, behind the ledger that `evaluate.ledger` names, if any."""
    path = ledger_path(choice)
    return make() if path is None else Recorded(make, Ledger(path), digest=digest, engine=engine, mark=mark)


def _guard(key: str, text: str) -> str:
    return hashlib.blake2b(f"{key} {text}".encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _completion(value: dict[str, Any]) -> Completion:
    return Completion(**{**value, "tokens": tuple(value["tokens"])})


def _likelihoods(value: list[list[Any]]) -> tuple[Likelihood, ...]:
    return tuple(Likelihood(*each) for each in value)
