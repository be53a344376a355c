"""The training step's kernels in Triton, for channels-last tensors, each with its plain-torch twin.

Pocket's networks are narrow, so that memory traffic and not arithmetic is where the time goes. Eager PyTorch turns a
channels-last tensor into a contiguous one for every GroupNorm and back for every convolution, adds each bias in a
pass of its own and sums each bias's gradient in a slow one, and normalises tokens in fp32. Here a convolution's bias
and the time embedding become part of the following norm, where they cost nothing; the bias of a block's last layer is
added together with the skip; tokens are views of the picture. `fuse` swaps classes in place: names and parameters
stay, and what is saved loads into plain diffusers.
"""

from __future__ import annotations

import os
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn

try:
    import triton
    import triton.language as tl
except ImportError:  # CPU machines carry no Triton: the twins are used
    triton = None

TILE = 64
"""Pixels and channels of one tile of a picture."""
WIDEST = 1024
"""The most channels that a norm may have."""
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Triton's own emulation on the CPU: the tests run the kernels in it."""


def _twins(x: Tensor) -> bool:
    return triton is None or not (x.is_cuda or INTERPRETED)


def group_norm_reference(
    x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, silu: bool, shift: Tensor | None = None
) -> Tensor:
    """The twin of `group_norm`."""
    if shift is not None:
        x = x + shift.to(x.dtype)[:, :, None, None]
    y = F.group_norm(x, groups, weight.to(x.dtype), bias.to(x.dtype), eps)
    return F.silu(y) if silu else y


