"""Models that choose elements by their values or by their places, and what is made of other operations."""

import torch
from torch import nn
from torch.nn import functional as F


def extremes(self, x):
    """Maxima and minima over dimensions, and where they are."""
    values, places = x.max(dim=1, keepdim=True)
    best = x.gather(1, places) - x.amin((0, 2), keepdim=True)
    row = torch.arange(2)[:, None]
    nearest = x[row, x.argmin(1), torch.arange(4)]
    return values + best, x.amax((1, 2)), x.min(), x.max() - torch.max(x[0], x[1]), nearest, x.norm(p=float("inf"), dim=2)


def ordered(self, x):
    """Elements in order, and sums of the greatest ones."""
    sorted_, places = torch.sort(x, dim=1, descending=True)
    top = x.topk(2, dim=0)
    taken = torch.gather(self.table.expand(2, 4), 1, places)
    return sorted_.cumsum(1), taken * x, top[0], x.median(1).values, x.kthvalue(3, 1)[0], F.one_hot(x.argmax(1), 4) * x


def gathered(self, x):
    """Elements by known places."""
    x = x @ self.weight
    y = x[:, self.rows[:2], self.columns]
    return (
        y, x[..., self.mask], torch.take(x, self.rows), x.diagonal(0, 1, 2), x.unfold(2, 2, 1), torch.diag_embed(x[0, 0]),
        x.as_strided((2, 2), (5, 1), 3), torch.repeat_interleave(x, self.rows, dim=1), x.flip(0, 2), torch.tril(x[0]),
        x[:, :, ::2], torch.take_along_dim(x, self.rows.view(1, 3, 1), 2),
    )  # fmt: skip


def scattered(self, x):
    """Elements written to known places, also in place."""
    sums = torch.zeros(4, 3, dtype=x.dtype).index_add_(0, self.index, x)
    counted = torch.zeros(3, 3, dtype=x.dtype).scatter_add(0, self.index[:2, None].expand(-1, 3), x[1:])
    y = x.clone()
    y[:, 1:] *= 2.0
    y[self.index[:2], self.index[1:]] = x[0, :2]
    y[::2] += 1.0
    y.diagonal().mul_(3.0)
    y.narrow(1, 0, 2).mul_(0.5)
    y[y > 0.5] = 0.25
    z = x.index_put((self.index,), x * 2, accumulate=True).scatter(1, self.index[:, None], 5.0)
    return sums / sums.abs().add(1.0), counted, y, z, x.index_fill(1, self.index[:1], -1.0), x.index_copy(0, self.index[1:2], x[:1])


def copied(self, x):
    """Writing into copies, which `contiguous` makes of some views only."""
    y, z = x.t().contiguous(), x[:, 1:].contiguous()
    y[0] = 0.5
    z.mul_(2.0)
    same = x[1:].clone()
    same.contiguous().add_(1.0)
    return x.sin() + y.t(), z, same


def summed(self, a, b):
    """Einstein's sums with letters that stand twice, and with dots."""
    return (
        torch.einsum("ii", a[0]), torch.einsum("bii->bi", a), torch.einsum("...ij,jk->...ik", a, b[0]),
        torch.einsum("...i,...i", a, b), torch.einsum("bij,cjk->bik", a, b[:1]), torch.einsum("iij,j->i", a[:2, :2], b[0, 0]),
    )  # fmt: skip


def rounded(self, x):
    """Roundings, which count as constants."""
    return torch.floor(x) * x, torch.ceil(x * 2) + x, torch.trunc(x) * x, torch.round(x) * x, x % 0.7, torch.fmod(x, 0.3), torch.div(x, 0.4, rounding_mode="floor") * x


def detached(self, x):
    """Gradients that go past a rounding, a norm and a part without them; core ATen knows nothing of these."""
    with torch.no_grad():
        mean = x.mean(0)
    return (x + (torch.round(x) - x).detach()) ** 2, x / x.norm(dim=1, keepdim=True).detach() - mean


