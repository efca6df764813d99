"""A variational autoencoder on MNIST, in the manner of pytorch/examples: python vae.py --data DIR --epochs 30.

Some 30 s on two cores at the default length.
"""

import argparse
import os
from contextlib import nullcontext

import numpy as np
import torch
from PIL import Image
from torch import nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

parser = argparse.ArgumentParser(description="VAE MNIST Example")
parser.add_argument("--data", required=True)
parser.add_argument("--batch-size", type=int, default=128)
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--log-interval", type=int, default=10)
parser.add_argument("--out", default="results")
parser.add_argument("--by-hand", choices=["compile", "bf16", "workers"])


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
        img = Image.fromarray(self.data[index])
        return self.transform(img), int(self.targets[index])


def to_tensor(img):
    return torch.from_numpy(np.array(img)).unsqueeze(0).float().div(255)


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 400)
        self.fc21 = nn.Linear(400, 20)
        self.fc22 = nn.Linear(400, 20)
        self.fc3 = nn.Linear(20, 400)
        self.fc4 = nn.Linear(400, 784)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return mu + eps * std

    def decode(self, z):
        h3 = F.relu(self.fc3(z))
        return torch.sigmoid(self.fc4(h3))

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, 784))
        z = self.reparameterize(mu, logvar)
        return self.decode(z), mu, logvar


# Reconstruction + KL divergence losses summed over all elements and batch
def loss_function(recon_x, x, mu, logvar):
    BCE = F.binary_cross_entropy(recon_x, x.view(-1, 784), reduction="sum")
    KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return BCE + KLD


def train(epoch):
    model.train()
    train_loss = 0
    for batch_idx, (data, _) in enumerate(train_loader):
        optimizer.zero_grad()
        with autocast():
            recon_batch, mu, logvar = model(data)
            loss = loss_function(recon_batch, data, mu, logvar)
        loss.backward()
        train_loss += loss.item()
        optimizer.step()
        if batch_idx % args.log_interval == 0:
            print(f"Train Epoch: {epoch} [{batch_idx * len(data)}/{len(train_loader.dataset)}]\t"
                  f"Loss: {loss.item() / len(data):.6f}")  # fmt: skip
    print(f"====> Epoch: {epoch} Average loss: {train_loss / len(train_loader.dataset):.4f}")


def test(epoch):
    model.eval()
    test_loss = 0
    with torch.no_grad():
        for i, (data, _) in enumerate(test_loader):
            with autocast():
                recon_batch, mu, logvar = model(data)
                test_loss += loss_function(recon_batch, data, mu, logvar).item()
            if i == 0:
                n = min(data.size(0), 8)
                comparison = torch.cat([data[:n], recon_batch.float().view(-1, 1, 28, 28)[:n]])
                save_image(comparison, f"{args.out}/reconstruction_{epoch}.png", nrow=n)
    test_loss /= len(test_loader.dataset)
    print(f"====> Test set loss: {test_loss:.4f}")


def save_image(images, path, nrow):
    grid = images.view(-1, nrow, 28, 28).permute(0, 2, 1, 3).reshape(-1, nrow * 28)
    Image.fromarray(grid.mul(255).byte().numpy()).save(path)


if __name__ == "__main__":
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    os.makedirs(args.out, exist_ok=True)

    kwargs = {"num_workers": os.cpu_count(), "persistent_workers": True} if args.by_hand == "workers" else {}
    train_loader = DataLoader(
        MNIST(args.data, train=True, transform=to_tensor), batch_size=args.batch_size, shuffle=True, **kwargs
    )
    test_loader = DataLoader(
        MNIST(args.data, train=False, transform=to_tensor), batch_size=args.batch_size, shuffle=False, **kwargs
    )

    def autocast():
        return torch.autocast("cpu", dtype=torch.bfloat16) if args.by_hand == "bf16" else nullcontext()

    model = VAE()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    if args.by_hand == "compile":
        model = torch.compile(model)

    for epoch in range(1, args.epochs + 1):
        train(epoch)
        test(epoch)
        with torch.no_grad():
            sample = model.decode(torch.randn(64, 20))
            save_image(sample.view(64, 1, 28, 28), f"{args.out}/sample_{epoch}.png", nrow=8)
