"""A child whose system calls are watched: killed at one, refused one, or only written down (ptrace(2)).

No hook in the code under test is needed, and nothing that it does to the disk can go unseen.
Linux on x86-64 alone; elsewhere, or where ptrace is forbidden, `why_not` says so.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass

_TRACEME, _POKEUSER, _SYSCALL, _SETOPTIONS, _INFO = 0, 6, 24, 0x4200, 0x420E
_SYSGOOD, _EXITKILL = 1, 1 << 20
_RAX, _ORIG_RAX = 80, 120  # places in `struct user` on x86-64
_AT_FDCWD = (1 << 64) - 100
_NUMBERS = {
    1: "write", 2: "open", 3: "close", 18: "pwrite64", 20: "writev", 40: "sendfile", 74: "fsync",
    75: "fdatasync", 76: "truncate", 77: "ftruncate", 82: "rename", 83: "mkdir", 84: "rmdir", 86: "link",
    87: "unlink", 88: "symlink", 4: "stat", 6: "lstat", 217: "getdents64", 257: "openat", 258: "mkdirat",
    262: "newfstatat", 263: "unlinkat", 264: "renameat", 265: "linkat", 266: "symlinkat", 280: "utimensat",
    306: "syncfs", 316: "renameat2", 326: "copy_file_range",
}  # fmt: skip
# Where a call's path stands among its arguments, and the folder's descriptor before it.
_PATH_AT = {
    "open": 0, "rename": 0, "mkdir": 0, "rmdir": 0, "unlink": 0, "stat": 0, "lstat": 0, "openat": 1,
    "mkdirat": 1, "newfstatat": 1, "unlinkat": 1, "renameat": 1, "renameat2": 1, "utimensat": 1,
}  # fmt: skip
_TARGET_AT = {"rename": 1, "renameat": 3, "renameat2": 3}
CREATE = os.O_CREAT


@dataclass(frozen=True, slots=True)
class Call:
    """One call on a file below the watched folder; `flags` are those of an open, `data` of a write."""

    name: str
    path: str
    target: str = ""
    flags: int = 0
    data: bytes = b""

    def changes(self) -> bool:
        """Whether the disk may differ after it."""
        if self.name in ("open", "openat"):
            return bool(self.flags & CREATE)
        return self.name not in ("close", "stat", "lstat", "newfstatat", "getdents64")


Before = Callable[[Call], int]  # 0: let it happen; -1: die here; an errno: refuse it
After = Callable[[Call], None]  # of a call that succeeded

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


def _ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> None:
    if _libc.ptrace(request, pid, address, data) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def watched(
    work: Callable[[], None],
    below: str,
    before: Before = lambda _call: 0,
    after: After = lambda _call: None,
) -> bool:
    """Do the work in a child; whether it came to its end. Raises AssertionError where it failed by itself."""
    child = os.fork()
    if child == 0:
        try:
            _ptrace(_TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            work()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    os.waitpid(child, 0)
    _ptrace(_SETOPTIONS, child, 0, _SYSGOOD | _EXITKILL)
    return _follow(child, below, before, after)


def _follow(child: int, below: str, before: Before, after: After) -> bool:
    pending: Call | None = None
    refusal = 0
    deliver = 0
    with open(f"/proc/{child}/mem", "rb", buffering=0) as memory:
        while True:
            _ptrace(_SYSCALL, child, 0, deliver)
            deliver = 0
            _, status = os.waitpid(child, 0)
            if not os.WIFSTOPPED(status):
                code = os.waitstatus_to_exitcode(status)
                if code:
                    raise AssertionError(f"the worker ended with {code}")
                return True
            if os.WSTOPSIG(status) != signal.SIGTRAP | 0x80:
                deliver = os.WSTOPSIG(status)
                continue
            info = ctypes.create_string_buffer(88)
            _libc.ptrace(_INFO, child, 88, ctypes.addressof(info))
            if info.raw[0] == 1:
                pending = _call_of(child, memory.fileno(), info.raw, below)
                refusal = 0 if pending is None else before(pending)
                if refusal < 0:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    return False
                if refusal:
                    _ptrace(_POKEUSER, child, _ORIG_RAX, (1 << 64) - 1)
            elif pending is not None:
                if refusal:
                    _ptrace(_POKEUSER, child, _RAX, (1 << 64) - refusal)
                elif struct.unpack_from("<q", info.raw, 24)[0] >= 0:
                    after(pending)
                pending = None


def _call_of(child: int, memory: int, info: bytes, below: str) -> Call | None:
    number, *arguments = struct.unpack_from("<7Q", info, 24)
    name = _NUMBERS.get(number)
    if name is None:
        return None
    try:
        path = _path(child, memory, name, arguments)
    except OSError:
        return None
    if path != below and not path.startswith(below + "/"):
        return None
    flags = arguments[1] if name == "open" else arguments[2] if name == "openat" else 0
    target = ""
    if name in _TARGET_AT:
        target = _text(memory, arguments[_TARGET_AT[name]])
    data = os.pread(memory, arguments[2], arguments[1]) if name == "write" and arguments[2] else b""
    return Call(name, path, target, flags, data)


def _path(child: int, memory: int, name: str, arguments: list[int]) -> str:
    at = _PATH_AT.get(name)
    if at is None or (name == "utimensat" and not arguments[1]):
        return os.readlink(f"/proc/{child}/fd/{arguments[0]}")
    path = _text(memory, arguments[at])
    if path.startswith("/") or at == 0 or arguments[0] & 0xFFFFFFFF == _AT_FDCWD & 0xFFFFFFFF:
        return os.path.join("/", path) if path.startswith("/") else os.path.join(os.getcwd(), path)
    folder = os.readlink(f"/proc/{child}/fd/{arguments[0]}")
    return f"{folder}/{path}" if path else folder


def _text(memory: int, address: int) -> str:
    data = b""
    while b"\0" not in data and len(data) < 8192:
        here = address + len(data)
        data += os.pread(memory, 4096 - here % 4096, here)
    return os.fsdecode(data.split(b"\0")[0])


@functools.cache
def why_not() -> str:
    """Why children cannot be watched here; empty where they can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "needs Linux on x86-64"
    seen: list[Call] = []
    try:
        watched(lambda: os.close(os.open("/proc/self/stat", os.O_RDONLY)), "/proc", after=seen.append)
    except (OSError, AssertionError) as error:
        return f"needs ptrace(2): {error}"
    return "" if seen else "needs ptrace(2) with PTRACE_GET_SYSCALL_INFO"
