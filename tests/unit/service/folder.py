"""An inbox in memory, for tests of what the service does with files."""

from __future__ import annotations

from collections.abc import Iterator

from worker.intake.arrivals import IgnoreRules, Kind, Sight, Walk


class FolderWalk(Walk):
    """All that lies in a folder in memory."""

    def __init__(self, sights: dict[str, Sight]) -> None:
        super().__init__("", IgnoreRules())
        self._sights = sights

    def pictures(self, below: str = "") -> Iterator[tuple[str, int]]:
        yield from [(name, sight.inode) for name, sight in self._sights.items()]


class Folder:
    """Each file is a new one by its inode; those in `closed` may not be looked at."""

    def __init__(self) -> None:
        self.files: dict[str, Sight] = {}
        self.closed: set[str] = set()
        self._inodes = 0

    def put(self, name: str) -> None:
        self._inodes += 1
        self.files[name] = Sight(Kind.FILE, 1, self._inodes, 10, 5, self._inodes)

    def walk(self) -> Walk:
        return FolderWalk(self.files)

    def look(self, name: str) -> Sight | None:
        if name in self.closed:
            raise PermissionError(name)
        return self.files.get(name)

    def has_writer(self, name: str, sight: Sight) -> bool | None:
        return False

    def is_blocked(self, name: str, sight: Sight) -> bool:
        return False

    def change_ignore(self, ignore: IgnoreRules) -> None:
        pass
