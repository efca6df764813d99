"""Each epoch spawns its workers anew, each of which imports torch again."""

import torch
from parts import Ready, as_it_is, cnn, train
from torch.utils.data import DataLoader

if __name__ == "__main__":
    torch.set_num_threads(1)
    data = Ready(50 * 16, 3, 32, 32)
    loader = DataLoader(
        data, batch_size=16, shuffle=True, num_workers=1, collate_fn=as_it_is, multiprocessing_context="spawn"
    )
    train(cnn(8), loader)
