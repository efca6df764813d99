"""Three workers share one archive, and take turns with its lock."""

import multiprocessing

import torch
from parts import burn, mlp, train
from torch.utils.data import DataLoader, Dataset


class Archive(Dataset):
    """Reading is safe for one process at a time."""

    def __init__(self):
        self.lock = multiprocessing.Lock()

    def __len__(self):
        return 2048

    def __getitem__(self, index):
        with self.lock:
            burn(0.006)
        return torch.full((3072,), index / 2048), index % 10


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(mlp(), DataLoader(Archive(), batch_size=8, shuffle=True, num_workers=3))
