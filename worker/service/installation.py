"""`service install` and `uninstall`: each step is said, is skipped where it is done, and can be done again."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import shlex
import shutil
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from worker.errors import ExitCode, FoldersError, UsageError
from worker.service.unit import ACCOUNT, UNIT, Unit, hindrances, program_paths, this_program
from worker.settings import Settings, load_settings
from worker.shipped import CONFIGURATION, MODEL, shipped_folder

SHARED_MODE = 0o2770  # what is made inside belongs to the same group

# And what is made inside is open to that group, whatever the umask of the person who makes it: the default
# ACL user::rwx,group::rwx,other::---, as acl(5) stores it. A sub-folder that a clerk makes with the usual
# umask 022 would not let the worker move originals out of it.
_FOR_THE_GROUP = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, rights, 0xFFFFFFFF) for tag, rights in ((0x01, 7), (0x04, 7), (0x20, 0))
)


@dataclass(frozen=True, slots=True)
class Places:
    """Where an installation puts its files; `manager` is how its service manager is called."""

    unit: Path
    config: Path
    folder: Path
    manager: Sequence[str]

    @staticmethod
    def of_system() -> Places:
        """The places of the system's service."""
        return Places(
            Path("/etc/systemd/system") / UNIT,
            Path("/etc/digit-worker") / CONFIGURATION,
            Path("/srv/digit-worker"),
            ("systemctl",),
        )

    @staticmethod
    def of_user(environment: Mapping[str, str]) -> Places:
        """The places of a service that belongs to one user."""
        home = Path.home()
        configs = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
        return Places(
            configs / "systemd" / "user" / UNIT,
            configs / "digit-worker" / CONFIGURATION,
            home / "digit-worker",
            ("systemctl", "--user"),
        )


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for on the command line; None where the usual place is meant."""

    of_user: bool = False
    config: Path | None = None
    folder: Path | None = None
    account: str = ACCOUNT
    group: str = ACCOUNT
    now: bool = False
    dry_run: bool = False


class Machine(Protocol):
    """The machine as far as an installation changes it."""

    def is_root(self) -> bool:
        """Whether this process may change the system."""

    def has_systemd(self) -> bool:
        """Whether systemd is what runs this machine."""

    def user_id(self, name: str) -> int | None:
        """The number of a user; None where there is none."""

    def group_id(self, name: str) -> int | None:
        """The number of a group; None where there is none."""

    def run(self, command: Sequence[str]) -> None:
        """Run a command to its end; UsageError with its words where it fails."""


class ThisMachine:
    """The machine that this process runs on."""

    def is_root(self) -> bool:
        """Whether this process may change the system."""
        return os.geteuid() == 0

    def has_systemd(self) -> bool:
        """Whether systemd is what runs this machine."""
        return os.path.isdir("/run/systemd/system") and shutil.which("systemctl") is not None

    def user_id(self, name: str) -> int | None:
        """The number of a user; None where there is none."""
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            return None

    def group_id(self, name: str) -> int | None:
        """The number of a group; None where there is none."""
        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            return None

    def run(self, command: Sequence[str]) -> None:
        """Run a command to its end; UsageError with its words where it fails."""
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        except OSError as error:
            raise UsageError(f"`{shlex.join(command)}` cannot be run: {error.strerror}.") from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise UsageError(f"`{shlex.join(command)}` failed ({done.returncode}): {said}")


@dataclass(frozen=True, slots=True)
class Step:
    """One change: what it does in words, and how; no `action` where it is done already."""

    words: str
    action: Callable[[], object] | None = None


def print_unit(wish: Wish, places: Places, environment: Mapping[str, str]) -> int:
    """Print the unit that `install` would write, and on stderr what would keep it from working."""
    import sys

    settings, config, _ = _configuration(wish, places, environment)
    print(_unit(wish, settings, config).render(), end="")
    for problem in [] if wish.of_user else _problems(settings, config):
        print(f"digit-worker: this unit would not work here: {problem}", file=sys.stderr)
    return ExitCode.FINE


def install(wish: Wish, places: Places, machine: Machine, environment: Mapping[str, str]) -> int:
    """Put the service in place, saying each step; with `dry_run` only say them. Raises UsageError."""
    if not (wish.of_user or wish.dry_run or machine.is_root()):
        raise UsageError(
            f"The system's service is installed by root: sudo {shlex.join(this_program())} service install."
            " For a service of your own, add --user."
        )
    settings, config, new_text = _configuration(wish, places, environment)
    problems = [] if wish.of_user else _problems(settings, config)
    if problems:
        listing = "".join(f"\n  - {problem}" for problem in problems)
        raise UsageError(f"The service would not work:{listing}\n{_HOW_TO_MEND}")
    _carry_out(_install_steps(wish, places, machine, settings, config, new_text), dry_run=wish.dry_run)
    if not wish.now:
        print(f"Start it now and at each boot: {shlex.join([*places.manager, 'enable', '--now', UNIT])}")
    if wish.of_user:
        print("It runs while you are logged in; to let it run always: loginctl enable-linger")
    else:
        print(f"Let people drop pictures and take records: usermod --append --groups {wish.group} NAME")
    return ExitCode.FINE


_HOW_TO_MEND = (
    "Install the program where every user may read it, with the system's Python, for example in its folder\n"
    "  sudo PIPX_HOME=/opt/pipx PIPX_BIN_DIR=/usr/local/bin pipx install --python /usr/bin/python3 .\n"
    "and keep configuration, model, inbox and outbox outside home folders and /tmp. A service of your own may"
    " lie in your home: add --user."
)


def uninstall(wish: Wish, places: Places, machine: Machine) -> int:
    """Stop the service and remove its unit; whatever people put in or take out stays. Raises UsageError."""
    if not (wish.of_user or wish.dry_run or machine.is_root()):
        raise UsageError(
            f"The system's service is removed by root: sudo {shlex.join(this_program())} service uninstall."
        )
    _carry_out(_uninstall_steps(places, machine), dry_run=wish.dry_run)
    config = wish.config or places.config
    kept = [f"the configuration ({config})", "inbox and outbox with all that is in them"]
    if not wish.of_user:
        kept += ["/var/lib/digit-worker", f"the user and the group {wish.account}"]
    print(f"Left as they are: {', '.join(kept)}. Remove them yourself if nobody needs them.")
    return ExitCode.FINE


# --- what is asked for ----------------------------------------------------------------------------


def _configuration(
    wish: Wish, places: Places, environment: Mapping[str, str]
) -> tuple[Settings, Path, str | None]:
    """The settings the service will have, their file, and its text where it has to be written."""
    config = Path(os.path.abspath(wish.config or places.config))
    # The unit gets no variables of this shell, so they do not count here either.
    clean = {key: value for key, value in environment.items() if not key.startswith("DIGIT_WORKER_")}
    if config.exists():
        if wish.folder is not None:
            raise UsageError(f"{config} says already where inbox and outbox are. Change it there.")
        return load_settings(config, clean), config, None
    folder = Path(os.path.abspath(wish.folder or places.folder))
    text = _new_configuration((shipped_folder() / CONFIGURATION).read_text("utf-8"), folder)
    settings = Settings(inbox=folder / "inbox", outbox=folder / "outbox", model=shipped_folder() / MODEL)
    return settings, config, text


def _new_configuration(shipped: str, folder: Path) -> str:
    """The shipped configuration with inbox and outbox below `folder`, and with the model that ships."""
    import json

    text = shipped
    for key in ("inbox", "outbox"):
        value = json.dumps(str(folder / key), ensure_ascii=False)  # a YAML string, whatever the path holds
        line = f"{key}: {value}".replace("\\", r"\\")  # a replacement's own escapes
        text = re.sub(rf"^{key}: \S+", line, text, flags=re.M)
    return re.sub(
        r"^model: .*$",
        "# model: /path/to/a/bundle  # left out: the model that ships with the program",
        text,
        flags=re.M,
    )


def _unit(wish: Wish, settings: Settings, config: Path) -> Unit:
    metrics = settings.metrics_path
    is_elsewhere = metrics is not None and not metrics.is_relative_to(settings.outbox)
    return Unit(
        this_program(), config, settings.inbox, settings.outbox, wish.account, wish.group, wish.of_user,
        writable=[metrics.parent] if metrics is not None and is_elsewhere else [],
        listens=settings.metrics_port > 0,
    )  # fmt: skip


def _problems(settings: Settings, config: Path) -> list[str]:
    """What the service would not see; folders that are still to be made count by where they will lie."""
    return hindrances([*program_paths(settings), config], [settings.inbox, settings.outbox])


# --- the steps ------------------------------------------------------------------------------------


def _carry_out(steps: Iterator[Step], *, dry_run: bool) -> None:
    for step in steps:
        if step.action is None:
            print(f"ok       {step.words}")
        elif dry_run:
            print(f"would    {step.words}")
        else:
            step.action()
            print(f"done     {step.words}")


def _install_steps(
    wish: Wish, places: Places, machine: Machine, settings: Settings, config: Path, new_text: str | None
) -> Iterator[Step]:
    if not wish.of_user:
        yield from _account_steps(wish, machine)
    yield from _folder_steps(wish, machine, settings)
    if new_text is None:
        yield Step(f"keep the configuration {config}")
    else:
        yield Step(f"write the configuration {config}", lambda: _write(config, new_text))
    text = _unit(wish, settings, config).render()
    is_same = places.unit.is_file() and places.unit.read_text("utf-8") == text
    if is_same:
        yield Step(f"the unit {places.unit} is in place")
    else:
        yield Step(f"write the unit {places.unit}", lambda: _write(places.unit, text))
    if not machine.has_systemd():
        yield Step("systemd does not run here: it will find the unit when it does")
        return
    if not is_same:
        yield _command([*places.manager, "daemon-reload"], machine)
    if wish.now:
        yield _command([*places.manager, "enable", UNIT], machine)
        # `restart` also starts what is stopped; a service whose unit is the same is not disturbed.
        yield _command([*places.manager, "start" if is_same else "restart", UNIT], machine)


def _account_steps(wish: Wish, machine: Machine) -> Iterator[Step]:
    if machine.group_id(wish.group) is None:
        yield _command(["groupadd", "--system", wish.group], machine)
    else:
        yield Step(f"the group {wish.group} exists")
    if machine.user_id(wish.account) is None:
        home = ["--home-dir", "/var/lib/digit-worker", "--no-create-home", "--shell", "/usr/sbin/nologin"]
        yield _command(["useradd", "--system", "--gid", wish.group, *home, wish.account], machine)
    else:
        yield Step(f"the user {wish.account} exists")


def _folder_steps(wish: Wish, machine: Machine, settings: Settings) -> Iterator[Step]:
    """Make inbox and outbox, and their parent. What exists is somebody's, and is left as it is."""
    for folder in (settings.inbox, settings.outbox):
        mode = 0o755 if wish.of_user else SHARED_MODE
        if not folder.exists():
            shared = "" if wish.of_user else f", for the group {wish.group} (mode {SHARED_MODE:o})"
            yield Step(f"make {folder}{shared}", partial(_make, folder, mode, wish, machine))
        elif wish.of_user or _is_shared(folder, machine.group_id(wish.group)):
            yield Step(f"{folder} is there")
        else:
            mend = f"chown {wish.account}:{wish.group} {folder} && chmod {SHARED_MODE:o} {folder}"
            yield Step(f"{folder} is there; look whether the service may write to it, or: {mend}")


