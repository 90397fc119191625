"""Muon for matrices, Adam for the rest, as one optimizer with one learning rate.

Muon replaces a matrix's momentum by the nearest orthogonal matrix (Newton-Schulz iteration), scaled
so that its entries are as large as Adam's steps usually are.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


class Optimizer:
    """Updates a module's parameters from their gradients.

    Args:
        module: Its matrices in hidden layers are Muon's, unless ``muon`` is false; embeddings,
            heads and vectors are Adam's.
        muon: Use Muon.
        decay: Weight decay of matrices, a share of the learning rate.
    """

    def __init__(self, module: nn.Module, *, muon: bool, decay: float = 0.05) -> None:
        self.parameters: dict[str, Tensor] = dict(module.named_parameters())
        self.decay, self.betas, self.steps = decay, (0.9, 0.98), 0
        adam = ("embed", "head", "temporal_conv")
        self.matrices = [
            name
            for name, p in self.parameters.items()
            if muon and p.ndim >= 2 and not any(word in name for word in adam)
        ]
        self.others = [name for name in self.parameters if name not in self.matrices]
        self.moment1 = {n: torch.zeros_like(p) for n, p in self.parameters.items()}
        self.moment2 = {n: torch.zeros_like(self.parameters[n]) for n in self.others}

    @torch.no_grad()
    def step(self, rate: float, clip: float = 1.0) -> Tensor:
        """Update once, and forget the gradients.

        Returns:
            The gradients' norm before it was limited to ``clip``.
        """
        self.steps += 1
        p = self.parameters
        grads = {n: g for n, value in p.items() if (g := value.grad) is not None}
        norm = torch.nn.utils.get_total_norm(list(grads.values()))
        torch._foreach_mul_(list(grads.values()), (clip / (norm + 1e-6)).clamp(max=1.0))
        decayed = [value for n, value in p.items() if value.ndim >= 2]
        torch._foreach_mul_(decayed, 1 - rate * self.decay)
        self._adam([n for n in self.others if n in grads], grads, rate)
        self._muon([n for n in self.matrices if n in grads], grads, rate)
        for value in p.values():
            value.grad = None
        return norm

    def _adam(self, names: list[str], grads: dict[str, Tensor], rate: float) -> None:
        b1, b2 = self.betas
        g = [grads[n] for n in names]
        m, v = [self.moment1[n] for n in names], [self.moment2[n] for n in names]
        torch._foreach_lerp_(m, g, 1 - b1)
        torch._foreach_mul_(v, b2)
        torch._foreach_addcmul_(v, g, g, 1 - b2)
        size = torch._foreach_sqrt(v)
        torch._foreach_div_(size, (1 - b2**self.steps) ** 0.5)
        torch._foreach_add_(size, 1e-8)
        values = [self.parameters[n] for n in names]
        torch._foreach_addcdiv_(values, m, size, -rate / (1 - b1**self.steps))

    def _muon(self, names: list[str], grads: dict[str, Tensor], rate: float) -> None:
        by_shape = defaultdict(list)
        for n in names:
            self.moment1[n].lerp_(grads[n], 1 - 0.95)
            by_shape[grads[n].flatten(1).shape].append(n)
        for shape, some in by_shape.items():
            nesterov = [grads[n].lerp(self.moment1[n], 0.95).flatten(1) for n in some]
            steps = orthogonal(torch.stack(nesterov)) * (0.2 * max(shape) ** 0.5)
            for n, step in zip(some, steps, strict=True):
                self.parameters[n].sub_(step.view_as(self.parameters[n]), alpha=rate)


def orthogonal(x: Tensor, steps: int = 5) -> Tensor:
    """Roughly the nearest orthogonal matrices of ``[n, rows, columns]``."""
    a, b, c = _NEWTON_SCHULZ
    tall = x.shape[1] > x.shape[2]
    y = x.transpose(1, 2) if tall else x
    y = y / (torch.linalg.matrix_norm(y, keepdim=True) + 1e-7)
    for _ in range(steps):
        square = y @ y.transpose(1, 2)
        y = a * y + (b * square + c * square @ square) @ y
    found: Tensor = y.transpose(1, 2) if tall else y
    return found
