"""A disk that keeps the sizes of files and forgets their content, behind the spool's port; full when it is told to be."""

import errno
from collections.abc import Callable, Sequence

from edgewise.spool.disk import FileStatus
from edgewise.spool.records import HEADER
from edgewise.spool.salvage import Salvage


class VirtualFile:
    def __init__(self, disk: "VirtualDisk", now_s: float) -> None:
        self.disk = disk
        self.size_bytes = 0
        self.changed_s = now_s
        self.records: list[tuple[int, float]] = []  # where each ends, and when it came

    def write(self, parts: Sequence[bytes]) -> None:
        grown_bytes = sum(map(len, parts))
        self.disk.take(grown_bytes)
        self.size_bytes += grown_bytes
        self.changed_s = self.disk.wall_s()
        self.records.append((self.size_bytes, self.changed_s))

    def cut(self, size_bytes: int) -> None:
        self.disk.used_bytes -= self.size_bytes - size_bytes
        self.size_bytes = size_bytes
        self.records = [each for each in self.records if each[0] <= size_bytes]

    def sync(self) -> None:
        self.disk.syncs += 1

    def close(self) -> None:
        pass


class VirtualLock:
    def __init__(self, disk: "VirtualDisk", name: str) -> None:
        self.disk = disk
        self.name = name

    def write(self, text: str) -> None:
        self.disk.replace(self.name, text.encode())

    def release(self) -> None:
        self.disk.locked.discard(self.name)


class VirtualDisk:
    """All writers and the reader of one spool use the same one, each within one thread.

    Args:
        wall_s: seconds since the epoch.
        room_bytes: of the whole disk.
    """

    def __init__(self, wall_s: Callable[[], float], room_bytes: int = 1 << 50) -> None:
        self.wall_s = wall_s
        self.room_bytes = room_bytes
        self.used_bytes = 0
        self.most_bytes = 0
        self.written_bytes = 0
        self.syncs = 0
        self.files: dict[str, VirtualFile] = {}
        self.small: dict[str, bytes] = {}
        self.locked: set[str] = set()

    def take(self, count: int) -> None:
        if self.used_bytes + count > self.room_bytes:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.used_bytes += count
        self.written_bytes += max(0, count)
        self.most_bytes = max(self.most_bytes, self.used_bytes)

    def names(self) -> list[str]:
        return [*self.files, *self.small]

    def status(self, name: str) -> FileStatus:
        if name in self.small:
            return FileStatus(len(self.small[name]), 0.0)
        return FileStatus(self._file(name).size_bytes, self._file(name).changed_s)

    def free_bytes(self) -> int:
        return self.room_bytes - self.used_bytes

    def create(self, name: str) -> VirtualFile:
        assert name not in self.files
        self.files[name] = VirtualFile(self, self.wall_s())
        return self.files[name]

    def reopen(self, name: str) -> VirtualFile:
        return self._file(name)

    def read(self, name: str, offset: int, count: int) -> bytes:
        if name not in self.small:
            raise FileNotFoundError(errno.ENOENT, name)
        return self.small[name][offset : offset + count]

    def records(self, name: str) -> int:
        return len(self._file(name).records)

    def salvage(self, name: str) -> Salvage:
        ends = [end for end, _ in self._file(name).records]
        return Salvage(tuple(zip([len(HEADER), *ends], ends, strict=False)), 0, is_whole=True)

    def mend(self, name: str, found: Salvage) -> None:
        raise NotImplementedError  # Nothing is spoilt on this one.

    def rename(self, old: str, new: str) -> None:
        self.files[new] = self._file(old)
        del self.files[old]

    def unlink(self, name: str) -> None:
        if name in self.small:
            self.used_bytes -= len(self.small.pop(name))
            return
        self.used_bytes -= self._file(name).size_bytes
        del self.files[name]

    def touch(self, name: str, changed_s: float) -> None:
        self._file(name).changed_s = changed_s

    def replace(self, name: str, content: bytes) -> None:
        self.take(len(content) - len(self.small.get(name, b"")))
        self.small[name] = content

    def sync_names(self) -> None:
        self.syncs += 1

    def lock(self, name: str, wait_s: float) -> VirtualLock | None:  # noqa: ARG002 - nobody lets go meanwhile
        if name in self.locked:
            return None
        self.locked.add(name)
        self.small.setdefault(name, b"")
        return VirtualLock(self, name)

    def _file(self, name: str) -> VirtualFile:
        if name not in self.files:
            raise FileNotFoundError(errno.ENOENT, name)
        return self.files[name]
