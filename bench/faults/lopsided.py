"""Sentences of 16 to 384 words: each batch is as long as its longest, and most are padding."""

import torch
from parts import Transformer, over
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Sentences(Dataset):
    """One sentence in four is long."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        short = torch.randint(16, 48, (2048,), generator=generator)
        long = torch.randint(256, 384, (2048,), generator=generator)
        self.lengths = torch.where(torch.rand(2048, generator=generator) < 0.25, long, short).tolist()

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, index):
        return torch.randint(1, 256, (self.lengths[index],))


def padded(sentences):
    """Zeros after what is shorter."""
    return nn.utils.rnn.pad_sequence(sentences, batch_first=True)


if __name__ == "__main__":
    model = Transformer(64, 2)
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    while not over():
        for tokens in DataLoader(Sentences(), batch_size=4, shuffle=True, collate_fn=padded):
            output = model(tokens[:, :-1])
            loss = nn.functional.cross_entropy(output.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=0)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            if over():
                break
