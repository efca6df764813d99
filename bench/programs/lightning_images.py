"""An image classifier written for Lightning, on MNIST: python lightning_images.py --data DIR --epochs 3.

Some 30 s on two cores at the default length.
"""

import argparse
import os

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, random_split
from torchmetrics.classification import MulticlassAccuracy


class MNIST(Dataset):
    def __init__(self, root, train, transform):
        name = "train" if train else "t10k"
        with open(os.path.join(root, f"{name}-images-idx3-ubyte"), "rb") as f:
            self.data = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 28, 28)
        with open(os.path.join(root, f"{name}-labels-idx1-ubyte"), "rb") as f:
            self.targets = np.frombuffer(f.read(), np.uint8, offset=8)
        self.transform = transform

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.data[index])), int(self.targets[index])


def to_tensor(img):
    tensor = torch.from_numpy(np.array(img)).unsqueeze(0).float().div(255)
    return (tensor - 0.1307) / 0.3081


def augment(img):
    angle = float(torch.empty(1).uniform_(-10.0, 10.0).item())
    return to_tensor(img.rotate(angle, resample=Image.Resampling.BILINEAR))


class MNISTDataModule(L.LightningDataModule):
    def __init__(self, data_dir, batch_size, loader_options):
        super().__init__()
        self.data_dir, self.batch_size, self.loader_options = data_dir, batch_size, loader_options

    def setup(self, stage=None):
        full = MNIST(self.data_dir, train=True, transform=augment)
        generator = torch.Generator().manual_seed(42)
        self.mnist_train, self.mnist_val = random_split(full, [0.9, 0.1], generator=generator)
        self.mnist_test = MNIST(self.data_dir, train=False, transform=to_tensor)

    def train_dataloader(self):
        return DataLoader(self.mnist_train, batch_size=self.batch_size, shuffle=True, **self.loader_options)

    def val_dataloader(self):
        return DataLoader(self.mnist_val, batch_size=self.batch_size, **self.loader_options)

    def test_dataloader(self):
        return DataLoader(self.mnist_test, batch_size=self.batch_size, **self.loader_options)


class LitClassifier(L.LightningModule):
    def __init__(self, lr=1e-3):
        super().__init__()
        self.save_hyperparameters()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)
        self.val_acc = MulticlassAccuracy(num_classes=10, average="micro")
        self.test_acc = MulticlassAccuracy(num_classes=10, average="micro")

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = self.dropout1(F.max_pool2d(x, 2))
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return F.log_softmax(self.fc2(self.dropout2(x)), dim=1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.nll_loss(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        self.val_acc(logits, y)
        self.log("val_loss", F.nll_loss(logits, y), prog_bar=True)
        self.log("val_acc", self.val_acc, prog_bar=True)

    def test_step(self, batch, batch_idx):
        x, y = batch
        self.test_acc(self(x), y)
        self.log("test_acc", self.test_acc)

    def on_train_epoch_end(self):
        loss = self.trainer.callback_metrics["train_loss"]
        self.print(f"epoch {self.current_epoch}: loss of the last batch {loss:.4f}")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--out", default=".")
    parser.add_argument("--by-hand", choices=["compile", "bf16", "workers"])
    args = parser.parse_args()

    L.seed_everything(args.seed, workers=True)
    workers = {"num_workers": os.cpu_count(), "persistent_workers": True} if args.by_hand == "workers" else {}
    dm = MNISTDataModule(args.data, args.batch_size, workers)
    model = LitClassifier()
    if args.by_hand == "compile":
        model = torch.compile(model)
    trainer = L.Trainer(
        max_epochs=args.epochs,
        accelerator="cpu",
        devices=1,
        precision="bf16-mixed" if args.by_hand == "bf16" else "32-true",
        default_root_dir=args.out,
    )
    trainer.fit(model, datamodule=dm)
    (result,) = trainer.test(model, datamodule=dm)
    print(f"test accuracy: {result['test_acc']:.4f}")
