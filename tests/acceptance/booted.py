"""A real systemd, booted in namespaces of its own over a throw-away copy of this machine's files. Needs root.

Whatever it writes goes into memory and is gone with it; the machine itself is not touched. The copy gets the
program as a user would install it: a wheel in an environment of its own under /opt. Python and the libraries
are bound in from where the tests run.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

SYSTEMD = Path("/lib/systemd/systemd")
PYTHON, PACKAGES, ENVIRONMENT = "/opt/python", "/opt/packages", "/opt/digit-worker"
PROGRAM = f"{ENVIRONMENT}/bin/digit-worker"

_SETUP = r"""
set -e
base=$1 python=$2 packages=$3 wheels=$4 wheel=$5
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" overlay "$base/root"
root=$base/root
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"       # nothing in there may turn the real machine's knobs
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir -p "$root/opt/python" "$root/opt/packages" "$root/opt/wheels"
mount --bind "$python" "$root/opt/python"
mount --bind "$packages" "$root/opt/packages"
mount --bind "$wheels" "$root/opt/wheels"
: > "$root/etc/fstab"
for unit in systemd-modules-load.service modprobe@.service systemd-sysctl.service systemd-udevd.service \
    systemd-udev-trigger.service systemd-random-seed.service systemd-pstore.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"   # what would reach the real kernel
done
echo /opt/python/lib > "$root/etc/ld.so.conf.d/00-booted.conf"
rm -rf "$root/etc/digit-worker" "$root/srv/digit-worker" "$root/var/lib/digit-worker" "$root/opt/digit-worker"
cd "$root"
mkdir .old
pivot_root . .old
umount -l .old
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
unset PYTHONPATH VIRTUAL_ENV
ldconfig
# Python may have been built to look for its library where it used to lie: tell it anew.
"/opt/python/bin/$7" -m venv --without-pip /opt/digit-worker
for site in /opt/digit-worker/lib/python3*/site-packages; do echo /opt/packages > "$site/packages.pth"; done
PYTHONPATH=/opt/packages /opt/digit-worker/bin/python -m pip install --quiet --no-index --no-deps \
    --ignore-installed --no-warn-script-location --disable-pip-version-check --root-user-action=ignore \
    "/opt/wheels/$wheel"
exec setpriv --bounding-set=-sys_module,-sys_time,-sys_boot,-sys_rawio \
    env -i PATH="$PATH" container=booted "$6" --unit=basic.target
"""


def why_not() -> str | None:
    """Why no systemd can be booted here; None if it can."""
    if os.geteuid() != 0:
        return "booting a systemd needs root"
    missing = [name for name in ("unshare", "nsenter", "setpriv", "systemctl") if shutil.which(name) is None]
    if missing or not SYSTEMD.exists():
        return f"systemd or util-linux is not here ({', '.join(missing) or SYSTEMD})"
    if _cgroup2() is None:
        return "no cgroup2 hierarchy is mounted here"
    probe = ["unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--fork", "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        return "namespaces cannot be made here"
    return None


def build_wheel(source: Path, target: Path) -> Path:
    """The wheel of the project, built from a copy of what belongs to it; target must not exist."""
    copy = target / "source"
    left_out = shutil.ignore_patterns(
        ".*", "build", "*.egg-info", "inbox", "outbox", "tests", "__pycache__", "demo", "benchmarks"
    )
    shutil.copytree(source, copy, ignore=left_out)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index",
         "--disable-pip-version-check", "--wheel-dir", str(target), str(copy)],
        check=True, timeout=120, env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    (wheel,) = target.glob("*.whl")
    return wheel


def _cgroup2() -> Path | None:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            return Path(before.split()[4])
    return None


class Booted:
    """One booted systemd; `close` ends it and all that runs in it."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self._base = folder / "base"
        self._base.mkdir()
        above = _cgroup2()
        assert above is not None
        self._cgroup = above / f"digit-worker-test-{os.getpid()}"
        self._cgroup.mkdir(exist_ok=True)
        self._log = folder / "boot.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", 'echo 0 > "$1/cgroup.procs"; shift; exec "$@"', "sh", str(self._cgroup),
                 "unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--fork", "--kill-child",
                 "sh", "-c", _SETUP, "sh", str(self._base), sys.base_prefix,
                 sysconfig.get_path("purelib"), str(wheel.parent), wheel.name, str(SYSTEMD),
                 f"python{sys.version_info.major}.{sys.version_info.minor}"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        try:
            self._await_boot()
        except BaseException:
            self.close()
            raise

    def _await_boot(self) -> None:
        end_s = time.monotonic() + 60
        while time.monotonic() < end_s and self._process.poll() is None:
            if self.pid and self.run("systemctl", "is-active", "basic.target", check=False) == "active":
                return
            time.sleep(0.1)
        raise AssertionError(f"systemd did not boot: {self._log.read_text(errors='replace')[-4000:]}")

    @property
    def pid(self) -> int:
        """The number of its first process as this machine counts; 0 while there is none."""
        task = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        children = task.read_text().split() if task.exists() else []
        return int(children[0]) if children else 0

    def path(self, inside: str) -> Path:
        """A path inside, as it is reached from here."""
        return Path(f"/proc/{self.pid}/root{inside}")

    def run(self, *command: str, check: bool = True, timeout_s: float = 120.0) -> str:
        """What a command inside prints; with `check` it must end well."""
        done = subprocess.run(
            ["nsenter", "-t", str(self.pid), "-a", "env", "-i",
             "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", *command],
            capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, (command, done.returncode, done.stdout, done.stderr)
        return done.stdout.strip()

    def close(self) -> None:
        """End it, and take its control group away."""
        self._process.send_signal(signal.SIGKILL)  # --kill-child ends the rest
        self._process.wait(30)
        groups = sorted(self._cgroup.rglob("*/"), key=lambda path: -len(path.parts))
        end_s = time.monotonic() + 10
        for group in [*groups, self._cgroup]:
            while group.is_dir():
                try:
                    group.rmdir()
                except OSError:
                    if time.monotonic() > end_s:
                        break
                    time.sleep(0.05)