def multiplied(self, x):
    """Products along dimensions, powers, and what is computed without overflow."""
    p = x.sigmoid() + 0.5
    return (
        x.prod(1), x.prod(), torch.cumprod(p, 1), 2.0**x, p**x, x**self.powers, torch.logsumexp(x * 300, (0, 1)),
        torch.logsumexp(x, 1, keepdim=True), torch.cummax(x, 1)[0], x.clamp(p - 0.6, self.powers), torch.linalg.vector_norm(x, 3, 1),
    )  # fmt: skip


def composed(self, x):
    """Operations that have formulas."""
    p = x.sigmoid()
    a, b = torch.meshgrid(x[0], x[1], indexing="ij")
    return (
        torch.outer(x[0], x[1]), torch.hypot(x, p), torch.atan2(x, p - 0.5), torch.asinh(x), torch.acosh(p + 1.1), torch.erfc(x),
        torch.logit(p, eps=0.01), torch.special.ndtr(x), torch.logaddexp(x, p), torch.sinc(x), a * b,
        F.cosine_similarity(x, p), F.pairwise_distance(x, p), torch.addr(x @ x.T, x[:, 0], x[:, 1]),
        torch.hstack([x, p]), torch.column_stack([x[0], x[1]]), x.T.rot90(), torch.std_mean(x, 1)[0], x.diff(dim=1), torch.trace(x),
    )  # fmt: skip


class Positions(nn.Module):
    """Rotary positions, which traced code makes of the size of a dimension."""

    def forward(self, x):
        t = torch.arange(x.shape[1], dtype=x.dtype, device=x.device)
        rate = 1.0 / 100.0 ** (torch.arange(0, x.shape[2], 2, dtype=x.dtype) / x.shape[2])
        angle = torch.cat([torch.outer(t, rate)] * 2, dim=-1)
        a, b = x.chunk(2, dim=-1)
        return x * angle.cos() + torch.cat([-b, a], dim=-1) * angle.sin()


def with_integers(self, x, edges, kept):
    """Messages along edges, and a mask: inputs of integers and of bools."""
    h = x @ self.weight
    sums = torch.zeros_like(h).index_add(0, edges[1], h[edges[0]])
    count = torch.zeros(x.size(0), 1, dtype=x.dtype).scatter_add(0, edges[1][:, None], torch.ones(4, 1, dtype=x.dtype))
    return (sums / count.clamp(min=1)).masked_fill(~kept[:, None], 0.0), x[edges[0] // 2] * (edges[0] % 2)[:, None], x[kept]


def chosen(written, drawn):
    """(name, model, makers of the inputs by position, by keyword, dynamic shapes)."""
    w = written
    index = lambda *of: torch.tensor(of)
    edges = lambda: torch.tensor([[0, 1, 2, 2], [1, 2, 0, 1]])
    return [
        ("extremes", lambda: w(extremes), [drawn(2, 3, 4)], {}, None),
        ("ordered", lambda: w(ordered, table=torch.randn(4)), [drawn(2, 4)], {}, None),
        ("gathered", lambda: w(gathered, weight=nn.Parameter(torch.randn(2, 3)), rows=index(2, 0, 1), columns=index(1, 2), mask=index(1, 0, 1) > 0), [drawn(2, 3, 2)], {}, None),
        ("scattered", lambda: w(scattered, index=index(2, 0, 1)), [drawn(3, 3)], {}, None),
        ("copied", lambda: w(copied), [drawn(2, 4)], {}, None),
        ("summed", lambda: w(summed), [drawn(2, 3, 3), drawn(2, 3, 3)], {}, None),
        ("rounded", lambda: w(rounded), [drawn(2, 3)], {}, None),
        ("detached", lambda: w(detached), [drawn(2, 3)], {}, None),
        ("multiplied", lambda: w(multiplied, powers=torch.tensor([2.0, 3.0, 1.0])), [drawn(2, 3)], {}, None),
        ("composed", lambda: w(composed), [drawn(2, 2)], {}, None),
        ("positions", lambda: Positions(), [drawn(1, 3, 4)], {}, None),
        ("with_integers", lambda: w(with_integers, weight=nn.Parameter(torch.randn(2, 2))), [drawn(3, 2), edges, lambda: torch.tensor([True, False, True])], {}, None),
    ]  # fmt: skip
