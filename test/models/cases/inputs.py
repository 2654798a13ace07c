"""Models whose inputs are integers, or two: what `inputs/` holds."""

import torch
from torch import nn


def drawn(*shape):
    return lambda: torch.randn(shape, dtype=torch.float64)


def integers(shape, numbers):
    return lambda: torch.tensor(numbers).reshape(shape)


def inputs():
    """(name, model, makers of the inputs)."""
    table = lambda *args, **kwargs: lambda: nn.Sequential(nn.Embedding(*args, **kwargs))
    long_table = lambda *args, **kwargs: lambda: nn.Sequential(made_long(nn.Embedding(*args, **kwargs)))
    a, b = [0, 4, 2], [[3, 3, 0], [1, 4, 0]]
    return [
        ("embedding", table(5, 3), [integers((3,), a)]),
        ("embedding_alone", lambda: nn.Embedding(5, 2), [integers((2, 3), b)]),
        ("embedding_scalar", table(5, 2), [integers((), [1])]),
        ("embedding_padding", table(5, 2, padding_idx=0), [integers((2, 3), b)]),
        ("embedding_padding_negative", table(5, 2, padding_idx=-1), [integers((3,), a)]),
        ("embedding_max_norm", long_table(5, 3, max_norm=1.0), [integers((2, 3), b)]),
        ("embedding_max_norm_1", long_table(5, 3, max_norm=1.5, norm_type=1.0), [integers((3,), a)]),
        ("embedding_max_norm_3", long_table(5, 3, max_norm=0.5, norm_type=3), [integers((3,), a)]),
        ("embedding_max_norm_inf", long_table(5, 3, max_norm=0.5, norm_type=float("inf")), [integers((3,), a)]),
        ("embedding_net", lambda: nn.Sequential(nn.Embedding(5, 2), nn.Flatten(), nn.Linear(6, 3), nn.Tanh()),
         [integers((2, 3), b)]),
        ("embedding_norm", lambda: nn.Sequential(nn.Dropout(), nn.Embedding(5, 4), nn.LayerNorm(4), nn.SiLU()),
         [integers((2, 3), b)]),
        ("bilinear", lambda: nn.Bilinear(3, 2, 4), [drawn(3), drawn(2)]),
        ("bilinear_batch", lambda: nn.Bilinear(3, 2, 4), [drawn(2, 3), drawn(2, 2)]),
        ("bilinear_rank3_no_bias", lambda: nn.Bilinear(2, 3, 2, bias=False), [drawn(2, 1, 2), drawn(2, 1, 3)]),
        ("cosinesimilarity", lambda: nn.CosineSimilarity(), [drawn(2, 3), drawn(2, 3)]),
        ("cosinesimilarity_dim_0", lambda: nn.CosineSimilarity(dim=0), [drawn(4), drawn(4)]),
        ("cosinesimilarity_dim_minus_1", lambda: nn.CosineSimilarity(dim=-1), [drawn(2, 2, 3), drawn(2, 2, 3)]),
        ("cosinesimilarity_dim_1_rank3", lambda: nn.CosineSimilarity(), [drawn(1, 3, 2), drawn(1, 3, 2)]),
        # Where a norm is below eps, torch's J is not the derivative of its f; no norm here is.
        ("cosinesimilarity_eps", lambda: nn.CosineSimilarity(eps=0.01), [drawn(2, 3), drawn(2, 3)]),
        ("cosinesimilarity_repeated", lambda: nn.CosineSimilarity(dim=1), [drawn(2, 3), drawn(1, 3)]),
        ("cosinesimilarity_repeated_along", lambda: nn.CosineSimilarity(dim=0), [drawn(1, 3), drawn(2, 1)]),
        ("pairwisedistance", lambda: nn.PairwiseDistance(), [drawn(2, 3), drawn(2, 3)]),
        ("pairwisedistance_1", lambda: nn.PairwiseDistance(p=1.0, eps=0.1, keepdim=True), [drawn(2, 3), drawn(2, 3)]),
        ("pairwisedistance_3", lambda: nn.PairwiseDistance(p=3), [drawn(2, 3), drawn(2, 3)]),
        ("pairwisedistance_fraction", lambda: nn.PairwiseDistance(p=1.5, eps=0.01), [drawn(2, 3), drawn(1, 3)]),
        ("pairwisedistance_unbatched", lambda: nn.PairwiseDistance(keepdim=True), [drawn(3), drawn(3)]),
    ]


def made_long(embedding):
    """Rows with norms on both sides of the limits."""
    with torch.no_grad():
        embedding.weight *= torch.linspace(0.1, 3.0, len(embedding.weight))[:, None]
    return embedding
