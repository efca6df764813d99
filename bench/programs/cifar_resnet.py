"""A residual network on 32x32 colour images, in the manner of pytorch-cifar: python cifar_resnet.py --data DIR --epochs 2.

Some 30 s on two cores at the default length.
"""

import argparse
import os
import pickle
from contextlib import nullcontext

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import nn, optim
from torch.utils.data import DataLoader, Dataset


class Compose:
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, img):
        for t in self.transforms:
            img = t(img)
        return img


class RandomCrop:
    def __init__(self, size, padding):
        self.size, self.padding = size, padding

    def __call__(self, img):
        img = ImageOps.expand(img, self.padding)
        i = torch.randint(0, img.height - self.size + 1, size=(1,)).item()
        j = torch.randint(0, img.width - self.size + 1, size=(1,)).item()
        return img.crop((j, i, j + self.size, i + self.size))


class RandomHorizontalFlip:
    def __call__(self, img):
        if torch.rand(1) < 0.5:
            return img.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return img


class ToTensor:
    def __call__(self, img):
        return torch.from_numpy(np.array(img)).permute(2, 0, 1).contiguous().float().div(255)


class Normalize:
    def __init__(self, mean, std):
        self.mean, self.std = mean, std

    def __call__(self, tensor):
        mean = torch.as_tensor(self.mean).view(-1, 1, 1)
        std = torch.as_tensor(self.std).view(-1, 1, 1)
        return tensor.clone().sub_(mean).div_(std)


class CIFAR(Dataset):
    def __init__(self, root, train, transform):
        with open(os.path.join(root, "data_batch_1" if train else "test_batch"), "rb") as f:
            entry = pickle.load(f, encoding="bytes")
        self.data = entry[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        self.targets = entry[b"labels"]
        self.transform = transform

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.data[index])), self.targets[index]


class BasicBlock(nn.Module):
    def __init__(self, in_planes, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != planes:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_planes, planes, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(planes)
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class ResNet(nn.Module):
    def __init__(self, num_blocks, num_classes=10):
        super().__init__()
        self.in_planes = 16
        self.conv1 = nn.Conv2d(3, 16, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._make_layer(16, num_blocks[0], stride=1)
        self.layer2 = self._make_layer(32, num_blocks[1], stride=2)
        self.layer3 = self._make_layer(64, num_blocks[2], stride=2)
        self.linear = nn.Linear(64, num_classes)

    def _make_layer(self, planes, num_blocks, stride):
        layers = []
        for s in [stride] + [1] * (num_blocks - 1):
            layers.append(BasicBlock(self.in_planes, planes, s))
            self.in_planes = planes
        return nn.Sequential(*layers)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        out = F.avg_pool2d(out, out.size(3)).flatten(1)
        return self.linear(out)


def train(epoch):
    net.train()
    train_loss, correct, total = 0, 0, 0
    for inputs, targets in trainloader:
        optimizer.zero_grad()
        with autocast():
            outputs = net(inputs)
            loss = criterion(outputs, targets)
        loss.backward()
        optimizer.step()

        train_loss += loss.item()
        _, predicted = outputs.max(1)
        total += targets.size(0)
        correct += predicted.eq(targets).sum().item()
    print(f"Epoch: {epoch} | Loss: {train_loss / len(trainloader):.3f} | Acc: {100.0 * correct / total:.3f}%")


def test(epoch):
    global best_acc
    net.eval()
    test_loss, correct, total = 0, 0, 0
    with torch.no_grad():
        for inputs, targets in testloader:
            with autocast():
                outputs = net(inputs)
                loss = criterion(outputs, targets)
            test_loss += loss.item()
            _, predicted = outputs.max(1)
            total += targets.size(0)
            correct += predicted.eq(targets).sum().item()
    acc = 100.0 * correct / total
    print(f"Test loss: {test_loss / len(testloader):.3f} | Test acc: {acc:.3f}%")
    if acc > best_acc:
        print("Saving..")
        os.makedirs("checkpoint", exist_ok=True)
        torch.save({"net": net.state_dict(), "acc": acc, "epoch": epoch}, "./checkpoint/ckpt.pth")
        best_acc = acc


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="PyTorch CIFAR Training")
    parser.add_argument("--data", required=True)
    parser.add_argument("--lr", default=0.1, type=float)
    parser.add_argument("--epochs", default=2, type=int)
    parser.add_argument("--seed", default=0, type=int)
    parser.add_argument("--by-hand", choices=["compile", "bf16", "workers"])
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    best_acc = 0

    normalize = Normalize((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    transform_train = Compose([RandomCrop(32, padding=4), RandomHorizontalFlip(), ToTensor(), normalize])
    transform_test = Compose([ToTensor(), normalize])
    workers = {"num_workers": os.cpu_count(), "persistent_workers": True} if args.by_hand == "workers" else {}
    trainset = CIFAR(args.data, train=True, transform=transform_train)
    trainloader = DataLoader(trainset, batch_size=32, shuffle=True, **workers)
    testset = CIFAR(args.data, train=False, transform=transform_test)
    testloader = DataLoader(testset, batch_size=100, shuffle=False, **workers)

    def autocast():
        return torch.autocast("cpu", dtype=torch.bfloat16) if args.by_hand == "bf16" else nullcontext()

    net = ResNet([1, 1, 1])
    if args.by_hand == "compile":
        net = torch.compile(net)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=args.lr, momentum=0.9, weight_decay=5e-4)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs)

    for epoch in range(args.epochs):
        train(epoch)
        test(epoch)
        scheduler.step()
