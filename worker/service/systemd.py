"""What the worker tells the service manager: ready, alive, how it is, stopping (the protocol of sd_notify(3)).

A plain datagram socket is all it takes. Without a manager that listens, nothing is said and nothing fails.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Literal, Self

from worker.logs import get_log
from worker.processes import STEP_LIMIT_S

STATUS_EVERY_S = 1.0
EXTEND_EVERY_S = 10.0
_SEND_LIMIT_S = 5.0  # a manager that is being reloaded may be slow to take what must not be lost


class Notifier:
    """Tells the service manager how the service is; every method returns at once and none raises OSError.

    `address` is what NOTIFY_SOCKET says: a path, or `@` and an abstract name; None tells nobody.
    `watchdog_s` is how often the manager wants to hear that the service is alive; None: it does not ask.
    """

    def __init__(
        self,
        address: str | None,
        watchdog_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = _socket_address(address)
        self._ping_every_s = None if watchdog_s is None else watchdog_s / 4
        self._clock = clock
        self._socket: socket.socket | None = None
        self._phase: Literal["starting", "running", "stopping"] = "starting"
        self._next_ping_s = self._next_extension_s = self._next_status_s = clock()
        self._status = ""
        self._failed = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], pid: int) -> Self:
        """The notifier for process `pid`, as NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID ask."""
        meant_for = environment.get("WATCHDOG_PID", str(pid))
        asked = environment.get("WATCHDOG_USEC", "")
        watchdog_s = None
        if meant_for == str(pid) and asked.isdigit() and int(asked) > 0:
            watchdog_s = int(asked) / 1e6
        return cls(environment.get("NOTIFY_SOCKET") or None, watchdog_s)

    @property
    def is_starting(self) -> bool:
        """Whether `ready` was not called yet."""
        return self._phase == "starting"

    @property
    def next_word_s(self) -> float:
        """When `alive` has to be called next, on the clock given."""
        if self._address is None:
            return float("inf")
        if self._phase != "running":
            return self._next_extension_s
        return float("inf") if self._ping_every_s is None else self._next_ping_s

    def ready(self) -> None:
        """Say that the service answers from here on; also the end of a reload."""
        self._phase = "running"
        self._send("READY=1", must_arrive=True)
        self._next_ping_s = self._clock()

    def reloading(self) -> None:
        """Say that configuration or model are being loaded anew; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}", must_arrive=True)

    def stopping(self) -> None:
        """Say that the service is on its way to its end."""
        if self._phase != "stopping":
            self._phase = "stopping"
            self._send("STOPPING=1", must_arrive=True)
            self._next_extension_s = self._clock()

    def alive(self) -> None:
        """Say that the work goes on. Call it only when it does, as often as you like.

        While the service runs this answers the watchdog; while it starts or stops it asks for more time:
        enough for one more step of STEP_LIMIT_S.
        """
        now_s = self._clock()
        if self._ping_every_s is not None and now_s >= self._next_ping_s:
            self._next_ping_s = now_s + self._ping_every_s
            self._send("WATCHDOG=1")
        if self._phase != "running" and now_s >= self._next_extension_s:
            self._next_extension_s = now_s + EXTEND_EVERY_S
            self._send(f"EXTEND_TIMEOUT_USEC={round(STEP_LIMIT_S * 1e6)}")

    def status(self, text: str) -> None:
        """Show `text` in `systemctl status`; what comes within a second of the last one is dropped."""
        now_s = self._clock()
        text = " ".join(text.split())
        if text != self._status and now_s >= self._next_status_s:
            self._next_status_s = now_s + STATUS_EVERY_S
            self._status = text
            self._send(f"STATUS={text}")

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str, *, must_arrive: bool = False) -> None:
        """Send one datagram; what need not arrive is dropped rather than waited for."""
        if self._address is None:
            return
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.settimeout(_SEND_LIMIT_S if must_arrive else 0)
            self._socket.sendto(message.encode(), self._address)
        except BlockingIOError:
            return
        except OSError as error:
            if not self._failed:
                get_log().warning("notify_failed", why=error.strerror or str(error))
            self._failed = True


def _socket_address(address: str | None) -> str | bytes | None:
    """The address as Python wants it; None for nothing, and for kinds that only virtual machines have."""
    if not address or address[0] not in "/@":
        return None
    return b"\0" + os.fsencode(address[1:]) if address[0] == "@" else address