if triton is not None:
    # One tile is BP pixels × BC channels, BC the same for every width: each variant costs a second to compile.

    @triton.jit
    def _sums(x, out, pixels, channels, rounds, BP: tl.constexpr, BC: tl.constexpr):
        n, first = tl.program_id(0).to(tl.int64), tl.program_id(1) * rounds * BP
        c = tl.program_id(2) * BC + tl.arange(0, BC)
        s1 = tl.zeros([BC], tl.float32)
        s2 = tl.zeros([BC], tl.float32)
        for k in range(rounds):
            p = first + k * BP + tl.arange(0, BP)
            mask = (p[:, None] < pixels) & (c[None, :] < channels)
            v = tl.load(x + n * pixels * channels + p[:, None] * channels + c[None, :], mask, 0.0)
            v = v.to(tl.float32)
            s1 += tl.sum(v, 0)
            s2 += tl.sum(v * v, 0)
        tl.atomic_add(out + n * 2 * channels + c, s1, c < channels)
        tl.atomic_add(out + n * 2 * channels + channels + c, s2, c < channels)

    @triton.jit
    def _coefficients(
        sums, shift, weight, bias, a_out, b_out, mean_out, rstd_out, sum_out,
        pixels, channels, groups, eps, SHIFT: tl.constexpr, BC: tl.constexpr,
    ):  # fmt: skip
        """From the sums of one picture: y = act(a x + b), with `shift` (added to x) folded into b."""
        n = tl.program_id(0)
        c = tl.arange(0, BC)
        mask = c < channels
        s1 = tl.load(sums + n * 2 * channels + c, mask, 0.0)
        s2 = tl.load(sums + n * 2 * channels + channels + c, mask, 0.0)
        move = tl.zeros([BC], tl.float32)
        if SHIFT:
            move = tl.load(shift + n * channels + c, mask, 0.0).to(tl.float32)
            s2 = s2 + 2 * move * s1 + pixels * move * move
            s1 = s1 + pixels * move
        per = channels // groups
        group = c // per
        mean = tl.zeros([BC], tl.float32)
        square = tl.zeros([BC], tl.float32)
        for g in range(groups):
            here = (group == g) & mask
            mean = tl.where(here, tl.sum(tl.where(here, s1, 0.0)), mean)
            square = tl.where(here, tl.sum(tl.where(here, s2, 0.0)), square)
        count = pixels * per
        mean = mean / count
        variance = tl.maximum(square / count - mean * mean, 0.0)
        rstd = 1.0 / tl.sqrt(variance + eps)
        a = rstd * tl.load(weight + c, mask, 0.0).to(tl.float32)
        b = tl.load(bias + c, mask, 0.0).to(tl.float32) - a * (mean - move)
        at = n * channels + c
        tl.store(a_out + at, a, mask)
        tl.store(b_out + at, b, mask)
        tl.store(mean_out + at, mean, mask)
        tl.store(rstd_out + at, rstd, mask)
        tl.store(sum_out + at, s1, mask)

    @triton.jit
    def _apply(x, a, b, y, pixels, channels, SILU: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr):
        n = tl.program_id(0).to(tl.int64)
        c = tl.program_id(2) * BC + tl.arange(0, BC)
        p = tl.program_id(1) * BP + tl.arange(0, BP)
        mask = (p[:, None] < pixels) & (c[None, :] < channels)
        at = n * pixels * channels + p[:, None] * channels + c[None, :]
        v = tl.load(x + at, mask, 0.0).to(tl.float32)
        z = v * tl.load(a + n * channels + c, c < channels, 0.0)[None, :]
        z = z + tl.load(b + n * channels + c, c < channels, 0.0)[None, :]
        if SILU:
            z = z * tl.sigmoid(z)
        tl.store(y + at, z.to(y.dtype.element_ty), mask)

    @triton.jit
    def _grad_sums(
        x, dy, a, b, out, pixels, channels, rounds, SILU: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr
    ):
        n, first = tl.program_id(0).to(tl.int64), tl.program_id(1) * rounds * BP
        c = tl.program_id(2) * BC + tl.arange(0, BC)
        scale = tl.load(a + n * channels + c, c < channels, 0.0)[None, :]
        offset = tl.load(b + n * channels + c, c < channels, 0.0)[None, :]
        s1 = tl.zeros([BC], tl.float32)
        s2 = tl.zeros([BC], tl.float32)
        for k in range(rounds):
            p = first + k * BP + tl.arange(0, BP)
            mask = (p[:, None] < pixels) & (c[None, :] < channels)
            at = n * pixels * channels + p[:, None] * channels + c[None, :]
            v = tl.load(x + at, mask, 0.0).to(tl.float32)
            g = tl.load(dy + at, mask, 0.0).to(tl.float32)
            if SILU:
                z = v * scale + offset
                s = tl.sigmoid(z)
                g = g * s * (1 + z * (1 - s))
            s1 += tl.sum(g, 0)
            s2 += tl.sum(g * v, 0)
        tl.atomic_add(out + n * 2 * channels + c, s1, c < channels)
        tl.atomic_add(out + n * 2 * channels + channels + c, s2, c < channels)

    @triton.jit
    def _grad_coefficients(
        sums, shift, weight, a_in, mean_in, rstd_in, sum_in, k1_out, k2_out, normed_out, plain_out, shift_out,
        pixels, channels, groups, SHIFT: tl.constexpr, BC: tl.constexpr,
    ):  # fmt: skip
        """dx = g a + x k1 + k2, and the gradients of weight, bias and shift before the sum over pictures."""
        n = tl.program_id(0)
        c = tl.arange(0, BC)
        mask = c < channels
        at = n * channels + c
        s1 = tl.load(sums + n * 2 * channels + c, mask, 0.0)
        s2 = tl.load(sums + n * 2 * channels + channels + c, mask, 0.0)
        move = tl.zeros([BC], tl.float32)
        if SHIFT:
            move = tl.load(shift + at, mask, 0.0).to(tl.float32)
            s2 = s2 + move * s1
        mean = tl.load(mean_in + at, mask, 0.0)
        rstd = tl.load(rstd_in + at, mask, 0.0)
        w = tl.load(weight + c, mask, 0.0).to(tl.float32)
        normed = (s2 - mean * s1) * rstd
        per = channels // groups
        group = c // per
        m1 = tl.zeros([BC], tl.float32)
        m2 = tl.zeros([BC], tl.float32)
        for g in range(groups):
            here = (group == g) & mask
            m1 = tl.where(here, tl.sum(tl.where(here, w * s1, 0.0)), m1)
            m2 = tl.where(here, tl.sum(tl.where(here, w * normed, 0.0)), m2)
        count = pixels * per
        m1 = m1 / count
        m2 = m2 / count
        k1 = -rstd * rstd * m2
        k2 = -rstd * m1 - k1 * mean
        tl.store(k1_out + at, k1, mask)
        tl.store(k2_out + at, k2 + k1 * move, mask)
        tl.store(normed_out + at, normed, mask)
        tl.store(plain_out + at, s1, mask)
        if SHIFT:
            a = tl.load(a_in + at, mask, 0.0)
            total = tl.load(sum_in + at, mask, 0.0)
            tl.store(shift_out + at, a * s1 + k1 * total + pixels * k2, mask)

    @triton.jit
    def _grad_apply(
        x, dy, a, b, k1, k2, dx, pixels, channels, SILU: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr
    ):
        n = tl.program_id(0).to(tl.int64)
        c = tl.program_id(2) * BC + tl.arange(0, BC)
        p = tl.program_id(1) * BP + tl.arange(0, BP)
        known = c < channels
        mask = (p[:, None] < pixels) & known[None, :]
        at = n * pixels * channels + p[:, None] * channels + c[None, :]
        row = n * channels + c
        v = tl.load(x + at, mask, 0.0).to(tl.float32)
        g = tl.load(dy + at, mask, 0.0).to(tl.float32)
        scale = tl.load(a + row, known, 0.0)[None, :]
        if SILU:
            z = v * scale + tl.load(b + row, known, 0.0)[None, :]
            s = tl.sigmoid(z)
            g = g * s * (1 + z * (1 - s))
        d = g * scale + v * tl.load(k1 + row, known, 0.0)[None, :] + tl.load(k2 + row, known, 0.0)[None, :]
        tl.store(dx + at, d.to(dx.dtype.element_ty), mask)

    @triton.jit
    def _add(x, skip, bias, y, total, channels, SKIP: tl.constexpr, BLOCK: tl.constexpr):
        at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        mask = at < total
        v = tl.load(x + at, mask, 0.0).to(tl.float32) + tl.load(bias + at % channels, mask, 0.0).to(
            tl.float32
        )
        if SKIP:
            v += tl.load(skip + at, mask, 0.0).to(tl.float32)
        tl.store(y + at, v.to(y.dtype.element_ty), mask)

    @triton.jit
    def _columns(x, out, rows, channels, ROUNDS: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr):
        first = tl.program_id(0).to(tl.int64) * (ROUNDS * BR)
        c = tl.program_id(1) * BC + tl.arange(0, BC)
        total = tl.zeros([BC], tl.float32)
        for k in range(ROUNDS):
            r = first + k * BR + tl.arange(0, BR)
            mask = (r[:, None] < rows) & (c[None, :] < channels)
            total += tl.sum(tl.load(x + r[:, None] * channels + c[None, :], mask, 0.0).to(tl.float32), 0)
        tl.atomic_add(out + c, total, c < channels)

    @triton.jit
    def _layer_norm(
        x, weight, bias, y, mean_out, rstd_out, rows, channels, eps, BR: tl.constexpr, BC: tl.constexpr
    ):
        r = tl.program_id(0).to(tl.int64) * BR + tl.arange(0, BR)
        c = tl.arange(0, BC)
        mask = (r[:, None] < rows) & (c[None, :] < channels)
        v = tl.load(x + r[:, None] * channels + c[None, :], mask, 0.0).to(tl.float32)
        mean = tl.sum(v, 1) / channels
        away = tl.where(mask, v - mean[:, None], 0.0)
        rstd = 1.0 / tl.sqrt(tl.sum(away * away, 1) / channels + eps)
        w = tl.load(weight + c, c < channels, 0.0).to(tl.float32)
        b = tl.load(bias + c, c < channels, 0.0).to(tl.float32)
        z = away * rstd[:, None] * w[None, :] + b[None, :]
        tl.store(y + r[:, None] * channels + c[None, :], z.to(y.dtype.element_ty), mask)
        tl.store(mean_out + r, mean, r < rows)
        tl.store(rstd_out + r, rstd, r < rows)

    @triton.jit
    def _layer_norm_grad(
        x, dy, weight, mean_in, rstd_in, dx, dweight, dbias, rows, channels,
        ROUNDS: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr,
    ):  # fmt: skip
        first = tl.program_id(0).to(tl.int64) * (ROUNDS * BR)
        c = tl.arange(0, BC)
        w = tl.load(weight + c, c < channels, 0.0).to(tl.float32)
        dw = tl.zeros([BC], tl.float32)
        db = tl.zeros([BC], tl.float32)
        for k in range(ROUNDS):
            r = first + k * BR + tl.arange(0, BR)
            mask = (r[:, None] < rows) & (c[None, :] < channels)
            at = r[:, None] * channels + c[None, :]
            v = tl.load(x + at, mask, 0.0).to(tl.float32)
            g = tl.load(dy + at, mask, 0.0).to(tl.float32)
            mean = tl.load(mean_in + r, r < rows, 0.0)
            rstd = tl.load(rstd_in + r, r < rows, 0.0)
            hat = tl.where(mask, (v - mean[:, None]) * rstd[:, None], 0.0)
            wg = g * w[None, :]
            m1 = tl.sum(wg, 1) / channels
            m2 = tl.sum(wg * hat, 1) / channels
            d = rstd[:, None] * (wg - m1[:, None] - hat * m2[:, None])
            tl.store(dx + at, d.to(dx.dtype.element_ty), mask)
            dw += tl.sum(g * hat, 0)
            db += tl.sum(g, 0)
        tl.atomic_add(dweight + c, dw, c < channels)
        tl.atomic_add(dbias + c, db, c < channels)

    @triton.jit
    def _gelu(z):
        return 0.5 * z * (1 + tl.erf(z * 0.7071067811865476))

    @triton.jit
    def _geglu(h, bias, y, rows, width, BR: tl.constexpr, BC: tl.constexpr):
        r = tl.program_id(0).to(tl.int64) * BR + tl.arange(0, BR)
        c = tl.program_id(1) * BC + tl.arange(0, BC)
        mask = (r[:, None] < rows) & (c[None, :] < width)
        at = r[:, None] * (2 * width) + c[None, :]
        v = (
            tl.load(h + at, mask, 0.0).to(tl.float32)
            + tl.load(bias + c, c < width, 0.0).to(tl.float32)[None, :]
        )
        z = tl.load(h + at + width, mask, 0.0).to(tl.float32)
        z = z + tl.load(bias + width + c, c < width, 0.0).to(tl.float32)[None, :]
        tl.store(y + r[:, None] * width + c[None, :], (v * _gelu(z)).to(y.dtype.element_ty), mask)

    @triton.jit
    def _geglu_grad(
        h, bias, dy, dh, dbias, rows, width, ROUNDS: tl.constexpr, BR: tl.constexpr, BC: tl.constexpr
    ):
        first = tl.program_id(0).to(tl.int64) * (ROUNDS * BR)
        c = tl.program_id(1) * BC + tl.arange(0, BC)
        b1 = tl.load(bias + c, c < width, 0.0).to(tl.float32)
        b2 = tl.load(bias + width + c, c < width, 0.0).to(tl.float32)
        s1 = tl.zeros([BC], tl.float32)
        s2 = tl.zeros([BC], tl.float32)
        for k in range(ROUNDS):
            r = first + k * BR + tl.arange(0, BR)
            mask = (r[:, None] < rows) & (c[None, :] < width)
            at = r[:, None] * (2 * width) + c[None, :]
            v = tl.load(h + at, mask, 0.0).to(tl.float32) + b1[None, :]
            z = tl.load(h + at + width, mask, 0.0).to(tl.float32) + b2[None, :]
            g = tl.load(dy + r[:, None] * width + c[None, :], mask, 0.0).to(tl.float32)
            cdf = 0.5 * (1 + tl.erf(z * 0.7071067811865476))
            dv = g * z * cdf
            dz = g * v * (cdf + z * 0.3989422804014327 * tl.exp(-0.5 * z * z))
            tl.store(dh + at, dv.to(dh.dtype.element_ty), mask)
            tl.store(dh + at + width, dz.to(dh.dtype.element_ty), mask)
            s1 += tl.sum(tl.where(mask, dv, 0.0), 0)
            s2 += tl.sum(tl.where(mask, dz, 0.0), 0)
        tl.atomic_add(dbias + c, s1, c < width)
        tl.atomic_add(dbias + width + c, s2, c < width)


def _flat(x: Tensor) -> Tensor:
    """The memory of x with its channels last: a picture channels-last, tokens as they are."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x.contiguous()


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        shift: Tensor | None,
        groups: int,
        eps: float,
        silu: bool,
    ) -> Tensor:
        n, channels, height, width = x.shape
        pixels = height * width
        x = _flat(x)
        shift = None if shift is None else shift.contiguous()
        tiles, columns = triton.cdiv(pixels, TILE), triton.cdiv(channels, TILE)
        rounds = min(tiles, 4)
        sums = torch.zeros(n, 2, channels, device=x.device, dtype=torch.float32)
        _sums[(n, triton.cdiv(tiles, rounds), columns)](x, sums, pixels, channels, rounds, TILE, TILE)
        a, b, mean, rstd, total = torch.empty(5, n, channels, device=x.device).unbind(0)
        _coefficients[(n,)](
            sums, x if shift is None else shift, weight, bias, a, b, mean, rstd, total,
            pixels, channels, groups, eps, shift is not None, WIDEST,
        )  # fmt: skip
        y = torch.empty_like(x, memory_format=torch.channels_last)
        _apply[(n, tiles, columns)](x, a, b, y, pixels, channels, silu, TILE, TILE)
        ctx.save_for_backward(x, weight, a, b, mean, rstd, total, shift)
        ctx.kind = (groups, silu)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, a, b, mean, rstd, total, shift = ctx.saved_tensors
        groups, silu = ctx.kind
        n, channels, height, width = x.shape
        pixels = height * width
        dy = _flat(dy)
        tiles, columns = triton.cdiv(pixels, TILE), triton.cdiv(channels, TILE)
        rounds = min(tiles, 4)
        sums = torch.zeros(n, 2, channels, device=x.device, dtype=torch.float32)
        grid = (n, triton.cdiv(tiles, rounds), columns)
        _grad_sums[grid](x, dy, a, b, sums, pixels, channels, rounds, silu, TILE, TILE)
        k1, k2, normed, plain, moved = torch.empty(5, n, channels, device=x.device).unbind(0)
        _grad_coefficients[(n,)](
            sums, x if shift is None else shift, weight, a, mean, rstd, total, k1, k2, normed, plain, moved,
            pixels, channels, groups, shift is not None, WIDEST,
        )  # fmt: skip
        dx = torch.empty_like(x, memory_format=torch.channels_last)
        _grad_apply[(n, tiles, columns)](x, dy, a, b, k1, k2, dx, pixels, channels, silu, TILE, TILE)
        dshift = None if shift is None else moved.to(shift.dtype)
        return (
            dx, normed.sum(0).to(weight.dtype), plain.sum(0).to(weight.dtype), dshift, None, None, None,
        )  # fmt: skip


def group_norm(
    x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, silu: bool, shift: Tensor | None = None
) -> Tensor:
    """GroupNorm of x (N, C, H, W) + shift (N, C), then SiLU if asked; channels-last on CUDA."""
    if _twins(x):
        return group_norm_reference(x, weight, bias, groups, eps, silu, shift)
    return _GroupNorm.apply(x, weight, bias, shift, groups, eps, silu)


def _column_sums(x: Tensor) -> Tensor:
    """(…, C) or channels-last (N, C, H, W) -> (C,) fp32. The twin is a sum over all else."""
    channels = x.shape[1] if x.ndim == 4 else x.shape[-1]
    rows = x.numel() // channels
    out = torch.zeros(channels, device=x.device, dtype=torch.float32)
    grid = (triton.cdiv(rows, 8 * 64), triton.cdiv(channels, 128))
    _columns[grid](x, out, rows, channels, 8, 64, 128, num_warps=8)
    return out


class _AddBias(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bias: Tensor, skip: Tensor | None) -> Tensor:
        x = _flat(x)
        channels = x.shape[1] if x.ndim == 4 else x.shape[-1]
        skip = None if skip is None else _flat(skip)
        y = torch.empty_like(x)
        grid = (triton.cdiv(x.numel(), 4096),)
        _add[grid](
            x, x if skip is None else skip, bias, y, x.numel(), channels, skip is not None, 4096, num_warps=8
        )
        ctx.kind = (bias.dtype, None if skip is None else skip.dtype)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        dy = _flat(dy)
        bias_dtype, skip_dtype = ctx.kind
        return dy, _column_sums(dy).to(bias_dtype), None if skip_dtype is None else dy.to(skip_dtype)


def add_bias(x: Tensor, bias: Tensor, skip: Tensor | None = None) -> Tensor:
    """x (N, C, H, W) or (…, C), plus bias (C,), plus `skip` of the shape of x."""
    if _twins(x):
        y = x + bias.to(x.dtype).view(-1, *[1] * (x.ndim - 2 if x.ndim == 4 else 0))
        return y if skip is None else y + skip
    return _AddBias.apply(x, bias, skip)


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        x = x.contiguous()
        channels = x.shape[-1]
        rows = x.numel() // channels
        bc = triton.next_power_of_2(channels)
        br = max(1, 4096 // bc)
        y = torch.empty_like(x)
        mean, rstd = torch.empty(2, rows, device=x.device).unbind(0)
        _layer_norm[(triton.cdiv(rows, br),)](
            x, weight, bias, y, mean, rstd, rows, channels, eps, br, bc, num_warps=4
        )
        ctx.save_for_backward(x, weight, mean, rstd)
        ctx.shape = (rows, channels, br, bc)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, rstd = ctx.saved_tensors
        rows, channels, br, bc = ctx.shape
        dx = torch.empty_like(x)
        dw, db = torch.zeros(2, channels, device=x.device).unbind(0)
        grid = (triton.cdiv(rows, br * 8),)
        _layer_norm_grad[grid](
            x, dy.contiguous(), weight, mean, rstd, dx, dw, db, rows, channels, 8, br, bc, num_warps=4
        )
        return dx, dw.to(weight.dtype), db.to(weight.dtype), None


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Over the last dimension, computed in fp32, in the dtype of x."""
    if _twins(x):
        return F.layer_norm(x, weight.shape, weight.to(x.dtype), bias.to(x.dtype), eps)
    return _LayerNorm.apply(x, weight, bias, eps)


class _GEGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, bias: Tensor) -> Tensor:
        h = h.contiguous()
        width = h.shape[-1] // 2
        rows = h.numel() // (2 * width)
        y = h.new_empty(*h.shape[:-1], width)
        _geglu[(triton.cdiv(rows, 32), triton.cdiv(width, 128))](
            h, bias, y, rows, width, 32, 128, num_warps=4
        )
        ctx.save_for_backward(h, bias)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor]:
        h, bias = ctx.saved_tensors
        width = h.shape[-1] // 2
        rows = h.numel() // (2 * width)
        dh = torch.empty_like(h)
        db = torch.zeros(2 * width, device=h.device)
        grid = (triton.cdiv(rows, 32 * 8), triton.cdiv(width, 128))
        _geglu_grad[grid](h, bias, dy.contiguous(), dh, db, rows, width, 8, 32, 128, num_warps=4)
        return dh, db.to(bias.dtype)


def geglu(h: Tensor, bias: Tensor) -> Tensor:
    """(…, 2 W) + bias (2 W,) -> first half × GELU(second half), (…, W) (Shazeer, arXiv:2002.05202)."""
    if _twins(h):
        value, gate = (h + bias.to(h.dtype)).chunk(2, -1)
        return value * F.gelu(gate)
    return _GEGLU.apply(h, bias)


