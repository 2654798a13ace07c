"""Models with a forward of their own: what `exported/` holds as programs of torch.export."""

import collections
import warnings

import torch
from torch import nn
from torch.nn import functional as F

from cases.chosen import chosen as cases_of_choice

Dim = torch.export.Dim
Two = collections.namedtuple("Two", "sum product")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch.utils._pytree._register_namedtuple(Two, serialized_type_name="cases.exported.Two")


def drawn(*shape):
    return lambda: torch.randn(shape, dtype=torch.float64)


class Written(nn.Module):
    """A forward as a function of the module and its inputs."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.written = forward
        for name, part in parts.items():
            if isinstance(part, nn.Module):
                setattr(self, name, part)
            elif isinstance(part, nn.Parameter):
                self.register_parameter(name, part)
            else:
                self.register_buffer(name, part)

    def forward(self, *args, **kwargs):
        return self.written(self, *args, **kwargs)


def trained(model):
    """Normalisations that have seen data, so that their statistics are not 0 and 1."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.normal_(0.0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    return model


class Residual(nn.Module):
    """What ResNets and their kin consist of, in place where torchvision is."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3)
        self.conv2, self.bn2 = nn.Conv2d(3, 3, 3, padding=1, groups=3), nn.BatchNorm2d(3)
        self.down = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
        self.relu, self.pool, self.head = nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Linear(3, 2)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.down(x)
        y = self.pool(self.relu(y))
        return self.head(F.dropout(torch.flatten(y, 1), 0.5, self.training))


class Squeeze(nn.Module):
    """An inverted bottleneck with squeeze and excitation, as MobileNetV3, EfficientNet and RegNet have it."""

    def __init__(self):
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4), nn.SiLU(inplace=True))
        self.depth = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.SiLU(inplace=True))
        self.fc1, self.fc2 = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)
        self.project = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        y = self.depth(self.expand(x))
        scale = F.adaptive_avg_pool2d(y, 1)
        scale = torch.sigmoid(self.fc2(F.relu(self.fc1(scale))))
        return x + self.project(scale * y)


class Shuffle(nn.Module):
    """ShuffleNetV2's unit."""

    def __init__(self):
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.Tanh())

    def forward(self, x):
        a, b = x.chunk(2, dim=1)
        y = torch.cat((a, self.branch(b)), dim=1)
        n, c, h, w = y.size()
        y = y.view(n, 2, c // 2, h, w)
        return torch.transpose(y, 1, 2).contiguous().view(n, c, h, w).mean([2, 3])


def without_gradients(self, x):
    """A part in which torch records no gradients: a graph of its own in the program."""
    with torch.no_grad():
        scale = torch.sigmoid(self.scale) * 2
    return x * scale + scale.sum()


def sizes(self, x):
    """What is computed with sizes that are left open."""
    n, c, h = x.shape
    y = x.reshape(n, c * h).view(n, h, c)
    return (y.transpose(1, 2) + x * n).flatten(1) / (x.size(0) + 1) + torch.arange(c * h) * x.numel()


class Branches(nn.Module):
    """Branches that are concatenated, as in GoogLeNet, Inception, DenseNet and SqueezeNet."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 2, (1, 3), padding=(0, 1)), nn.Conv2d(2, 1, 1)

    def forward(self, x):
        y = [F.relu(self.a(x), inplace=True), self.b(F.max_pool2d(x, 3, stride=1, padding=1, ceil_mode=True))]
        y.append(F.avg_pool2d(x, kernel_size=3, stride=1, padding=1))
        y = torch.cat(y, 1)
        return F.max_pool2d(y, kernel_size=2).sum((2, 3), keepdim=True)


class ConvNext(nn.Module):
    """ConvNeXt's block: channels last, LayerNorm, GELU, a scale for each channel."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1, groups=3), nn.LayerNorm(3, eps=1e-6)
        self.up, self.down, self.scale = nn.Linear(3, 5), nn.Linear(5, 3), nn.Parameter(torch.randn(3, 1, 1))

    def forward(self, x):
        y = torch.permute(self.conv(x), [0, 2, 3, 1])
        y = self.down(F.gelu(self.up(self.norm(y))))
        return x + self.scale * torch.permute(y, [0, 3, 1, 2])


class Patches(nn.Module):
    """ViT: patches, a class token, positions, an encoder."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 2, stride=2)
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, 4)), nn.Parameter(torch.randn(1, 5, 4))
        self.attention, self.norm = nn.MultiheadAttention(4, 2, batch_first=True), nn.LayerNorm(4)

    def forward(self, x):
        n = x.shape[0]
        y = self.conv(x).reshape(n, 4, 4).permute(0, 2, 1)
        y = torch.cat([self.token.expand(n, -1, -1), y], dim=1) + self.positions
        y, _ = self.attention(self.norm(y), self.norm(y), self.norm(y), need_weights=False)
        return y[:, 0]


class Windows(nn.Module):
    """Swin's shifted windows with a relative position bias and a mask, which is written in place into zeros."""

    def __init__(self):
        super().__init__()
        self.qkv, self.project = nn.Linear(2, 6), nn.Linear(2, 2)
        self.table = nn.Parameter(torch.randn(9, 1))
        coordinates = torch.stack(torch.meshgrid(torch.arange(2), torch.arange(2), indexing="ij")).flatten(1)
        relative = (coordinates[:, :, None] - coordinates[:, None, :]).permute(1, 2, 0) + 1
        self.register_buffer("index", relative[:, :, 0] * 3 + relative[:, :, 1])

    def forward(self, x):
        b, h, w, c = x.shape
        x = F.pad(x, (0, 0, 0, 4 - w, 0, 4 - h))
        x = torch.roll(x, shifts=(-1, -1), dims=(1, 2))
        x = x.view(b, 2, 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(b * 4, 4, c)
        qkv = self.qkv(x).reshape(b * 4, 4, 3, 1, c).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        scores = (q * c**-0.5).matmul(k.transpose(-2, -1))
        scores = scores + self.table[self.index.view(-1)].view(4, 4, 1).permute(2, 0, 1).contiguous().unsqueeze(0)
        mask = x.new_zeros((4, 4))
        count = 0
        for rows in ((0, -2), (-2, -1), (-1, None)):
            for columns in ((0, -2), (-2, -1), (-1, None)):
                mask[rows[0] : rows[1], columns[0] : columns[1]] = count
                count += 1
        mask = mask.view(2, 2, 2, 2).permute(0, 2, 1, 3).reshape(4, 4)
        mask = mask.unsqueeze(1) - mask.unsqueeze(2)
        mask = mask.masked_fill(mask != 0, float(-100.0)).masked_fill(mask == 0, float(0.0))
        scores = scores.view(b, 4, 1, 4, 4) + mask.unsqueeze(1).unsqueeze(0)
        y = F.softmax(scores.view(-1, 1, 4, 4), dim=-1).matmul(v).transpose(1, 2).reshape(b * 4, 4, c)
        y = F.dropout(self.project(y), p=0.1, training=self.training)
        y = y.view(b, 2, 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(b, 4, 4, c)
        return torch.roll(y, shifts=(1, 1), dims=(1, 2))[:, :h, :w, :].contiguous()


def cosine_attention(self, x):
    """SwinV2's: directions, and a learned scale with a limit."""
    scale = torch.clamp(self.scale, max=4.0).exp()
    direction = F.normalize(x, dim=-1)
    return F.softmax(direction @ direction.transpose(-2, -1) * scale, dim=-1)


def einsums(self, x, y):
    """MaxViT's, and other kinds."""
    attention = torch.einsum("B G H I D, B G H J D -> B G H I J", x, y)
    outer = torch.einsum("bghid,bghjd->bijgh", x, y)
    trace = torch.einsum("bghid,bghid->b", x, y)
    linear = torch.einsum("oi,bghdi->bghdo", self.weight, torch.swapaxes(x, -2, -3))
    return attention.sum() + outer[:, 0].sum() * trace, linear.sum((1, 2, 3))


def activations(self, x):
    return torch.stack([
        F.relu(x), F.relu6(x * 4), torch.sigmoid(x), torch.tanh(x), F.silu(x), F.gelu(x), F.gelu(x, approximate="tanh"),
        F.elu(x, alpha=0.7), F.selu(x), F.celu(x, alpha=0.6), F.leaky_relu(x, 0.2), F.hardtanh(x, -0.5, 0.7),
        F.hardshrink(x, 0.3), F.softshrink(x, 0.2), F.softplus(x, 2.0, 3.0), F.softsign(x), F.tanhshrink(x),
        F.threshold(x, 0.1, -1.0), F.mish(x), F.logsigmoid(x), torch.abs(x), torch.exp(x), torch.neg(x), torch.square(x),
        F.prelu(x, self.slope), F.glu(torch.cat([x, x * x], -1)), F.softmin(x, 0), F.log_softmax(x, -1),
    ])  # fmt: skip


def arithmetic(self, x, y):
    p = x.abs() + 0.5
    return torch.cat([
        x + y, torch.add(x, y, alpha=2), x - y, torch.sub(x, y, alpha=0.5), 3 - x, x * y, x * 2.5, x / p, x / 4, 1 / p, -x,
        x**2, x**3, p**0.5, p**-1.5, p.sqrt(), p.rsqrt(), p.log(), p.reciprocal(), p.log2(), torch.maximum(x, y),
        torch.minimum(x, y), x.clamp(-0.5, 0.5), x.clamp(min=0.1), x.clamp(max=float("inf")), torch.rsub(x, y, alpha=3),
        torch.where(self.mask, x, y), torch.where(self.mask, x, float("-1")), x.masked_fill(self.mask, 7.0), x.clone().fill_(1.5) * y,
        torch.addcmul(x, y, y, value=0.5), torch.addcdiv(x, y, p), torch.lerp(x, y, 0.3), x * y.new_ones(3) + torch.zeros_like(x) - torch.full((1, 3), 0.25), torch.arange(3) * y, x.add(y).mul_(2.0),
    ])  # fmt: skip


def shapes(self, x):
    a = x.reshape(2, -1).unsqueeze(0).expand(3, -1, -1)
    b = x.view(3, 4).t()[1:, ::2].flatten()
    c = torch.stack(x.split([1, 2, 1], dim=1)[1].unbind(1), dim=-1).movedim(0, 1)
    d = x.permute(2, 0, 1).squeeze(1).narrow(1, 1, 2).repeat(1, 2)
    e = x.index_select(1, self.index).flip(-1)[:, [2, 0]]
    f = torch.cat([part * i for i, part in enumerate(x.tensor_split(2, dim=2))], dim=2).swapaxes(0, 2).unflatten(1, (2, 2))
    g = F.pad(x, (1, 0), mode="reflect").select(0, 0) + F.pad(x, (1, 0), value=2.0).mT[0, 1]
    return {"a": (a, b), "c": [c, d], "e": e * e, "f": f.tanh(), "g": g}


def reductions(self, x):
    return torch.cat([
        t.flatten()
        for t in (
            x.sum(), x.sum(1), x.sum((0, 2), keepdim=True), x.mean(), x.mean(-1, keepdim=True), x.var(1), x.std(-1, unbiased=False),
            x.norm(dim=1), torch.linalg.vector_norm(x, ord=1), x.cumsum(1), torch.var_mean(x, 2)[1], x.softmax(1), x[0, 0],
        )
    ])  # fmt: skip


def written_in_place(self, x):
    """Views that see what is written into others, and tensors of which a part is replaced."""
    y = x * 1.5
    view = y.view(-1)
    first = y[:, 0]
    y.neg_()
    before = view.clone()
    y[:, 1].mul_(3.0)
    y[0:1, 1:3] = self.patch
    y.t()[2].add_(first)
    row = y.select(0, 1)
    row.zero_()
    return before, view * y.transpose(0, 1).reshape(-1), first


def normalised(self, x):
    y = self.group(x) + F.instance_norm(x, eps=2**-16) + F.batch_norm(x, None, None, training=True, eps=2**-16)
    return F.layer_norm(F.rms_norm(y, (3,), self.weight, eps=0.25), (4, 3), eps=2**-10)


def resized(self, x):
    return (
        F.interpolate(x, scale_factor=2.0, mode="nearest"),
        F.interpolate(x, size=(3, 5), mode="bilinear", align_corners=True),
        F.interpolate(x, scale_factor=(1.5, 2.0), mode="bicubic"),
        F.pixel_shuffle(x, 2),
        F.channel_shuffle(x, 2),
        F.conv_transpose2d(x, self.weight, stride=2, padding=1, output_padding=1),
    )


def recurrent(kind, **kwargs):
    return lambda: kind(2, 3, **kwargs)


def residual_attention(causal=False, mask=None):
    def forward(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask, is_causal=causal)

    return lambda: Written(forward, mask=mask)


def encoder(**kwargs):
    layer = lambda: nn.TransformerEncoderLayer(4, 2, 6, batch_first=True, **kwargs)
    return lambda: nn.TransformerEncoder(layer(), 1, enable_nested_tensor=False)


def compared(self, x, y):
    """Comparisons, truth values and choices of computed values."""
    between = (x > y) & ~(x >= 1.0) | (x.sum() == 0)
    return (
        torch.where(between, x * y, x - y),
        torch.where((x < 0) ^ (y <= 0), x.exp(), 0.5),
        torch.where(x.abs().sum(1, keepdim=True) != 0, y, x),
        x.masked_fill(y > 0.25, -2.0) + (x > 0) * y + (y < x).float(),
        x * (y > 0).any() + y * (x > -9).all(1, keepdim=True) + (x > 0).sum(0) * x,
        torch.sign(x) * y + torch.log1p(x.square()) + torch.expm1(y) + torch.erf(x),
        torch.where(torch.isnan(x), y, torch.where(torch.isinf(y), x, y.clamp(min=0) + x)),
        x > y,
    )


class Curves(nn.Module):
    """Trigonometric functions and their kin, and a bilinear layer."""

    def __init__(self):
        super().__init__()
        self.pair = nn.Bilinear(3, 3, 2)

    def forward(self, x, y):
        angles = torch.stack([torch.sin(x * 3), torch.cos(x), torch.tan(x / 4), torch.atan(x), torch.asin(x / 5), torch.acos(x / 5)])
        return angles, torch.stack([torch.sinh(y), torch.cosh(y), torch.atanh(y / 5)]), self.pair(x, torch.tanh(y))


def cond(holds, taken, other, given):
    """torch.cond where a program is made, else Python's own, which has every derivative."""
    return torch.cond(holds, taken, other, given) if torch.compiler.is_exporting() else (taken if holds else other)(*given)


def while_loop(condition, body, given):
    if torch.compiler.is_exporting():
        return torch._higher_order_ops.while_loop(condition, body, given)
    while condition(*given):
        given = body(*given)
    return given


class Controlled(nn.Module):
    """Branches as values decide, of which both are taken, one within another, and one that reads no input."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.scale = nn.Linear(3, 2), nn.Linear(3, 2, bias=False), nn.Parameter(torch.tensor(0.5))

    def forward(self, x, y):
        def taken(x, y):
            return torch.tanh(self.first(x)) * y.sum(), torch.sqrt(y.square() + 1), x.sum() > 0

        def other(x, y):
            inner = cond(y.sum() > 0, lambda y: y * self.scale, lambda y: y.exp(), (y,))
            return self.second(x * x), inner, x.sum() > 1

        above, below = x.sum() > 0, x.sum() <= 0
        a, b, m = cond(above, taken, other, (x, y))
        c, d, n = cond(below, taken, other, (x, y))
        return a * c, b + torch.where(m, d, -d), n.float()


class Looped(nn.Module):
    """A loop of which values decide the turns, one of which the number is known, and one that takes none."""

    def __init__(self):
        super().__init__()
        self.step = nn.Linear(3, 3)

    def forward(self, x, y):
        count = torch.tensor(0)

        def turn(i, x):
            return i + 1, x + torch.sigmoid(self.step(x)) * y

        i, x = while_loop(lambda i, x: x.square().sum() < 60.0, turn, (count, x))
        three, z = while_loop(lambda i, z: i < 3, lambda i, z: (i + 1, torch.tanh(z) * 2), (count, y))
        _, none = while_loop(lambda i, z: (z.sum() > 1e9) & (i < 9), turn, (count, z))
        return x, z * three, none, i * y


class Tied(nn.Module):
    """Weights that share memory: one twice, one transposed, a part of one, one with gaps, one repeated."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3, bias=False)
        self.b.weight = self.a.weight
        self.c.weight = nn.Parameter(self.a.weight.detach().t())
        whole = torch.randn(4, 6)
        self.part, self.gaps = nn.Parameter(whole[1:4, 0:3]), nn.Parameter(whole[::2, 1::2])
        self.register_buffer("repeated", torch.randn(3, 1).expand(3, 3))
        self.register_buffer("free", torch.randn(3), persistent=False)
        self.constant = torch.tensor([1.5, -2.0, 0.25])

    def forward(self, x):
        y = torch.tanh(self.c(self.b(self.a(x)))) @ self.part + self.free
        return y @ self.repeated + (y * self.constant) @ self.gaps.t() @ self.gaps


def exported():
    """(name, model, makers of the inputs by position, by keyword, dynamic shapes)."""
    w = Written
    batch = {0: Dim("batch", min=1, max=64)}
    cases = [
        ("residual", lambda: trained(Residual()), [drawn(1, 2, 4, 4)], {}, None),
        ("residual_open", lambda: trained(Residual()), [drawn(3, 2, 4, 4)], {}, {"x": batch}),
        ("squeeze", lambda: trained(Squeeze()), [drawn(1, 2, 3, 4)], {}, None),
        ("shuffle", lambda: trained(Shuffle()), [drawn(2, 4, 2, 3)], {}, None),
        ("shuffle_open", lambda: trained(Shuffle()), [drawn(3, 4, 2, 2)], {}, {"x": batch}),
        ("sizes_open", lambda: w(sizes), [drawn(3, 2, 2)], {}, {"args": (batch,)}),
        ("without_gradients", lambda: w(without_gradients, scale=torch.randn(3)), [drawn(2, 3)], {}, None),
        ("branches", lambda: Branches(), [drawn(1, 2, 5, 4)], {}, None),
        ("convnext", lambda: ConvNext(), [drawn(1, 3, 3, 4)], {}, None),
        ("patches", lambda: Patches(), [drawn(2, 1, 4, 4)], {}, None),
        ("windows", lambda: Windows(), [drawn(1, 3, 4, 2)], {}, None),
        ("cosine_attention", lambda: w(cosine_attention, scale=nn.Parameter(torch.tensor(1.3))), [drawn(2, 3, 2)], {}, None),
        ("einsums", lambda: w(einsums, weight=nn.Parameter(torch.randn(3, 2))), [drawn(1, 2, 2, 3, 2), drawn(1, 2, 2, 3, 2)], {}, None),
        ("activations", lambda: w(activations, slope=nn.Parameter(torch.tensor([0.3]))), [drawn(3, 4)], {}, None),
        ("hard", lambda: w(lambda self, x: F.hardsigmoid(F.hardtanh(x * 2)) + F.hardsigmoid(x, inplace=False)), [drawn(2, 3)], {}, None),
        ("arithmetic", lambda: w(arithmetic, mask=torch.tensor([[True], [False]])), [drawn(2, 3), drawn(2, 3)], {}, None),
        ("shapes", lambda: w(shapes, index=torch.tensor([3, 0, 0])), [drawn(1, 4, 3)], {}, None),
        ("reductions", lambda: w(reductions), [drawn(2, 3, 4)], {}, None),
        ("written_in_place", lambda: w(written_in_place, patch=torch.tensor([0.5, -4.0])), [drawn(3, 3)], {}, None),
        ("normalised", lambda: w(normalised, group=nn.GroupNorm(2, 4, eps=2**-16), weight=nn.Parameter(torch.randn(3))), [drawn(2, 4, 3)], {}, None),
        ("resized", lambda: w(resized, weight=nn.Parameter(torch.randn(4, 2, 3, 3))), [drawn(1, 4, 2, 3)], {}, None),
        ("tied", lambda: Tied(), [drawn(2, 3)], {}, None),
        ("attention", residual_attention(), [drawn(1, 2, 3, 2), drawn(1, 2, 4, 2), drawn(1, 2, 4, 3)], {}, None),
        ("attention_causal", residual_attention(causal=True), [drawn(2, 3, 2)] * 3, {}, None),
        ("attention_masked", residual_attention(mask=torch.tensor([[True, False, True], [True, True, True]])), [drawn(2, 2), drawn(3, 2), drawn(3, 2)], {}, None),
        # Nothing is open to the second query, and a mask of the user's own is added.
        ("attention_closed", residual_attention(mask=torch.tensor([[True, False, True], [False, False, False]])), [drawn(2, 2), drawn(3, 2), drawn(3, 2)], {}, None),
        ("masked_scores", lambda: w(lambda self, x: (x.masked_fill(self.mask, float("-inf")).softmax(-1), (x + self.mask.float() * -3).log_softmax(0)), mask=torch.tensor([[False, True], [False, False]])), [drawn(3, 2, 2)], {}, None),
        ("multihead", lambda: nn.MultiheadAttention(4, 2), [drawn(3, 1, 4), drawn(2, 1, 4), drawn(2, 1, 4)], {}, None),
        ("encoder", encoder(), [drawn(2, 3, 4)], {}, None),
        ("encoder_first", encoder(norm_first=True, activation="gelu"), [drawn(1, 3, 4)], {}, None),
        ("lstm", recurrent(nn.LSTM, num_layers=2, batch_first=True), [drawn(2, 3, 2)], {}, None),
        ("lstm_both_ways", recurrent(nn.LSTM, bidirectional=True), [drawn(3, 2, 2)], {}, None),
        ("gru", recurrent(nn.GRU, num_layers=2, bias=False), [drawn(3, 1, 2)], {}, None),
        ("gru_both_ways", recurrent(nn.GRU, bidirectional=True, batch_first=True), [drawn(2, 2, 2)], {}, None),
        ("rnn", recurrent(nn.RNN), [drawn(3, 2, 2), drawn(1, 2, 3)], {}, None),
        ("rnn_relu", recurrent(nn.RNN, nonlinearity="relu"), [drawn(3, 2)], {}, None),
        ("keywords", lambda: w(lambda self, x, y, *, scale, more=None: Two(self.f(x["p"]) + y[0], y[1][0] * scale["s"]), f=nn.Linear(3, 3)),
         [lambda: {"p": drawn(2, 3)(), "q": drawn(1)()}, lambda: [drawn(3)(), (drawn(2)(),)]], {"scale": lambda: {"s": drawn(2)()}}, None),
        ("compared", lambda: w(compared), [drawn(2, 3), drawn(2, 3)], {}, None),
        ("curves", lambda: Curves(), [drawn(2, 3), drawn(2, 3)], {}, None),
        ("controlled", lambda: Controlled(), [drawn(2, 3), drawn(3)], {}, None),
        ("looped", lambda: Looped(), [drawn(2, 3), drawn(3)], {}, None),
        ("words", lambda: w(lambda self, words, x: self.table(words).flatten(1).sum(1) * x, table=nn.Embedding(5, 2)), [lambda: torch.tensor([[3, 0, 3], [1, 1, 4]]), drawn(2)], {}, None),
        ("same_input_twice", lambda: w(lambda self, x: (x, x * 2, None, 5, x)), [drawn(2)], {}, None),
    ]  # fmt: skip
    return cases + cases_of_choice(w, drawn)
