"""What many tests share: a tiny model and tokenizer made in process, and a closed network."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builders import build_model, build_tokenizer
from tunesmith.errors import SkippedError
from tunesmith.verify.jail import Jail, find_jail

# Tiny models are faster on one thread, and the tests stay calm on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def closed_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may reach out, except those marked slow, which may fetch the embedded model; a server of its own may
    listen on this machine."""
    if "slow" in request.keywords:
        return
    connect = socket.socket.connect

    def refuse(self: socket.socket, address: Any) -> None:
        if not isinstance(address, tuple) or address[0] not in ("127.0.0.1", "::1"):
            raise AssertionError("a test tried to open a network connection")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="session")
def jail() -> Jail:
    """A working jail for code, or a skip; it is a failure where TUNESMITH_REQUIRE_SANDBOX is set, as in .ci/run."""
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


@pytest.fixture(autouse=True)
def own_cache(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any) -> None:
    """Fast tests never see the person's cache."""
    if "slow" not in request.keywords:
        monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def tiny_tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder like any other: config, safetensors, tokenizer, chat template."""
    folder = tmp_path_factory.mktemp("tiny-model")
    build_model(folder)
    build_tokenizer(folder)
    return folder


@pytest.fixture
def shared_data() -> Path:
    """Real data that nobody on the project wrote; absent outside the project's own machines."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the shared data sets are not on this machine")
    return SHARED_DATA


@pytest.fixture
def in_tmp(tmp_path: Path) -> Iterator[Path]:
    """Run the test with an empty current directory."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)
