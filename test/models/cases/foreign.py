"""Models with operations that the native engine does not have: what `foreign/` holds for libtorch."""

import torch
from torch import nn
from torch.nn import functional as F

from .exported import Written, cond, drawn, while_loop


class Spectral(nn.Module):
    """A layer in the space of frequencies, as neural operators have them: its weight is complex."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, dtype=torch.complex64))
        self.register_buffer("few", torch.tensor([2, 1], dtype=torch.uint8))

    def forward(self, x):
        modes = torch.fft.rfft(x)[:, :3] * self.weight.to(torch.complex128 if x.dtype == torch.float64 else torch.complex64)
        return torch.fft.irfft(modes, n=4) * self.few[0] + x[:, : self.few[1]]


class Counting(nn.Module):
    """Each call leaves something behind in the module; a call of the program is the first one."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.tensor(1.0))
        self.register_buffer("order", torch.tensor([2, 0, 1]))

    def forward(self, x):
        self.calls.mul_(2)
        self.order.copy_(self.order.flip(0))
        return torch.lgamma(x)[:, self.order] * self.calls


class Choosing(nn.Module):
    """Control that depends on values, around such operations."""

    def forward(self, x):
        y = cond(x.sum() > 0, lambda x: torch.lgamma(x), lambda x: torch.sort(x, 0)[0] * x, (x,))
        z = while_loop(
            lambda i, z: (i < 3) & (z.abs().sum() < 50), lambda i, z: (i + 1, torch.lgamma(z + 1)), (torch.tensor(0), y)
        )
        return z[1]


def ranked(self, x):
    """Integers and truth values stand between."""
    values, places = torch.topk(x, 2, dim=1)
    order = torch.argsort(x, dim=1)
    best = F.one_hot(torch.argmax(x, dim=1), 3).to(x.dtype)
    return values * 2 + places, torch.gather(x * x, 1, order), (x * best).sum(1) + torch.searchsorted(self.edges, x).sum(1)


def rounded(self, x):
    return torch.floor(x) * x + torch.round(x * 3) * x * x + torch.frac(x) + torch.remainder(x, 0.7) + torch.special.i0e(x)


def inverted(self, x):
    """Not defined at zeros."""
    a = x.reshape(3, 3)
    return {"inverse": torch.linalg.inv(a), "solved": torch.linalg.solve(a + 4 * self.eye, x[:3]), "det": torch.logdet(a @ a.mT + self.eye)}


def special(self, x):
    return torch.lgamma(x + 3) + torch.erfinv(x * 0.1) + torch.logcumsumexp(x, 1) + torch.special.i0e(x) + torch.hypot(x, x + 5)


def counted(self, x):
    """Where a parameter is a float, torch.export keeps the int that the model gives."""
    y = F.smooth_l1_loss(x, torch.zeros_like(x), reduction="none", beta=2) + F.huber_loss(x * 3, torch.ones_like(x), reduction="none", delta=1)
    return torch.logaddexp(F.dropout(y, 1, training=False), x) + torch.renorm(x, 2, 0, 3)


def written(self, x):
    y = torch.zeros(2, 4, dtype=x.dtype)
    y.scatter_add_(1, self.places, x)
    y[:, 1:].mul_(2)
    x.lgamma_()
    return y.index_add(0, self.rows, x.new_ones(2, 4) * x[:, :1]).sin()


def windows(self, x):
    n = x.shape[0]
    spread = x.unfold(0, 2, 1).median(dim=-1)[0]
    return torch.lgamma(x) * n + x.new_full((n,), n // 2 + 1), spread.reshape(n - 1).lgamma()


def words(self, words, x):
    return torch.lgamma(self.table(words)) * x


def foreign():
    """(name, model, makers of the inputs by position, by keyword, dynamic shapes)."""
    w = Written
    cases = [
        ("ranked", lambda: w(ranked, edges=torch.tensor([-1.0, 0.0, 1.0])), [drawn(2, 3)], {}, None),
        ("rounded", lambda: w(rounded), [drawn(2, 3)], {}, None),
        ("inverted", lambda: w(inverted, eye=torch.eye(3)), [drawn(9)], {}, None),
        ("spectral", lambda: Spectral(), [drawn(2, 4)], {}, None),
        ("special", lambda: w(special), [drawn(2, 3)], {}, None),
        ("counted", lambda: w(counted), [drawn(2, 3)], {}, None),
        ("written", lambda: w(written, places=torch.tensor([[0, 1, 1], [3, 0, 2]]), rows=torch.tensor([1, 0])), [drawn(2, 3)], {}, None),
        ("counting", lambda: Counting(), [drawn(2, 3)], {}, None),
        ("choosing", lambda: Choosing(), [drawn(2, 3)], {}, None),
        ("windows_open", lambda: w(windows), [drawn(4)], {}, {"args": ({0: torch.export.Dim("n", min=3, max=9)},)}),
        ("words", lambda: w(words, table=nn.Embedding(5, 2)), [lambda: torch.tensor([3, 0, 3], dtype=torch.int32), drawn(2)], {}, None),
    ]  # fmt: skip
    return cases
