"""Keys and values -> a bounded table in shared memory or in a mapped file, which every forked process sees at once.

An entry is written before it is marked, is never changed, and is checked by its sum when a process first reads it.
What a file holds that is damaged, or was made for something else, is not read: the file is made anew. Blocks are asked
for before they are written to: on a full disk a mapped hole would kill the process. A full store serves what it has.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
import threading
import zlib
from typing import TYPE_CHECKING

from .values import ALIGNMENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .values import Draft, Reader

MAGIC = b"suffice\x01"
HEADER = struct.Struct("<8s32sQQI")  # magic, fingerprint, slots, capacity, the sum of these
LEVEL = struct.Struct("<QQQ")  # how far the file is filled, how far it has blocks, how many entries
LEVEL_AT = 64
TABLE_AT = 4096
SLOT = struct.Struct("<16sQIIIIQ")  # key, offset, length of the text, size of the parts, sum, mark, spare
SLOT_BYTES = 64
MARK = 0x600D600D
GROWTH_BYTES = 16 << 20
PROBES = 64
LARGE_ENOUGH = 0.8  # of what is wanted; how large samples are was guessed from a few
MISSING: Any = object()


class Store:
    """`path` None: in memory that this process and its later children share. `capacity` bounds all of it, in bytes.

    `fingerprint`: 32 bytes that tell what the keys mean; a file with another is made anew.

    Raises:
        OSError: if the file can't be made.
        ValueError: if `capacity` is too small to hold anything.
    """

    def __init__(self, path: str | None, fingerprint: bytes, slots: int, capacity: int) -> None:
        capacity -= capacity % ALIGNMENT
        self.data_at = TABLE_AT + slots * SLOT_BYTES
        if capacity <= self.data_at:
            raise ValueError("there is no room for the table")
        self.path = path
        self.fingerprint = fingerprint
        self.slots = slots
        self.capacity = capacity
        self.full = False
        self.thread_lock = threading.Lock()
        self.pid = os.getpid()
        self.file = -1
        if path is None:
            self.lock_file = os.memfd_create("suffice")  # a lock needs a file, be it nowhere
            self.memory = mmap.mmap(-1, self.capacity)
            self._begin()
        else:
            self._open(path)
        self.checked = bytearray(self.slots)

    def _begin(self) -> None:
        LEVEL.pack_into(self.memory, LEVEL_AT, self.data_at, self.data_at if self.path else self.capacity, 0)
        header = HEADER.pack(MAGIC, self.fingerprint, self.slots, self.capacity, 0)[:-4]
        self.memory[: HEADER.size] = header + struct.pack("<I", zlib.crc32(header))

    def _open(self, path: str) -> None:
        self.lock_file = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with self._locked():
            try:
                self.file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                known = self._is_ours()
            except OSError:
                known = False
            if not known:
                self._make(path)
            fcntl.flock(self.file, fcntl.LOCK_SH)  # so that nobody clears away what is in use
            self.memory = mmap.mmap(self.file, self.capacity)
            if not known:
                self._begin()

    def _is_ours(self) -> bool:
        """Whether the file was made for the same, is whole and large enough, and has the blocks that it says it has."""
        header = os.pread(self.file, HEADER.size, 0)
        if len(header) < HEADER.size:
            return False
        magic, fingerprint, slots, capacity, total = HEADER.unpack(header)
        if (magic, fingerprint, total) != (MAGIC, self.fingerprint, zlib.crc32(header[:-4])):
            return False
        if os.fstat(self.file).st_size != capacity or capacity < LARGE_ENOUGH * self.capacity:
            return False
        filled, blocks, _ = LEVEL.unpack(os.pread(self.file, LEVEL.size, LEVEL_AT))
        data_at = TABLE_AT + slots * SLOT_BYTES
        if not data_at <= filled <= blocks <= capacity:
            return False
        os.posix_fallocate(self.file, 0, blocks)
        self.slots, self.capacity, self.data_at = slots, capacity, data_at
        return True

    def _make(self, path: str) -> None:
        draft = f"{path}.{os.getpid()}"
        if self.file >= 0:
            os.close(self.file)
        self.file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(self.file, self.capacity)
            os.posix_fallocate(self.file, 0, self.data_at)
            os.rename(draft, path)
        except OSError:
            os.unlink(draft)
            raise

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among the threads of this process, and among all processes."""
        if os.getpid() != self.pid:  # the child of a fork, during which another thread may have held it
            self.pid, self.thread_lock = os.getpid(), threading.Lock()
        with self.thread_lock:
            fcntl.lockf(self.lock_file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self.lock_file, fcntl.LOCK_UN)

    def get(self, key: bytes, reader: Reader) -> Any:
        """The value of that key of 16 bytes, or `MISSING`."""
        place = self.find(key)
        return MISSING if place is None else self.read(place, reader)

    def read(self, place: tuple[int, int], reader: Reader) -> Any:
        """The value at a place that was found; it stays there."""
        offset, text = place
        return reader.read(self.memory[offset : offset + text], self.memory, _aligned(offset + text))

    def find(self, key: bytes) -> tuple[int, int] | None:
        """Where the value of that key lies, or None."""
        slot = int.from_bytes(key[:8], "little") % self.slots
        for _ in range(PROBES):
            found, offset, text, size, total, mark, _ = SLOT.unpack_from(self.memory, TABLE_AT + slot * SLOT_BYTES)
            if mark != MARK:
                return None
            if found == key:
                end = _aligned(offset + text) + size
                return (offset, text) if self.checked[slot] or self._check(slot, offset, text, end, total) else None
            slot = (slot + 1) % self.slots
        return None

    def _check(self, slot: int, offset: int, text: int, end: int, total: int) -> bool:
        if not self.data_at <= offset < offset + text <= end <= self.capacity:
            return False
        with memoryview(self.memory)[offset:end] as whole:
            self.checked[slot] = zlib.crc32(whole) == total
        return bool(self.checked[slot])

    def put(self, key: bytes, draft: Draft) -> bool:
        """Keep the value, unless it is kept already or there is no room; whether it is kept now."""
        if self.full:
            return False
        try:
            with self._locked():
                return self._put(key, draft)
        except OSError:  # the disk is full
            self.full = True
            return False

    def _put(self, key: bytes, draft: Draft) -> bool:
        slot = int.from_bytes(key[:8], "little") % self.slots
        for _ in range(PROBES):
            found, *_, mark, _ = SLOT.unpack_from(self.memory, TABLE_AT + slot * SLOT_BYTES)
            if mark != MARK:
                break
            if found == key:
                return True
            slot = (slot + 1) % self.slots
        else:
            return False
        filled, blocks, entries = LEVEL.unpack_from(self.memory, LEVEL_AT)
        text = len(draft.text)
        parts = _aligned(filled + text)
        end = _aligned(parts + draft.size)
        if end > self.capacity or 2 * entries > self.slots:
            self.full = True
            return False
        if end > blocks:
            blocks = min(self.capacity, end + GROWTH_BYTES)
            os.posix_fallocate(self.file, filled, blocks - filled)
        self.memory[filled : filled + text] = draft.text
        self.memory[filled + text : parts] = bytes(parts - filled - text)
        draft.write(self.memory, parts)
        with memoryview(self.memory)[filled : parts + draft.size] as whole:
            total = zlib.crc32(whole)
        at = TABLE_AT + slot * SLOT_BYTES
        SLOT.pack_into(self.memory, at, key, filled, text, draft.size, total, 0, 0)
        LEVEL.pack_into(self.memory, LEVEL_AT, end, blocks, entries + 1)
        SLOT.pack_into(self.memory, at, key, filled, text, draft.size, total, MARK, 0)
        self.checked[slot] = True
        return True

    @property
    def entries(self) -> int:
        """How many values are kept."""
        return int(LEVEL.unpack_from(self.memory, LEVEL_AT)[2])

    @property
    def filled_bytes(self) -> int:
        """What they and the table take."""
        return int(LEVEL.unpack_from(self.memory, LEVEL_AT)[0])


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT
