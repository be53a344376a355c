"""GroupNorm + SiLU as one Triton kernel for channels-last tensors, forward and backward, with its plain-torch twin.

Eager PyTorch turns a channels-last tensor into a contiguous one for every GroupNorm and back for every convolution;
in pocket's networks that, not arithmetic, is where the time goes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

try:
    import triton
    import triton.language as tl
except ImportError:  # CPU machines carry no Triton: the twin below is used
    triton = None


def group_norm_reference(
    x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, silu: bool
) -> Tensor:
    """The twin: what the kernels compute."""
    y = F.group_norm(x, groups, weight.to(x.dtype), bias.to(x.dtype), eps)
    return F.silu(y) if silu else y


if triton is not None:

    @triton.jit
    def _sums(x, out, pixels, channels, PER: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr):
        n, chunk = tl.program_id(0).to(tl.int64), tl.program_id(1)
        c = tl.arange(0, BC)
        s1 = tl.zeros([BC], tl.float32)
        s2 = tl.zeros([BC], tl.float32)
        for start in range(0, PER, BP):
            p = chunk * PER + start + tl.arange(0, BP)
            mask = (p[:, None] < pixels) & (c[None, :] < channels)
            v = tl.load(x + n * pixels * channels + p[:, None] * channels + c[None, :], mask, 0.0).to(
                tl.float32
            )
            s1 += tl.sum(v, 0)
            s2 += tl.sum(v * v, 0)
        tl.atomic_add(out + n * 2 * channels + c, s1, c < channels)
        tl.atomic_add(out + n * 2 * channels + channels + c, s2, c < channels)

    @triton.jit
    def _apply(x, a, b, y, pixels, channels, SILU: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr):
        n, chunk = tl.program_id(0).to(tl.int64), tl.program_id(1)
        c = tl.arange(0, BC)
        p = chunk * BP + tl.arange(0, BP)
        mask = (p[:, None] < pixels) & (c[None, :] < channels)
        at = n * pixels * channels + p[:, None] * channels + c[None, :]
        v = tl.load(x + at, mask, 0.0).to(tl.float32)
        z = v * tl.load(a + n * channels + c, c < channels, 0.0) + tl.load(
            b + n * channels + c, c < channels, 0.0
        )
        if SILU:
            z = z * tl.sigmoid(z)
        tl.store(y + at, z.to(y.dtype.element_ty), mask)

    @triton.jit
    def _grad_sums(
        x,
        dy,
        a,
        b,
        out,
        pixels,
        channels,
        SILU: tl.constexpr,
        PER: tl.constexpr,
        BP: tl.constexpr,
        BC: tl.constexpr,
    ):
        n, chunk = tl.program_id(0).to(tl.int64), tl.program_id(1)
        c = tl.arange(0, BC)
        scale = tl.load(a + n * channels + c, c < channels, 0.0)
        shift = tl.load(b + n * channels + c, c < channels, 0.0)
        s1 = tl.zeros([BC], tl.float32)
        s2 = tl.zeros([BC], tl.float32)
        for start in range(0, PER, BP):
            p = chunk * PER + start + tl.arange(0, BP)
            mask = (p[:, None] < pixels) & (c[None, :] < channels)
            at = n * pixels * channels + p[:, None] * channels + c[None, :]
            v = tl.load(x + at, mask, 0.0).to(tl.float32)
            g = tl.load(dy + at, mask, 0.0).to(tl.float32)
            if SILU:
                z = v * scale + shift
                s = tl.sigmoid(z)
                g = g * s * (1 + z * (1 - s))
            s1 += tl.sum(g, 0)
            s2 += tl.sum(g * v, 0)
        tl.atomic_add(out + n * 2 * channels + c, s1, c < channels)
        tl.atomic_add(out + n * 2 * channels + channels + c, s2, c < channels)

    @triton.jit
    def _grad_apply(
        x, dy, a, b, k1, k2, dx, pixels, channels, SILU: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr
    ):
        n, chunk = tl.program_id(0).to(tl.int64), tl.program_id(1)
        c = tl.arange(0, BC)
        p = chunk * BP + tl.arange(0, BP)
        mask = (p[:, None] < pixels) & (c[None, :] < channels)
        at = n * pixels * channels + p[:, None] * channels + c[None, :]
        row = n * channels + c
        v = tl.load(x + at, mask, 0.0).to(tl.float32)
        g = tl.load(dy + at, mask, 0.0).to(tl.float32)
        scale = tl.load(a + row, c < channels, 0.0)
        if SILU:
            z = v * scale + tl.load(b + row, c < channels, 0.0)
            s = tl.sigmoid(z)
            g = g * s * (1 + z * (1 - s))
        d = g * scale + v * tl.load(k1 + row, c < channels, 0.0) + tl.load(k2 + row, c < channels, 0.0)
        tl.store(dx + at, d.to(dx.dtype.element_ty), mask)


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, silu: bool) -> Tensor:
        n, channels, height, width = x.shape
        pixels = height * width
        x = x.contiguous(memory_format=torch.channels_last)
        bc = triton.next_power_of_2(channels)
        bp = max(1, 8192 // bc)
        per = min(bp * 16, triton.next_power_of_2(pixels))
        sums = torch.zeros(n, 2, channels, device=x.device, dtype=torch.float32)
        _sums[(n, triton.cdiv(pixels, per))](x, sums, pixels, channels, per, bp, bc, num_warps=8)
        count = pixels * channels // groups
        grouped = sums.view(n, 2, groups, -1).sum(-1) / count
        mean = grouped[:, 0]
        rstd = torch.rsqrt((grouped[:, 1] - mean * mean).clamp(min=0) + eps)
        per_group = channels // groups
        mean, rstd = mean.repeat_interleave(per_group, 1), rstd.repeat_interleave(per_group, 1)
        a = (rstd * weight).contiguous()
        b = (bias - a * mean).contiguous()
        y = torch.empty_like(x, memory_format=torch.channels_last)
        _apply[(n, triton.cdiv(pixels, bp))](x, a, b, y, pixels, channels, silu, bp, bc, num_warps=8)
        ctx.save_for_backward(x, weight, a, b, mean, rstd)
        ctx.shape = (groups, silu, bp, per, bc)
        return y

    @staticmethod
    def backward(ctx, dy: Tensor):
        x, weight, a, b, mean, rstd = ctx.saved_tensors
        groups, silu, bp, per, bc = ctx.shape
        n, channels, height, width = x.shape
        pixels = height * width
        dy = dy.contiguous(memory_format=torch.channels_last)
        sums = torch.zeros(n, 2, channels, device=x.device, dtype=torch.float32)
        grid = (n, triton.cdiv(pixels, per))
        _grad_sums[grid](x, dy, a, b, sums, pixels, channels, silu, per, bp, bc, num_warps=8)
        s1, s2 = sums[:, 0], sums[:, 1]
        normed = (s2 - mean * s1) * rstd
        count = pixels * channels // groups
        per_group = channels // groups
        m1 = ((weight * s1).view(n, groups, -1).sum(-1) / count).repeat_interleave(per_group, 1)
        m2 = ((weight * normed).view(n, groups, -1).sum(-1) / count).repeat_interleave(per_group, 1)
        k1 = (-rstd * rstd * m2).contiguous()
        k2 = (-rstd * m1 - k1 * mean).contiguous()
        dx = torch.empty_like(x, memory_format=torch.channels_last)
        grid = (n, triton.cdiv(pixels, bp))
        _grad_apply[grid](x, dy, a, b, k1, k2, dx, pixels, channels, silu, bp, bc, num_warps=8)
        return dx, normed.sum(0), s1.sum(0), None, None, None


def group_norm(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, silu: bool) -> Tensor:
    """x (N, C, H, W), any layout; the result is channels-last on CUDA."""
    if triton is None or not x.is_cuda:
        return group_norm_reference(x, weight, bias, groups, eps, silu)
    return _GroupNorm.apply(x, weight.float(), bias.float(), groups, eps, silu)


class _FusedNorm(nn.GroupNorm):
    def forward(self, x: Tensor) -> Tensor:
        return group_norm(x, self.weight, self.bias, self.num_groups, self.eps, silu=False)


class _FusedNormSiLU(nn.GroupNorm):
    def forward(self, x: Tensor) -> Tensor:
        return group_norm(x, self.weight, self.bias, self.num_groups, self.eps, silu=True)


class _SiLULinear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.silu(x), self.weight, self.bias)


def fuse(model: nn.Module) -> nn.Module:
    """Swap classes in place, for training only: names and parameters stay as they are."""
    for module in list(model.modules()):
        if isinstance(module, ResnetBlock2D):
            module.norm1.__class__ = module.norm2.__class__ = _FusedNormSiLU
            module.nonlinearity = nn.Identity()
            if module.time_emb_proj is not None:
                module.time_emb_proj.__class__ = _SiLULinear
    for module in model.modules():
        if type(module) is nn.GroupNorm:
            module.__class__ = _FusedNorm
    return model.to(memory_format=torch.channels_last)