def _is_shared(folder: Path, group_id: int | None) -> bool:
    status = folder.stat()
    return status.st_gid == group_id and status.st_mode & SHARED_MODE == SHARED_MODE


def _make(folder: Path, mode: int, wish: Wish, machine: Machine) -> None:
    """Make a folder that belongs to the service, and the way there for its group."""
    try:
        missing = [step for step in reversed(folder.parents) if not step.exists()]
        for step in missing:
            step.mkdir()
            step.chmod(0o755)
        folder.mkdir()
        if not wish.of_user:
            user_id, group_id = machine.user_id(wish.account), machine.group_id(wish.group)
            if user_id is None or group_id is None:
                raise UsageError(f"The user {wish.account} or the group {wish.group} could not be made.")
            os.chown(folder, user_id, group_id)
        folder.chmod(mode)  # after chown, which takes the setgid bit away
        if not wish.of_user:
            with contextlib.suppress(OSError):  # a file system without ACLs; people then need umask 002
                os.setxattr(folder, "system.posix_acl_default", _FOR_THE_GROUP)
    except OSError as error:
        raise FoldersError(f"{folder} cannot be made: {error.strerror}.") from error


def _write(path: Path, text: str) -> None:
    """Write a file that everybody may read, whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_text(text, "utf-8")
        part.chmod(stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IROTH)
        part.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error


def _uninstall_steps(places: Places, machine: Machine) -> Iterator[Step]:
    if not places.unit.exists():
        yield Step(f"there is no unit {places.unit}")
        return
    if machine.has_systemd():
        yield _command([*places.manager, "disable", "--now", UNIT], machine)
    yield Step(f"remove the unit {places.unit}", places.unit.unlink)
    if machine.has_systemd():
        yield _command([*places.manager, "daemon-reload"], machine)


def _command(command: Sequence[str], machine: Machine) -> Step:
    return Step(f"run {shlex.join(command)}", lambda: machine.run(command))
