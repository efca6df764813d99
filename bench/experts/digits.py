"""examples/digits/train.py, tuned by hand: what an engineer who knows the job reaches with the same draws.

Each page is decoded once and kept, for validation too; the network lies channels-last, the optimiser is fused; loss and
batches are summed up without reading each one. With --batched the augmentation is drawn and done for a whole batch,
which draws other random numbers than the original.
"""

import argparse
import math
import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "digits"))
from train import SIZE, DigitNet, DigitPages, augment, evaluate, load_image


class KeptPages(DigitPages):
    """The pages, decoded at their first use."""

    def __init__(self, root, train, batched):
        super().__init__(root, train)
        self.kept = torch.empty(len(self.files), 1, SIZE, SIZE)
        self.filled = [False] * len(self.files)
        self.batched = batched

    def image(self, index):
        if not self.filled[index]:
            self.kept[index] = load_image(self.files[index])
            self.filled[index] = True
        return self.kept[index]

    def __getitem__(self, index):
        image = self.image(index)
        return (augment(image) if self.train and not self.batched else image), self.labels[index]


def augment_batch(images):
    """The augmentation of the original, of all images at once."""
    n = len(images)
    angle = torch.empty(n).uniform_(math.radians(-12), math.radians(12))
    shift = torch.empty(n, 2).uniform_(-0.2, 0.2)
    cos, sin = angle.cos(), angle.sin()
    move = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    grid = nn.functional.affine_grid(move, list(images.shape), align_corners=False)
    images = nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    light = torch.empty(n, 2).uniform_(-0.1, 0.1)
    return images * (1 + light[:, :1, None, None]) + light[:, 1:, None, None]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batched", action="store_true")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    train_set = KeptPages(args.data / "train", True, args.batched)
    val_set = KeptPages(args.data / "val", False, args.batched)
    train_loader = DataLoader(train_set, args.batch_size, shuffle=True)
    val_loader = DataLoader(val_set, args.batch_size)
    model = DigitNet().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=1e-2, fused=True)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.epochs * len(train_loader))
    for epoch in range(1, args.epochs + 1):
        model.train()
        total = torch.zeros(())
        for images, labels in train_loader:
            batch = augment_batch(images) if args.batched else images
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch), labels)
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.detach() * len(labels)
        accuracy = evaluate(model, val_loader)
        print(
            f"epoch {epoch}/{args.epochs}  loss {total / len(train_set):.4f}  val accuracy {accuracy:.4f}", flush=True
        )
    print(f"accuracy: {accuracy:.4f}", flush=True)


if __name__ == "__main__":
    main()
