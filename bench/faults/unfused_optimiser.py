"""Adam goes through four hundred small tensors one by one."""

import torch
from parts import Ready, as_it_is, mlp, train
from torch.utils.data import DataLoader

if __name__ == "__main__":
    model = mlp(48, 200, inputs=256)
    optimiser = torch.optim.Adam(model.parameters(), foreach=False, fused=False)
    train(model, DataLoader(Ready(6400, 256), batch_size=128, shuffle=True, collate_fn=as_it_is), optimiser)