class _FusedNorm(nn.GroupNorm):
    def forward(self, x: Tensor) -> Tensor:
        return group_norm(x, self.weight, self.bias, self.num_groups, self.eps, silu=False)


class _FusedConv(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return add_bias(_convolve(self, x), self.bias)


class _FusedResnet(ResnetBlock2D):
    def forward(self, x: Tensor, temb: Tensor | None = None, *args: object, **kwargs: object) -> Tensor:
        norm, conv = self.norm1, self.conv1
        h = group_norm(x, norm.weight, norm.bias, norm.num_groups, norm.eps, silu=True)
        h = _convolve(conv, h)
        shift = conv.bias.expand(len(x), -1)
        if temb is not None:
            shift = self.time_emb_proj(F.silu(temb)) + shift
        norm, conv = self.norm2, self.conv2
        h = group_norm(h, norm.weight, norm.bias, norm.num_groups, norm.eps, silu=True, shift=shift)
        h = _convolve(conv, h)
        bias, skip = conv.bias, x
        if self.conv_shortcut is not None:
            bias, skip = bias + self.conv_shortcut.bias, _convolve(self.conv_shortcut, x)
        return add_bias(h, bias, skip)


def _convolve(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Without the bias."""
    return F.conv2d(x, conv.weight, None, conv.stride, conv.padding, conv.dilation, conv.groups)


class _FusedTransformer(Transformer2DModel):
    def forward(
        self, x: Tensor, encoder_hidden_states: Tensor | None = None, **kwargs: object
    ) -> tuple[Tensor]:
        n, channels, height, width = x.shape
        h = self.norm(x).permute(0, 2, 3, 1).reshape(n, height * width, channels)
        h = add_bias(F.linear(h, self.proj_in.weight), self.proj_in.bias)
        for block in self.transformer_blocks:
            h = block(h, encoder_hidden_states)
        h = F.linear(h, self.proj_out.weight).view(n, height, width, channels).permute(0, 3, 1, 2)
        return (add_bias(h, self.proj_out.bias, x),)


class _FusedBlock(BasicTransformerBlock):
    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = _attend(self.attn1, self._normed(self.norm1, x), None, x)
        x = _attend(self.attn2, self._normed(self.norm2, x), context, x)
        first, _, last = self.ff.net
        h = geglu(F.linear(self._normed(self.norm3, x), first.proj.weight), first.proj.bias)
        return add_bias(F.linear(h, last.weight), last.bias, x)

    @staticmethod
    def _normed(norm: nn.LayerNorm, x: Tensor) -> Tensor:
        return layer_norm(x, norm.weight, norm.bias, norm.eps)


def _attend(attention: nn.Module, x: Tensor, context: Tensor | None, skip: Tensor) -> Tensor:
    """Attention of x (N, L, C) over itself or over `context`, projected, plus `skip`."""
    if context is None:
        weight = torch.cat([attention.to_q.weight, attention.to_k.weight, attention.to_v.weight])
        q, k, v = F.linear(x, weight).chunk(3, -1)
    else:
        q = F.linear(x, attention.to_q.weight)
        k, v = F.linear(context, torch.cat([attention.to_k.weight, attention.to_v.weight])).chunk(2, -1)
    q, k, v = (t.unflatten(-1, (attention.heads, -1)).transpose(1, 2) for t in (q, k, v))
    h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    out = attention.to_out[0]
    return add_bias(F.linear(h, out.weight), out.bias, skip)


def fuse(model: nn.Module) -> nn.Module:
    """Swap classes in place, for training only: names and parameters stay as they are."""
    swaps = {
        ResnetBlock2D: _FusedResnet,
        Transformer2DModel: _FusedTransformer,
        BasicTransformerBlock: _FusedBlock,
        nn.GroupNorm: _FusedNorm,
        nn.Conv2d: _FusedConv,
    }
    for module in model.modules():
        if type(module) in swaps:
            module.__class__ = swaps[type(module)]
    return model.to(memory_format=torch.channels_last)
