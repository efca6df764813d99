"""Two workers wait 8 ms for each photo, and then decode it for about as long."""

import time

import torch
from parts import Photos, cnn, train
from torch.utils.data import DataLoader


class Fetched(Photos):
    """Photos that lie far away."""

    def __getitem__(self, index):
        time.sleep(0.008)
        return super().__getitem__(index)


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(cnn(4), DataLoader(Fetched(size=(800, 600)), batch_size=8, shuffle=True, num_workers=2))
