"""The model pool: a folder in which a digest names the weights and an alias only points.

    POOL/entries/<digest>/weights/...      the checkpoint's files
    POOL/entries/<digest>/manifest.json    what it is and where it came from, written last
    POOL/entries/<digest>/verdicts.jsonl   later verdicts on the same weights, when there are any
    POOL/aliases/<name>.jsonl              the alias's history; its last line is where it points

No database and no server: everything can be read with a pager and copied with `cp`.
"""

from pydantic import Field

from tunesmith.config import Config
from tunesmith.pool.aliases import aliases, history
from tunesmith.pool.entries import add, entries, verify
from tunesmith.pool.promotion import promote, record_verdict, resolve, rollback

__all__ = [
    "PoolConfig",
    "add",
    "aliases",
    "entries",
    "history",
    "promote",
    "record_verdict",
    "resolve",
    "rollback",
    "verify",
]


class PoolConfig(Config):
    """Where results are kept."""

    path: str = "pool"
    """The pool's folder; relative to where the command runs, so that several recipes share one."""

    alias: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$")
    """The alias that a PASS moves to the new entry; none leaves all aliases alone."""
