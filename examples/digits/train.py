"""Train a small convolutional network to read handwritten digits from scanned pages: python train.py --epochs 5."""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

EXAMPLES = Path(__file__).resolve().parent.parent
SIZE = 64


def load_image(path):
    """One page as a small grey picture (1, SIZE, SIZE) of mean 0 and deviation 1."""
    with Image.open(path) as page:
        small = page.convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(small, dtype=np.float32))[None]
    return (pixels - pixels.mean()) / pixels.std()


def augment(image):
    """Turn by up to 12 degrees, shift by up to a tenth of the picture, change contrast and brightness a little."""
    angle = math.radians(torch.empty(()).uniform_(-12, 12).item())
    dx, dy = torch.empty(2).uniform_(-0.2, 0.2).tolist()
    move = torch.tensor([[[math.cos(angle), -math.sin(angle), dx], [math.sin(angle), math.cos(angle), dy]]])
    grid = nn.functional.affine_grid(move, [1, *image.shape], align_corners=False)
    image = nn.functional.grid_sample(image[None], grid, padding_mode="border", align_corners=False)[0]
    contrast, brightness = torch.empty(2).uniform_(-0.1, 0.1).tolist()
    return image * (1 + contrast) + brightness


class DigitPages(Dataset):
    def __init__(self, root, train):
        self.files = sorted(root.glob("*/*.jpg"))
        if not self.files:
            raise SystemExit(f"no pages in {root}: run prepare.py first, or say with --data where they are")
        self.labels = [int(path.parent.name) for path in self.files]
        self.train = train

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        image = load_image(self.files[index])
        if self.train:
            image = augment(image)
        return image, self.labels[index]


class DigitNet(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            *self.block(16, 32),
            *self.block(32, 64),
            *self.block(64, 128),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.1), nn.Linear(128, classes))

    @staticmethod
    def block(before, after):
        conv = nn.Conv2d(before, after, 3, padding=1, bias=False)
        return conv, nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)

    def forward(self, images):
        return self.classifier(self.features(images))


def train_one_epoch(model, loader, optimizer, scheduler):
    model.train()
    total = 0.0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        scheduler.step()
        total += loss.item() * len(labels)
    return total / len(loader.dataset)


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    correct = sum((model(images).argmax(1) == labels).sum().item() for images, labels in loader)
    return correct / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser(description="Train a small network to read handwritten digits from scanned pages.")
    parser.add_argument("--data", type=Path, default=EXAMPLES / "data" / "digits", help="folder that prepare.py wrote")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=5e-3, help="the highest learning rate of the schedule")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0, help="processes that load pages")
    parser.add_argument("--out", type=Path, default=EXAMPLES / "runs" / "digits.pt", help="where to save the model")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    train_set = DigitPages(args.data / "train", train=True)
    val_set = DigitPages(args.data / "val", train=False)
    train_loader = DataLoader(train_set, args.batch_size, shuffle=True, num_workers=args.workers)
    val_loader = DataLoader(val_set, args.batch_size, num_workers=args.workers)

    model = DigitNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=1e-2)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.epochs * len(train_loader))

    for epoch in range(1, args.epochs + 1):
        loss = train_one_epoch(model, train_loader, optimizer, scheduler)
        accuracy = evaluate(model, val_loader)
        print(f"epoch {epoch}/{args.epochs}  loss {loss:.4f}  val accuracy {accuracy:.4f}", flush=True)

    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), args.out)
    print(f"accuracy: {accuracy:.4f}", flush=True)


if __name__ == "__main__":
    main()
