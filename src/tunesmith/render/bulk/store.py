"""Where shards lie: in the run's own folder, and in a cache that all runs share.

A shard is named by the content that it was made from. A run's shards are hard links to those of the cache (copies
where the two lie on different file systems), so the run folder stands alone when the cache is deleted.
"""

import math
import os
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tunesmith.errors import ConfigError, DataError, RenderError
from tunesmith.model import cache_folder
from tunesmith.render.bulk.rendered_file import SUFFIX, open_arrays

LIMIT_VARIABLE = "TUNESMITH_RENDER_CACHE_GB"
DEFAULT_LIMIT_GB = 20.0
STALE_SECONDS = 3600.0


class ShardStore:
    """The shards of one run; `folder` is the run's, `limit_bytes` bounds the cache, 0 for none."""

    def __init__(self, folder: Path, limit_bytes: float) -> None:
        self.folder = folder
        self.cache = cache_folder() / "rendered" if limit_bytes else None
        self.limit_bytes = limit_bytes
        folder.mkdir(parents=True, exist_ok=True)

    def own(self, key: str) -> Path:
        """Where the run has this shard, once it has."""
        return self.folder / f"{key}{SUFFIX}"

    def origin(self, key: str) -> Path:
        """Where a new shard is to be written, before `take`."""
        return self.own(key) if self.cache is None else self.cache / key[:2] / f"{key}{SUFFIX}"

    def find(self, key: str) -> bool:
        """Whether the shard was made before and is whole to the last byte; one from the cache becomes the run's own."""
        if _is_whole(self.own(key)):
            _touch(self.origin(key))
            return True
        if self.cache is None or not _is_whole(self.origin(key)):
            return False
        try:
            self.take(key)
        except FileNotFoundError:  # another process has just made room in the cache
            return False
        return True

    def take(self, key: str) -> None:
        """Make the shard that lies at its origin the run's own."""
        own, origin = self.own(key), self.origin(key)
        if own != origin:
            own.unlink(missing_ok=True)
            _link(origin, own)
            _touch(origin)

    def tidy(self, keys: Iterable[str]) -> None:
        """Remove the run's shards that are not among `keys`, and the cache's least recently used above its limit."""
        wanted = {self.own(key).name for key in keys}
        for path in self.folder.iterdir():
            if path.name not in wanted:
                path.unlink()
        if self.cache is not None:
            _trim(self.cache, self.limit_bytes)


def cache_limit_bytes() -> float:
    """The cache's limit from the environment, in bytes; raises ConfigError when it is no number."""
    text = os.environ.get(LIMIT_VARIABLE) or str(DEFAULT_LIMIT_GB)
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not 0 <= limit < math.inf:
        raise ConfigError(f"{LIMIT_VARIABLE}={text}: not a size in gigabytes; give a number from 0 (no cache) on")
    return limit * 1e9


def _is_whole(path: Path) -> bool:
    try:
        open_arrays(path, check=True)
    except DataError:
        return False
    return True


def _touch(path: Path) -> None:
    """Mark as used now; whoever may not do that still may read."""
    with suppress(OSError):
        os.utime(path)


def _link(origin: Path, own: Path) -> None:
    try:
        os.link(origin, own)
    except FileNotFoundError:
        raise
    except OSError:
        _copy(origin, own)


def _copy(origin: Path, own: Path) -> None:
    """Across file systems, or where there are no hard links."""
    temporary = own.with_name(f".{own.name}.{os.getpid()}.tmp")
    try:
        shutil.copyfile(origin, temporary)
        temporary.replace(own)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unwritable(own, error) from None
    finally:
        temporary.unlink(missing_ok=True)


def unwritable(path: Path, error: OSError) -> RenderError:
    """The complaint about a shard that could not be written."""
    return RenderError(
        f"{path}: cannot be written ({error.strerror or error}). The shards that were finished are kept; make room "
        f"and run the same again, which goes on from there. To use another disk for the cache set TUNESMITH_CACHE, "
        f"to do without it {LIMIT_VARIABLE}=0"
    )


def _trim(cache: Path, limit_bytes: float) -> None:
    """Delete what was not used for longest; runs keep their links. Another process may delete at the same time."""
    found = []
    for path in cache.glob("*/*"):
        try:
            state = path.stat()
        except FileNotFoundError:
            continue
        if path.suffix == SUFFIX:
            found.append((state.st_mtime, state.st_size, path))
        elif time.time() - state.st_mtime > STALE_SECONDS:
            path.unlink(missing_ok=True)  # what a killed process was writing
    excess = sum(size for _, size, _ in found) - limit_bytes
    for _, size, path in sorted(found):
        if excess <= 0:
            return
        path.unlink(missing_ok=True)
        excess -= size
