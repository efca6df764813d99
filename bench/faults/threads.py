"""`threads.py SECONDS [THREADS]`: a convolutional network computes with so many threads, else one a processor."""

import sys

import torch
from parts import Ready, as_it_is, cnn, train
from torch.utils.data import DataLoader

if __name__ == "__main__":
    if len(sys.argv) > 2:
        torch.set_num_threads(int(sys.argv[2]))
    model = cnn(32).to(memory_format=torch.channels_last)
    train(model, DataLoader(Ready(3200, 3, 32, 32), batch_size=64, shuffle=True, collate_fn=as_it_is))
