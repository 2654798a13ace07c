"""Trains the small networks of these tutorials: `python docs/tutorials/train.py` (torch 2.13.0).

reactor.pt   the yield of B in A -> B -> C (van de Vusse without the side reaction) in a batch of t hours at T kelvin,
             standardised inputs and output; reactor.json holds the means and deviations.
residual.pt  a residual network for the height of a tide in two ports, over hours and a wind, with blocks of a class of
             its own, `residual.Block`.
"""

import json
import pathlib
import sys
import types

import torch
from torch import nn

HERE = pathlib.Path(__file__).parent


class Block(nn.Module):
    """x + scale * inner(x)"""

    def __init__(self, width, scale):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.scale = scale

    def forward(self, x):
        return x + self.scale * self.inner(x)


sys.modules["residual"] = types.ModuleType("residual")
Block.__module__ = "residual"
sys.modules["residual"].Block = Block


def yield_of_b(hours, kelvin):
    k1 = 1.0 * torch.exp(-3000 * (1 / kelvin - 1 / 350))
    k2 = 0.2 * torch.exp(-6000 * (1 / kelvin - 1 / 350))
    return k1 / (k2 - k1) * (torch.exp(-k1 * hours) - torch.exp(-k2 * hours))


def tide(hours, wind):
    north = torch.sin(hours / 2) + 0.3 * wind
    south = 0.7 * torch.sin(hours / 2 - 1) + 0.2 * wind * torch.cos(hours / 4)
    return torch.stack([north, south], dim=1)


def fit(model, x, y, steps):
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optimiser.step()
        schedule.step()
    return loss.item()


def main():
    torch.set_num_threads(1)
    torch.manual_seed(1)
    hours, kelvin = 0.1 + 7.9 * torch.rand(4000), 330 + 40 * torch.rand(4000)
    x, y = torch.stack([hours, kelvin], dim=1), yield_of_b(hours, kelvin)[:, None]
    scaling = {"x_mean": x.mean(0), "x_deviation": x.std(0), "y_mean": y.mean(0), "y_deviation": y.std(0)}
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
    loss = fit(model, (x - x.mean(0)) / x.std(0), (y - y.mean(0)) / y.std(0), 2000)
    print("reactor", loss)
    torch.save(model, HERE / "reactor.pt")
    (HERE / "reactor.json").write_text(json.dumps({key: value.tolist() for key, value in scaling.items()}) + "\n")

    hours, wind = 12 * torch.rand(4000), 2 * torch.rand(4000) - 1
    model = nn.Sequential(nn.Linear(2, 12), Block(12, 0.5), Block(12, 0.5), nn.Linear(12, 2))
    print("residual", fit(model, torch.stack([hours, wind], dim=1), tide(hours, wind), 2000))
    torch.save(model, HERE / "residual.pt")


if __name__ == "__main__":
    main()
