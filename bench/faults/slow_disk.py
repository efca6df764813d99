"""Two workers read records of a file, from a disk that gives 4 MB/s to all of them together."""

import multiprocessing
import os
import tempfile
import time

import torch
from parts import mlp, train
from torch.utils.data import DataLoader, Dataset

RECORD, COUNT, BYTES_PER_S = 32 * 1024, 640, 4e6


class Records(Dataset):
    """Each record is read anew: the page cache is told to forget it."""

    def __init__(self, path):
        self.file = os.open(path, os.O_RDONLY)
        self.free_at_s = multiprocessing.Value("d", 0.0)

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        with self.free_at_s.get_lock():
            begins_s = max(time.monotonic(), self.free_at_s.value)
            self.free_at_s.value = begins_s + RECORD / BYTES_PER_S
        time.sleep(max(0.0, begins_s + RECORD / BYTES_PER_S - time.monotonic()))
        read = os.pread(self.file, RECORD, index * RECORD)
        os.posix_fadvise(self.file, index * RECORD, RECORD, os.POSIX_FADV_DONTNEED)
        return torch.frombuffer(bytearray(read[:3072]), dtype=torch.uint8).float() / 255, index % 10


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.NamedTemporaryFile() as file:
        file.write(os.urandom(RECORD * COUNT))
        file.flush()
        os.fsync(file.fileno())
        train(mlp(), DataLoader(Records(file.name), batch_size=16, shuffle=True, num_workers=2))
