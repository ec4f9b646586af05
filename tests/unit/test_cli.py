"""What a command ends with when the machine says no: a sentence and an exit code, no report of a bug."""

from __future__ import annotations

import errno

import pytest

from worker import cli


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", "models/digits"),
            1,
            "models/digits: Permission denied",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "Make room, and run it again"),
        (OSError(errno.EROFS, "Read-only file system", "/mnt/x"), 1, "/mnt/x: Read-only file system"),
        (PermissionError(errno.EPERM, "Operation not permitted"), 70, "this is a bug"),
        (OSError(errno.EIO, "Input/output error"), 70, "this is a bug"),
    ],
)
def test_a_fault_of_the_machine_is_told(
    fault: OSError, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_arguments: object) -> int:
        raise fault

    monkeypatch.setattr(cli, "_obey", fails)
    assert cli.main([]) == code
    assert said in capsys.readouterr().err
