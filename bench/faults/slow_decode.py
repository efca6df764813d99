"""`slow_decode.py SECONDS WORKERS CHANNELS`: large photos are decoded and made small whenever one is read."""

import sys

import torch
from parts import Photos, cnn, train
from torch.utils.data import DataLoader

if __name__ == "__main__":
    torch.set_num_threads(1)
    workers, channels = map(int, sys.argv[2:])
    train(cnn(channels), DataLoader(Photos(), batch_size=16, shuffle=True, num_workers=workers))
