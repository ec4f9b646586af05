"""The systemd unit of this installation: which paths go into it, and what would keep it from working."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from worker import __version__
from worker.errors import UsageError
from worker.settings import Settings

UNIT = "digit-worker.service"
ACCOUNT = "digit-worker"

# What the unit's own sandbox hides, and by which of its directives.
_HIDDEN_BELOW = {
    "/home": "ProtectHome",
    "/root": "ProtectHome",
    "/run/user": "ProtectHome",
    "/tmp": "PrivateTmp",  # noqa: S108 - a name to look for
    "/var/tmp": "PrivateTmp",  # noqa: S108
}
# Parents that hold more than one program's folders: not to be opened for writing as a whole.
_TOO_BROAD = frozenset({"/", "/etc", "/home", "/media", "/mnt", "/opt", "/run", "/usr", "/var", "/var/lib"})


@dataclass(frozen=True, slots=True)
class Unit:
    """What a unit says: the program, its configuration, and for the system's unit who runs it.

    `writable` are folders besides inbox and outbox that it may write to; `listens` says that it serves
    figures on a port of 127.0.0.1, which opens its network as far as that.
    """

    program: Sequence[str]
    config: Path
    inbox: Path
    outbox: Path
    account: str = ACCOUNT
    group: str = ACCOUNT
    of_user: bool = False
    writable: Sequence[Path] = ()
    listens: bool = False

    def render(self) -> str:
        """The text of the unit file."""
        name = "user.service" if self.of_user else "system.service"
        text = resources.files("worker.service").joinpath("units", name).read_text("utf-8")
        values = {
            "VERSION": __version__,
            "PROGRAM": " ".join(_quoted(word, for_command=True) for word in self.program),
            "CONFIG": _quoted(str(self.config), for_command=True),
            "ACCOUNT": self.account,
            "GROUP": self.group,
            "MOUNTS": " ".join(_quoted(str(path)) for path in (self.inbox, self.outbox)),
            "WRITABLE": "\n".join(self._writable_lines()),
            "NETWORK": _OPEN_TO_ITSELF if self.listens else _NO_NETWORK,
        }
        for key, value in values.items():
            text = text.replace(f"@{key}@", value)
        return text

    def _writable_lines(self) -> Iterator[str]:
        """The folders that may be written to. Inbox and outbox share one mount if they can.

        The dash lets the worker start where one is missing, and say so in plain words itself.
        """
        parent = Path(os.path.commonpath([self.inbox, self.outbox]))
        if str(parent) in _TOO_BROAD:
            yield "# Each is a mount of its own in here, so originals are copied: put both below one folder."
            folders = [self.inbox, self.outbox]
        else:
            yield "# Their common parent, for two mounts would let no file be renamed from one to the other."
            folders = [parent]
        for folder in [*folders, *self.writable]:
            yield f"ReadWritePaths={_quoted(f'-{folder}')}"


_NO_NETWORK = """\
PrivateNetwork=yes
IPAddressDeny=any
# AF_UNIX is how systemd is told that the worker is ready and alive.
RestrictAddressFamilies=AF_UNIX"""

_OPEN_TO_ITSELF = """\
# Figures are served on 127.0.0.1; without that, PrivateNetwork=yes and AF_UNIX alone would do.
IPAddressDeny=any
IPAddressAllow=localhost
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"""


def _quoted(word: str, *, for_command: bool = False) -> str:
    """A word as unit files want it: their own signs escaped, in quotes where it has white space."""
    if any(ord(character) < 32 or 0xDC80 <= ord(character) <= 0xDCFF for character in word):
        raise UsageError(f"{word!r}: a unit file cannot name this path. Rename it.")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    if for_command:
        escaped = escaped.replace("$", "$$")
    return f'"{escaped}"' if any(sign in word for sign in " '\"\\;") else escaped


def this_program() -> list[str]:
    """How to start the program of this environment, whatever the working directory."""
    script = Path(sys.executable).parent / "digit-worker"
    return [str(script)] if script.is_file() else [sys.executable, "-P", "-m", "worker"]


def program_paths(settings: Settings) -> list[Path]:
    """All that the service must be able to read: Python, the environment, this package, the model."""
    given = {path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path}
    imported = [Path(path) for path in sys.path[1:] if path and path not in given and os.path.exists(path)]
    own = Path(__file__).resolve().parent
    paths = [Path(sys.executable), Path(sys.prefix), Path(sys.base_prefix), own, *imported, settings.model]
    return list(dict.fromkeys(paths))


def hindrances(readable: Sequence[Path], folders: Sequence[Path]) -> list[str]:
    """Why the system's service could not read all of `readable`, or would not see `folders`.

    A sentence for each place that is in the way; none if all is well. Who may enter the folders is for
    their group to say.
    """
    found: dict[str, str] = {}
    for path in [*readable, *folders]:
        for place in dict.fromkeys((os.path.abspath(path), os.path.realpath(path))):
            problem = _hidden(place) or (_closed(place) if path in readable else None)
            if problem is not None:
                found.setdefault(*problem)
    return list(found.values())


def _hidden(place: str) -> tuple[str, str] | None:
    for top, directive in _HIDDEN_BELOW.items():
        if place == top or place.startswith(top + "/"):
            return top, f"{place} lies below {top}, which the service cannot see ({directive})."
    return None


def _closed(place: str) -> tuple[str, str] | None:
    """The first folder on the way, or the thing itself, that strangers may not enter or read."""
    path = Path(place)
    for step in [*reversed(path.parents), path]:
        try:
            mode = step.stat().st_mode
        except OSError:
            return None  # what is not there is somebody else's complaint
        needed = stat.S_IXOTH if step != path else stat.S_IROTH
        if not mode & needed:
            return str(step), f"{step} lets only its owner and group in (mode {stat.S_IMODE(mode):04o})."
    return None
