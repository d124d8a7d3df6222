"""No program runs before a jail has proved that it holds, and none runs bare."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tunesmith.errors import EvaluateError, SkippedError
from tunesmith.verify.jail import Jail, Limits, bubblewrap, container, probe, run_python, ways

QUICK = Limits(wall_seconds=20.0, cpu_seconds=5)


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Each test looks for a jail anew, and leaves none of its findings."""
    probe._search.cache_clear()
    yield
    probe._search.cache_clear()


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("nothing_installed")
def test_without_a_jail_nothing_runs_and_the_reason_says_how_to_mend_it(tmp_path: Path) -> None:
    with pytest.raises(SkippedError, match=r"apt-get install bubblewrap.*docker is not installed"):
        run_python(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert not (tmp_path / "ran").exists()


def test_the_probe_passes_where_the_jail_holds(jail: Jail) -> None:
    assert probe.probe(jail) is None


@pytest.mark.parametrize(
    ("hole", "said"),
    [
        (["--ro-bind", tempfile.gettempdir(), "/tmp"], "it reads a file of yours"),
        (["--ro-bind", str(Path(probe.__file__).parent), str(Path(probe.__file__).parent)], "it reads a file of yours"),
        (["--share-net"], "it reaches the network"),
    ],
)
def test_a_jail_with_a_hole_is_refused(
    hole: list[str], said: str, jail: Jail, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    build = bubblewrap._walls

    def with_hole(*given: Any) -> list[str]:
        walls = build(*given)
        if hole == ["--share-net"]:
            return [wall for wall in walls if wall != "--unshare-net"] + hole * ("--unshare-all" in walls)
        at = walls.index("--remount-ro", walls.index("/dev/shm"))
        return [*walls[:at], *hole, *walls[at:]]

    monkeypatch.setattr(bubblewrap, "_walls", with_hole)
    monkeypatch.setattr(bubblewrap, "FIRST_USER", os.getuid())
    monkeypatch.setattr(bubblewrap, "NUM_USERS", 1)
    monkeypatch.setattr(probe, "container_engine", lambda: (None, "no container"))
    with pytest.raises(SkippedError, match=said):
        probe.find_jail()


def test_a_jail_that_does_not_come_up_gives_no_verdict(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "_namespaces", lambda: ["--no-such-option"])
    with pytest.raises(EvaluateError, match=r"did not come up.*no-such-option"):
        ways.run_in(jail, "print(1)", QUICK)


def test_an_old_bubblewrap_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "bwrap"
    old.write_text("#!/bin/sh\necho --tmpfs\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SkippedError, match=r"too old \(0.7 or newer"):
        probe.find_jail()


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (str(probe.APPARMOR), "1", "AppArmor profile"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces"),
    ],
)
def test_forbidden_user_namespaces_are_named(path: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(probe, "_read", lambda at: value if str(at) == path else "")
    assert said in probe._hint()


def test_the_jail_is_probed_once_a_process(jail: Jail, monkeypatch: pytest.MonkeyPatch) -> None:
    probed: list[Jail] = []
    monkeypatch.setattr(probe, "probe", lambda found: probed.append(found))
    assert probe.find_jail() == probe.find_jail()
    assert len(probed) == 1


def test_a_container_has_its_walls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An engine that only writes down what it is asked to do."""
    log = tmp_path / "log"
    engine = tmp_path / "docker"
    engine.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {log}\n')
    engine.chmod(0o755)
    monkeypatch.setenv("TUNESMITH_JAIL_IMAGE", "my-python")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    path, about = container.container_engine()
    assert path == str(engine) and "my-python" in about
    container.run_in_container(path, b"print(1)", QUICK, "<mark>")
    asked = log.read_text()
    for wall in (
        "--pull never",
        "--network none",
        "--read-only",
        "--memory 512m --memory-swap 512m",
        "--pids-limit 32",
        "--cap-drop ALL",
        "--security-opt no-new-privileges",
        "--user 65534:65534",
        "--ipc none",
        "size=32m",
        "rm --force tunesmith-",
    ):
        assert wall in asked, wall
