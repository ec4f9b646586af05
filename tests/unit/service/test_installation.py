"""`service install` says each step, can be done again, refuses early, and takes nothing away."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from worker.errors import ConfigurationError, UsageError
from worker.service import installation
from worker.service.installation import Places, Wish, install, print_unit, uninstall
from worker.settings import load_settings


class FakeMachine:
    """Remembers the commands; users and groups exist once they were made."""

    def __init__(self, *, root: bool = True, systemd: bool = True) -> None:
        self.root, self.systemd = root, systemd
        self.users: set[str] = set()
        self.groups: set[str] = set()
        self.commands: list[str] = []

    def is_root(self) -> bool:
        return self.root

    def has_systemd(self) -> bool:
        return self.systemd

    def user_id(self, name: str) -> int | None:
        return os.getuid() if name in self.users else None

    def group_id(self, name: str) -> int | None:
        return os.getgid() if name in self.groups else None

    def run(self, command: Sequence[str]) -> None:
        self.commands.append(" ".join(command))
        if command[0] == "useradd":
            self.users.add(command[-1])
        if command[0] == "groupadd":
            self.groups.add(command[-1])


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    # Tests run from anywhere, also from below /home and /tmp.
    monkeypatch.setattr(installation, "hindrances", lambda readable, folders: [])
    return Places(
        tmp_path / "units" / "digit-worker.service",
        tmp_path / "etc" / "config.yaml",
        tmp_path / "srv" / "digits",
        ("systemctl",),
    )


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


def test_an_installation_is_whole_and_its_configuration_loads(places: Places, tmp_path: Path) -> None:
    machine = FakeMachine()
    assert install(Wish(now=True), places, machine, {}) == 0
    settings = load_settings(places.config, {})
    assert (settings.inbox, settings.outbox) == (places.folder / "inbox", places.folder / "outbox")
    assert (settings.model / "card.json").is_file()
    for folder in (settings.inbox, settings.outbox):
        assert folder.stat().st_mode & 0o7777 == 0o2770
    assert f"ReadWritePaths=-{places.folder}" in places.unit.read_text().splitlines()
    assert machine.commands == [
        "groupadd --system digit-worker",
        (
            "useradd --system --gid digit-worker --home-dir /var/lib/digit-worker --no-create-home"
            " --shell /usr/sbin/nologin digit-worker"
        ),
        "systemctl daemon-reload",
        "systemctl enable digit-worker.service",
        "systemctl restart digit-worker.service",
    ]


def test_a_second_installation_changes_nothing_and_says_so(
    places: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = FakeMachine()
    install(Wish(), places, machine, {})
    before = everything(tmp_path)
    machine.commands.clear()
    capsys.readouterr()
    install(Wish(), places, machine, {})
    assert everything(tmp_path) == before
    assert machine.commands == []
    lines = capsys.readouterr().out.splitlines()
    assert not [line for line in lines if line.startswith(("done", "would"))]


def test_a_dry_run_says_the_steps_and_takes_none(
    places: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = FakeMachine(root=False)
    install(Wish(dry_run=True, now=True), places, machine, {})
    assert everything(tmp_path) == {}
    assert machine.commands == []
    said = capsys.readouterr().out
    for word in ("groupadd", "useradd", "inbox", "outbox", "config.yaml", "digit-worker.service", "restart"):
        assert any(line.startswith("would") and word in line for line in said.splitlines()), word


def test_a_changed_configuration_is_kept_and_its_folders_are_used(places: Places, tmp_path: Path) -> None:
    places.config.parent.mkdir()
    text = "inbox: /x/in\noutbox: ../out\n"
    places.config.write_text(text.replace("/x", str(tmp_path)))
    machine = FakeMachine()
    install(Wish(), places, machine, {"DIGIT_WORKER_INBOX": "/elsewhere"})
    assert places.config.read_text() == text.replace("/x", str(tmp_path))
    assert (tmp_path / "in").is_dir()
    assert (tmp_path / "out").is_dir()
    assert f"ReadWritePaths=-{tmp_path}" in places.unit.read_text()
    with pytest.raises(UsageError, match="says already where"):
        install(Wish(folder=tmp_path), places, machine, {})


def test_the_unit_lets_figures_out_where_the_configuration_asks_for_them(
    places: Places, tmp_path: Path
) -> None:
    places.config.parent.mkdir()
    base = f"inbox: {tmp_path}/srv/in\noutbox: {tmp_path}/srv/out\n"
    for more, has_network, is_listed in (
        ("", False, False),
        (f"metrics_port: 9100\nmetrics_file: {tmp_path}/figures/digits.prom\n", True, True),
    ):
        places.config.write_text(base + more)
        install(Wish(), places, FakeMachine(), {})
        said = places.unit.read_text()
        assert ("IPAddressAllow=localhost" in said) == has_network
        assert (f"ReadWritePaths=-{tmp_path}/figures\n" in said) == is_listed


def test_existing_folders_keep_their_rights(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    inbox = places.folder / "inbox"
    inbox.mkdir(parents=True)
    inbox.chmod(0o750)
    install(Wish(), places, FakeMachine(), {})
    assert inbox.stat().st_mode & 0o7777 == 0o750
    assert f"chmod 2770 {inbox}" in capsys.readouterr().out


def test_a_wrong_configuration_is_found_before_anything_is_done(places: Places, tmp_path: Path) -> None:
    places.config.parent.mkdir()
    places.config.write_text("inbux: in\n")
    before = everything(tmp_path)
    machine = FakeMachine()
    with pytest.raises(ConfigurationError, match="inbux"):
        install(Wish(), places, machine, {})
    assert (everything(tmp_path), machine.commands) == (before, [])


def test_without_root_the_way_is_shown(places: Places, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sudo"):
        install(Wish(), places, FakeMachine(root=False), {})
    with pytest.raises(UsageError, match="sudo"):
        uninstall(Wish(), places, FakeMachine(root=False))
    assert everything(tmp_path) == {}


def test_a_program_that_the_service_could_not_see_is_refused_with_what_to_do(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        installation, "hindrances", lambda readable, folders: ["/home/ann/x lies below /home."]
    )
    with pytest.raises(UsageError, match=r"(?s)/home/ann/x.*pipx.*--user") as caught:
        install(Wish(), places, FakeMachine(), {})
    # A bare name would have pipx ask an index for whatever goes by it there.
    assert "pipx install --python /usr/bin/python3 .\n" in str(caught.value)
    assert everything(tmp_path) == {}
    assert print_unit(Wish(), places, {}) == 0
    printed = capsys.readouterr()
    assert "/home/ann/x" in printed.err
    assert printed.out.startswith("#")
    assert printed.out.rstrip().endswith("WantedBy=multi-user.target")


def test_a_service_of_a_user_needs_neither_root_nor_accounts(places: Places) -> None:
    machine = FakeMachine(root=False)
    mine = Places(places.unit, places.config, places.folder, ("systemctl", "--user"))
    install(Wish(of_user=True), mine, machine, {})
    assert machine.commands == ["systemctl --user daemon-reload"]
    assert "User=" not in places.unit.read_text()


def test_uninstalling_takes_the_unit_and_nothing_else(
    places: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = FakeMachine()
    install(Wish(), places, machine, {})
    (places.folder / "inbox" / "a.png").write_bytes(b"a drop")
    before = everything(tmp_path)
    machine.commands.clear()
    assert uninstall(Wish(), places, machine) == 0
    after = everything(tmp_path)
    assert set(before) - set(after) == {"units/digit-worker.service"}
    assert machine.commands == ["systemctl disable --now digit-worker.service", "systemctl daemon-reload"]
    assert "Left as they are" in capsys.readouterr().out
    machine.commands.clear()
    assert uninstall(Wish(), places, machine) == 0
    assert machine.commands == []


def test_without_systemd_the_unit_waits_for_it(places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    machine = FakeMachine(systemd=False)
    install(Wish(now=True), places, machine, {})
    assert places.unit.is_file()
    assert not any("systemctl" in command for command in machine.commands)
    assert "systemd does not run here" in capsys.readouterr().out


def test_folders_of_any_name_survive_the_way_through_the_configuration(
    places: Places, tmp_path: Path
) -> None:
    folder = tmp_path / 'scans: "é" \\1 #2'
    install(Wish(folder=folder), places, FakeMachine(), {})
    assert load_settings(places.config, {}).inbox == folder / "inbox"
