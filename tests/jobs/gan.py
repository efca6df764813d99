"""Two optimisers a step, and a gradient scaler: a small GAN."""

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
torch.manual_seed(0)
generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
critic = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))
critic_optimiser = torch.optim.Adam(critic.parameters())
generator_optimiser = torch.optim.Adam(generator.parameters())
scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
loader = DataLoader(TensorDataset(torch.randn(320, 2)), batch_size=16)


def judged(samples, wanted):
    return functional.binary_cross_entropy_with_logits(critic(samples), torch.full((16, 1), wanted))


for (real,) in loader:
    fake = generator(torch.randn(16, 4))
    critic_loss = judged(real, 1.0) + judged(fake.detach(), 0.0)
    critic_optimiser.zero_grad()
    scaler.scale(critic_loss).backward()
    scaler.step(critic_optimiser)
    generator_loss = judged(fake, 1.0)
    generator_optimiser.zero_grad()
    scaler.scale(generator_loss).backward()
    scaler.step(generator_optimiser)
    scaler.update()
    print(f"losses {critic_loss.item():.6f} {generator_loss.item():.6f}")
