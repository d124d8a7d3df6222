"""A working jail, or a skip that is a failure where TUNESMITH_REQUIRE_SANDBOX is set, as in .ci/run."""

import os
from collections.abc import Iterator

import pytest

from tunesmith.errors import SkippedError
from tunesmith.verify.jail import Jail, bubblewrap, find_jail


@pytest.fixture(scope="session")
def jail() -> Jail:
    try:
        found = find_jail()
        reason = "" if found.kind == "bubblewrap" else "these tests are about the jail that bubblewrap makes"
    except SkippedError as error:
        reason = str(error)
    if reason and os.environ.get("TUNESMITH_REQUIRE_SANDBOX"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    return found


WAYS = ["as this user", "as any user"] if os.geteuid() == 0 else ["as this user"]


@pytest.fixture(params=WAYS)
def walls(request: pytest.FixtureRequest, jail: Jail, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The jail as it is made here; for root also the one that other users get: a user namespace, no control group."""
    if request.param == "as any user":
        monkeypatch.setattr(bubblewrap, "_is_root", lambda: False)
        monkeypatch.setattr(bubblewrap, "cgroup", lambda *_: _no_group())
    yield request.param


class _no_group:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None
