"""An image classifier written for Accelerate, on a folder of JPEG files: python accelerate_images.py --data DIR.

In the manner of Accelerate's own cv_example. Some 30 s on two cores at the default length.
"""

import argparse
import math
import os
import re

import numpy as np
import PIL.Image
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, Dataset


def extract_label(fname):
    stem = fname.split(os.path.sep)[-1]
    return re.search(r"^(.*)_\d+\.jpg$", stem).groups()[0]


class Compose:
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, image):
        for transform in self.transforms:
            image = transform(image)
        return image


class RandomResizedCrop:
    def __init__(self, size, scale=(0.6, 1.0), ratio=(3 / 4, 4 / 3)):
        self.size, self.scale, self.ratio = size, scale, ratio

    def __call__(self, image):
        area = image.width * image.height
        for _ in range(10):
            target = area * torch.empty(1).uniform_(*self.scale).item()
            log_ratio = torch.log(torch.tensor(self.ratio))
            aspect = math.exp(torch.empty(1).uniform_(log_ratio[0], log_ratio[1]).item())
            w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
            if 0 < w <= image.width and 0 < h <= image.height:
                i = torch.randint(0, image.height - h + 1, size=(1,)).item()
                j = torch.randint(0, image.width - w + 1, size=(1,)).item()
                image = image.crop((j, i, j + w, i + h))
                break
        return image.resize((self.size, self.size), PIL.Image.Resampling.BILINEAR)


class Resize:
    def __init__(self, size):
        self.size = size

    def __call__(self, image):
        return image.resize((self.size, self.size), PIL.Image.Resampling.BILINEAR)


class ToTensor:
    def __call__(self, image):
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)


class ImageFiles(Dataset):
    def __init__(self, file_names, image_transform=None, label_to_id=None):
        self.file_names = file_names
        self.image_transform = image_transform
        self.label_to_id = label_to_id

    def __len__(self):
        return len(self.file_names)

    def __getitem__(self, idx):
        fname = self.file_names[idx]
        raw_image = PIL.Image.open(fname)
        image = raw_image.convert("RGB")
        if self.image_transform is not None:
            image = self.image_transform(image)
        label = extract_label(fname)
        if self.label_to_id is not None:
            label = self.label_to_id[label]
        return {"image": image, "label": label}


def conv_dw(inp, oup, stride):
    return nn.Sequential(
        nn.Conv2d(inp, inp, 3, stride, 1, groups=inp, bias=False),
        nn.BatchNorm2d(inp),
        nn.ReLU6(),
        nn.Conv2d(inp, oup, 1, 1, 0, bias=False),
        nn.BatchNorm2d(oup),
        nn.ReLU6(),
    )


def mobile_net(num_classes):
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU6(),
        conv_dw(16, 32, 1),
        conv_dw(32, 64, 2),
        conv_dw(64, 64, 1),
        conv_dw(64, 128, 2),
        conv_dw(128, 128, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, num_classes),
    )


def training_function(config, args):
    accelerator = Accelerator(cpu=True, mixed_precision="bf16" if args.by_hand == "bf16" else "no")
    lr, num_epochs, seed, batch_size = config["lr"], config["num_epochs"], config["seed"], config["batch_size"]
    image_size = config["image_size"]

    file_names = [os.path.join(args.data, fname) for fname in sorted(os.listdir(args.data)) if fname.endswith(".jpg")]
    all_labels = [extract_label(fname) for fname in file_names]
    id_to_label = sorted(set(all_labels))
    label_to_id = {lbl: i for i, lbl in enumerate(id_to_label)}
    set_seed(seed)

    # Split our filenames between train and validation
    random_perm = np.random.permutation(len(file_names))
    cut = int(0.8 * len(file_names))
    train_split, eval_split = random_perm[:cut], random_perm[cut:]
    train_tfm = Compose([RandomResizedCrop(image_size), ToTensor()])
    train_dataset = ImageFiles([file_names[i] for i in train_split], image_transform=train_tfm, label_to_id=label_to_id)
    eval_tfm = Compose([Resize(image_size), ToTensor()])
    eval_dataset = ImageFiles([file_names[i] for i in eval_split], image_transform=eval_tfm, label_to_id=label_to_id)

    workers = {"num_workers": os.cpu_count(), "persistent_workers": True} if args.by_hand == "workers" else {}
    train_dataloader = DataLoader(train_dataset, shuffle=True, batch_size=batch_size, **workers)
    eval_dataloader = DataLoader(eval_dataset, shuffle=False, batch_size=batch_size, **workers)

    model = mobile_net(num_classes=len(label_to_id))
    if args.by_hand == "compile":
        model = torch.compile(model)
    mean = torch.tensor([0.485, 0.456, 0.406])[None, :, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[None, :, None, None]
    optimizer = torch.optim.Adam(params=model.parameters(), lr=lr / 25)
    lr_scheduler = OneCycleLR(optimizer, max_lr=lr, epochs=num_epochs, steps_per_epoch=len(train_dataloader))
    model, optimizer, train_dataloader, eval_dataloader, lr_scheduler = accelerator.prepare(
        model, optimizer, train_dataloader, eval_dataloader, lr_scheduler
    )

    for epoch in range(num_epochs):
        model.train()
        total_loss = 0
        for batch in train_dataloader:
            inputs = (batch["image"] - mean) / std
            outputs = model(inputs)
            loss = nn.functional.cross_entropy(outputs, batch["label"])
            total_loss += loss.detach().float()
            accelerator.backward(loss)
            optimizer.step()
            lr_scheduler.step()
            optimizer.zero_grad()

        model.eval()
        accurate = 0
        num_elems = 0
        for batch in eval_dataloader:
            inputs = (batch["image"] - mean) / std
            with torch.no_grad():
                outputs = model(inputs)
            predictions = outputs.argmax(dim=-1)
            predictions, references = accelerator.gather_for_metrics((predictions, batch["label"]))
            accurate_preds = predictions == references
            num_elems += accurate_preds.shape[0]
            accurate += accurate_preds.long().sum()
        eval_metric = accurate.item() / num_elems
        accelerator.print(
            f"epoch {epoch}: loss {total_loss.item() / len(train_dataloader):.4f} accuracy: {100 * eval_metric:.2f}"
        )
    accelerator.save_model(model, args.output_dir)


def main():
    parser = argparse.ArgumentParser(description="Simple example of training script.")
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--output_dir", default="model")
    parser.add_argument("--by-hand", choices=["compile", "bf16", "workers"])
    args = parser.parse_args()
    config = {"lr": 1e-2, "num_epochs": args.epochs, "seed": 42, "batch_size": 32, "image_size": 64}
    training_function(config, args)


if __name__ == "__main__":
    main()
