"""Aliases: names that point to entries, with every move on record."""

import difflib
import re
from pathlib import Path
from typing import Any

from tunesmith.errors import PoolError
from tunesmith.pool.journal import append_line, now, read_lines
from tunesmith.types import Entry

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
DIGEST_LIKE = re.compile(r"[0-9a-fA-F]{6,}")


def aliases(pool: Path) -> dict[str, str]:
    """Alias -> the digest it points to now, by name."""
    histories = {path.name.removesuffix(".jsonl"): read_lines(path) for path in _files(pool)}
    return {name: moves[-1]["digest"] for name, moves in histories.items() if moves}


def history(pool: Path, alias: str) -> list[dict[str, Any]]:
    """Every move of an alias, oldest first; raises PoolError when there is no such alias.

    Each line: `time` (UTC), `digest`, `previous` (digest or None), `action` (promote or rollback), `outcome`
    (of the entry's verdict then, or None) and `why`.
    """
    found = moves(pool, alias)
    if not found:
        known = sorted(aliases(pool))
        nearest = difflib.get_close_matches(alias, known, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(known) or 'none'}"
        raise PoolError(f"{pool}: no alias {alias!r}; {hint}")
    return found


def moves(pool: Path, alias: str) -> list[dict[str, Any]]:
    """The history of an alias, empty when it is still to be made."""
    _check_name(alias)
    return read_lines(_file(pool, alias))


def way_back(history: list[dict[str, Any]]) -> list[str]:
    """The digests a rollback can reach, the current one last: promotions push, rollbacks pop.

    After promote A, B, C and two rollbacks it is [A]; then promote D makes it [A, D], so that a rollback
    never leads to what was itself rolled back.
    """
    stack: list[str] = []
    for move in history:
        if move["action"] == "rollback":
            del stack[-1:]
        elif stack[-1:] != [move["digest"]]:
            stack.append(move["digest"])
    return stack


def append_move(
    pool: Path, alias: str, entry: Entry, previous: str | None, action: str, why: str | None
) -> dict[str, Any]:
    """Write one line of history; call it under the pool's lock."""
    line = {
        "time": now(),
        "digest": entry.digest,
        "previous": previous,
        "action": action,
        "outcome": (entry.manifest["verdict"] or {}).get("outcome"),
        "why": why,
    }
    append_line(_file(pool, alias), line)
    return line


def _files(pool: Path) -> list[Path]:
    return sorted((pool / "aliases").glob("*.jsonl"))


def _file(pool: Path, alias: str) -> Path:
    return pool / "aliases" / f"{alias}.jsonl"


def _check_name(alias: str) -> None:
    if not NAME.fullmatch(alias):
        raise PoolError(
            f"{alias!r} cannot be an alias: use up to 64 letters, digits, '.', '-' and '_', beginning with a "
            "letter or digit"
        )
    if DIGEST_LIKE.fullmatch(alias):
        raise PoolError(f"{alias!r} cannot be an alias: it reads like a digest; add a letter after f")
