"""The unit names this installation's paths, opens only what is needed, and what it hides is found out first."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from worker.errors import UsageError
from worker.service.unit import Unit, hindrances

CONFIG = Path("/etc/digit-worker/config.yaml")
PROGRAM = ("/opt/digit-worker/bin/digit-worker",)


def unit(inbox: str = "/srv/digits/inbox", outbox: str = "/srv/digits/outbox", **more: object) -> Unit:
    return Unit(PROGRAM, CONFIG, Path(inbox), Path(outbox), **more)  # type: ignore[arg-type]


def directives(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_nothing_is_left_to_fill_in() -> None:
    for made in (unit(), unit(of_user=True), unit(listens=True)):
        assert re.findall(r"@[A-Z_]+@", made.render()) == []


def test_program_configuration_and_people_stand_in_it() -> None:
    said = directives(unit(account="scans", group="clerks").render())
    assert said["ExecStart"] == [
        "/opt/digit-worker/bin/digit-worker run --config /etc/digit-worker/config.yaml"
    ]
    assert (said["User"], said["Group"], said["UMask"]) == (["scans"], ["clerks"], ["0007"])


def test_inbox_and_outbox_are_writable_by_their_parent_so_that_renames_work() -> None:
    said = directives(unit(writable=[Path("/var/lib/node_exporter")]).render())
    assert said["ReadWritePaths"] == ["-/srv/digits", "-/var/lib/node_exporter"]


@pytest.mark.parametrize("outbox", ["/data/outbox", "/var/outbox"])
def test_folders_without_a_parent_of_their_own_are_listed_one_by_one(outbox: str) -> None:
    said = directives(unit("/var/inbox", outbox).render())
    assert said["ReadWritePaths"] == ["-/var/inbox", f"-{outbox}"]


def test_ends_that_no_restart_mends_are_not_restarted_and_a_bug_is() -> None:
    for made in (unit(), unit(of_user=True)):
        said = directives(made.render())
        assert said["Restart"] == ["always"]
        assert said["RestartPreventExitStatus"] == ["2 3 4 5"]


def test_paths_with_signs_of_their_own_are_escaped() -> None:
    said = directives(unit('/srv/100% "my" digits/in', '/srv/100% "my" digits/out').render())
    assert said["ReadWritePaths"] == [r'"-/srv/100%% \"my\" digits"']
    made = Unit(["/opt/$x/w"], Path("/etc/a b"), Path("/srv/d/i"), Path("/srv/d/o"))
    assert directives(made.render())["ExecStart"] == ['/opt/$$x/w run --config "/etc/a b"']


def test_a_path_that_no_unit_can_name_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot name this path"):
        unit("/srv/a\nUser=root/in", "/srv/out").render()


def test_the_network_is_open_only_when_figures_are_served() -> None:
    assert directives(unit().render())["RestrictAddressFamilies"] == ["AF_UNIX"]
    said = directives(unit(listens=True).render())
    assert "PrivateNetwork" not in said
    assert said["IPAddressAllow"] == ["localhost"]


@pytest.mark.parametrize(
    ("path", "directive"),
    [("/home/ann/.venv", "ProtectHome"), ("/root/x", "ProtectHome"), ("/tmp/x/y", "PrivateTmp")],
)
def test_what_the_sandbox_hides_is_named_with_the_reason(path: str, directive: str) -> None:
    (problem,) = hindrances([Path(path)], [])
    assert path in problem
    assert directive in problem
    assert hindrances([], [Path(path)]) == [problem]


def test_a_link_into_a_home_is_seen_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.service.unit._HIDDEN_BELOW", {str(tmp_path / "home"): "ProtectHome"})
    (tmp_path / "home").mkdir()
    link = tmp_path / "python"
    link.symlink_to(tmp_path / "home" / "python3")
    problems = hindrances([link], [])
    assert any("ProtectHome" in problem for problem in problems)


def test_a_closed_folder_on_the_way_is_named_and_an_inbox_may_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.service.unit._HIDDEN_BELOW", {})
    closed = tmp_path / "closed"
    (closed / "env").mkdir(parents=True)
    closed.chmod(0o700)
    (first, *_) = hindrances([closed / "env"], [])
    assert "owner" in first
    assert hindrances([], [closed / "env"]) == []
    assert hindrances([Path("/usr/bin")], []) == []


needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here (apt install systemd)"
)


@needs_systemd
@pytest.mark.parametrize("of_user", [False, True])
def test_systemd_finds_nothing_to_say_about_the_unit(tmp_path: Path, of_user: bool) -> None:
    # The program must exist for `verify`; any that can be run will do.
    made = Unit(
        ["/bin/true"], CONFIG, Path("/srv/d/inbox"), Path("/srv/d/outbox"), "root", "root", of_user=of_user
    )
    file = tmp_path / "digit-worker.service"
    file.write_text(made.render())
    manager = "--user" if of_user else "--system"
    done = subprocess.run(
        ["systemd-analyze", manager, "verify", "--man=no", str(file)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # Other units of the machine are loaded along; only words about ours count.
    said = [line for line in done.stderr.splitlines() if "digit-worker" in line]
    assert (done.returncode, said) == (0, [])


@needs_systemd
def test_the_unit_is_hardened(tmp_path: Path) -> None:
    file = tmp_path / "digit-worker.service"
    file.write_text(unit().render())
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=5", "--no-pager", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
