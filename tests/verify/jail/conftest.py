"""A working jail, or a skip that is a failure where TUNESMITH_REQUIRE_SANDBOX is set, as in .ci/run."""

import os
from collections.abc import Iterator

import pytest

from tunesmith.errors import SkippedError
from tunesmith.verify.jail import Jail, bubblewrap, find_jail


@pytest.fixture(scope="session")
def jail() -> Jail:
    try:
        return find_jail()
    except SkippedError as error:
        if os.environ.get("TUNESMITH_REQUIRE_SANDBOX"):
            pytest.fail(str(error))
        pytest.skip(str(error))


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
