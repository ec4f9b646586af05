"""A share that passes everything on to a folder, but for what a file of rules says (FUSE).

Run as a program it serves until it is unmounted or killed: `bad_share.py FOLDER MOUNT_POINT RULES`. Each line of
RULES names a call, a part of its path (`*`: any), and what happens to it: `fsync staging EIO` refuses, `write
staging 4` answers after so many seconds, `read *.png EIO` looks at the end of the path. Rules are read anew at
every call, and each one that was followed leaves a line in `RULES.followed`.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mfusepy

_STATUS = (
    "st_mode",
    "st_ino",
    "st_dev",
    "st_nlink",
    "st_uid",
    "st_gid",
    "st_size",
    "st_blocks",
)


class BadShare(mfusepy.Operations):  # type: ignore[misc]
    """What is below `folder`, with faults."""

    use_ns = True

    def __init__(self, folder: str, rules: Path) -> None:
        self._folder = folder
        self._rules = rules
        self._followed = rules.with_name(rules.name + ".followed")

    def _at(self, call: str, path: str) -> str:
        """The true path, after what the rules have for this call."""
        for line in self._rules.read_text().splitlines():
            name, part, what = line.split()
            is_meant = path.endswith(part[1:]) if part.startswith("*") else part in path
            if name in (call, "*") and is_meant:
                with self._followed.open("a") as file:
                    file.write(f"{call} {path} {what}\n")
                if what.replace(".", "").isdecimal():
                    time.sleep(float(what))
                else:
                    raise OSError(getattr(errno, what), os.strerror(getattr(errno, what)))
        return self._folder + path

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        true = self._at("getattr", path)
        seen = os.lstat(true) if fh is None else os.fstat(fh)
        times = {f"st_{which}time": getattr(seen, f"st_{which}time_ns") for which in "amc"}
        return {name: getattr(seen, name) for name in _STATUS} | times

    def statfs(self, path: str) -> dict[str, int]:
        seen = os.statvfs(self._at("statfs", path))
        return {name: getattr(seen, name) for name in dir(seen) if name.startswith("f_")}

    def readdir(self, path: str, fh: int) -> Iterable[Any]:
        true = self._at("readdir", path)
        for name in (".", "..", *os.listdir(true)):
            seen = os.lstat(f"{true}/{name}")  # a name without an inode would be passed over
            yield name, {"st_mode": seen.st_mode, "st_ino": seen.st_ino}, 0

    def readlink(self, path: str) -> str:
        return os.readlink(self._at("readlink", path))

    def access(self, path: str, amode: int) -> int:
        if not os.access(self._folder + path, amode):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return 0

    def open(self, path: str, flags: int) -> int:
        return os.open(self._at("open", path), flags)

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        return os.open(self._at("create", path), os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        self._at("read", path)
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._at("write", path)
        return os.pwrite(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        true = self._at("truncate", path)
        os.truncate(true if fh is None else fh, length)
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self._at("fsync", path)
        os.fsync(fh)
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        self._at("fsyncdir", path)
        return 0

    def flush(self, path: str, fh: int) -> int:
        self._at("flush", path)
        return 0

    def release(self, path: str, fh: int) -> int:
        os.close(fh)
        return 0

    def rename(self, old: str, new: str) -> int:
        os.rename(self._at("rename", old), self._at("rename", new))
        return 0

    def unlink(self, path: str) -> int:
        os.unlink(self._at("unlink", path))
        return 0

    def mkdir(self, path: str, mode: int) -> int:
        os.mkdir(self._at("mkdir", path), mode)
        return 0

    def rmdir(self, path: str) -> int:
        os.rmdir(self._at("rmdir", path))
        return 0

    def symlink(self, target: str, source: str) -> int:
        os.symlink(source, self._at("symlink", target))
        return 0

    def chmod(self, path: str, mode: int) -> int:
        os.chmod(self._at("chmod", path), mode)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        os.lchown(self._at("chown", path), uid, gid)
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        os.utime(self._at("utimens", path), ns=times, follow_symlinks=False)  # type: ignore[arg-type]
        return 0


def main() -> None:
    """Serve a folder."""
    folder, mount_point, rules = sys.argv[1:]
    mfusepy.FUSE(
        BadShare(os.path.abspath(folder), Path(rules).absolute()),
        mount_point,
        foreground=True,
        use_ino=True,  # an inode is what tells two versions of a file apart
        hard_remove=True,
        attr_timeout=0,
        entry_timeout=0,
    )


if __name__ == "__main__":
    main()
