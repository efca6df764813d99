"""A loop over a loader with a planted limit: `loader.py sleep|burn|both|lock|light WORKERS`.

sleep: waits as for a slow network · burn: computes in Python
both: half and half · lock: workers take turns with one lock · light: next to nothing, so the model limits
"""

import multiprocessing
import sys
import time

import torch
from torch.utils.data import DataLoader, Dataset

what, workers = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
SAMPLE_S, SAMPLES = 0.02, 50


def burn(seconds: float) -> None:
    """By processor time: on a busy machine it takes longer, and is still work."""
    begun = time.thread_time()
    while time.thread_time() < begun + seconds:
        pass


class Samples(Dataset):
    def __init__(self) -> None:
        self.lock = multiprocessing.Lock()

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> torch.Tensor:
        if what == "sleep":
            time.sleep(SAMPLE_S)
        elif what == "burn":
            burn(SAMPLE_S)
        elif what == "both":
            burn(SAMPLE_S / 2)
            time.sleep(SAMPLE_S / 2)
        elif what == "lock":
            with self.lock:
                burn(SAMPLE_S)
        return torch.ones(8)


class Scale(torch.nn.Module):
    """No matrix product: nothing for suffice to compare with the machine's peak, which would take it a while."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(8))

    def forward(self, x):
        return self.scale * x


if __name__ == "__main__":
    model = Scale()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    for batch in DataLoader(Samples(), batch_size=2, num_workers=workers):
        loss = model(batch).mean()
        if what == "light":
            burn(0.05)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
