"""The networks on the CPU through OpenVINO: about three times as fast as eager torch where the CPU has
bfloat16.

A network is converted from its torch module once and kept in the cache folder under the digest of the weights
and the version of OpenVINO; after that neither torch's modules nor diffusers nor transformers are needed to
draw. It is compiled once for each shape of its inputs, which measured 15 % faster a pass than a shape left
open and takes as long (half a second for pocket's UNet). One stream and a fixed number of threads make a
repeat identical bit for bit.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import tempfile
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import Tensor, nn

from jogak.models.place import open_place
from jogak.models.safe import cache_folder
from jogak.spec import ModelRef

CONVERSION = 1
"""Raise when the conversion below changes, so that networks kept by an older version are not used."""
KEPT_SHAPES = 6
"""Compiled networks kept of each part; every one holds a copy of the weights."""


class OpenVinoNetworks:
    """The networks of `ref`, each converted and compiled when it is first used. See `diffusion.Networks`."""

    extra_rows: int = 0

    def __init__(self, ref: ModelRef) -> None:
        _, precision, threads = ref.numeric.split("-")
        config = open_place(ref.folder).config("unet")
        self._time = (
            config["block_out_channels"][0],
            config.get("flip_sin_to_cos", True),
            config.get("freq_shift", 0),
        )
        shared = (ref, int(threads.removeprefix("t")))
        # The text encoder takes 5 ms more in float32, once a picture, and every step leans on what it says.
        self._text = _Network("text", _convert_text, "f32", *shared)
        self._unet = _Network("unet", _convert_unet, precision, *shared)
        self._encoder = _Network("encoder", _convert_encoder, precision, *shared)
        self._decoder = _Network("decoder", _convert_decoder, precision, *shared)

    def text(self, ids: Tensor) -> Tensor:
        return self._text(ids)

    def unet(self, x: Tensor, timesteps: Tensor, cond: Tensor) -> Tensor:
        return self._unet(x, _time_waves(timesteps, *self._time), cond)

    def encode(self, pixels: Tensor) -> Tensor:
        return self._encoder(pixels)

    def decode(self, latents: Tensor) -> Tensor:
        return self._decoder(latents)


class _Network:
    """One network: converted once for good, compiled once for each shape, run by one thread at a time."""

    def __init__(
        self,
        name: str,
        convert: Callable[[Path], openvino.Model],
        precision: str,
        ref: ModelRef,
        threads: int,
    ) -> None:
        self._name, self._convert, self._ref = name, convert, ref
        self._settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision,
        }
        self._core = openvino.Core()
        self._requests: OrderedDict[tuple[tuple[int, ...], ...], openvino.InferRequest] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, *inputs: Tensor) -> Tensor:
        arrays = [np.ascontiguousarray(tensor.numpy()) for tensor in inputs]
        with self._lock:
            request = self._request(tuple(array.shape for array in arrays))
            result = request.infer(arrays, share_inputs=True)
            return torch.from_numpy(np.array(result[0], dtype=np.float32))

    def _request(self, shapes: tuple[tuple[int, ...], ...]) -> openvino.InferRequest:
        if shapes not in self._requests:
            model = self._model()
            model.reshape({i: list(shape) for i, shape in enumerate(shapes)})
            self._requests[shapes] = self._core.compile_model(
                model, "CPU", self._settings
            ).create_infer_request()
            if len(self._requests) > KEPT_SHAPES:
                self._requests.popitem(last=False)
        self._requests.move_to_end(shapes)
        return self._requests[shapes]

    def _model(self) -> openvino.Model:
        """The converted network, from the cache folder or made now and kept there."""
        version = openvino.__version__.split("-")[0]
        kept = cache_folder() / "openvino" / f"{version}-{CONVERSION}" / self._ref.digest[:32] / self._name
        if kept.is_dir():
            try:
                return self._core.read_model(kept / "model.xml")
            except RuntimeError:
                shutil.rmtree(kept, ignore_errors=True)  # damaged: made again below
        model = self._convert(self._ref.folder)
        with suppress(OSError):  # a cache that cannot be written only costs time
            _keep(model, kept)
        return model


def _keep(model: openvino.Model, folder: Path) -> None:
    """Write a converted network so that `folder` holds all of it or is not there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="making-") as temporary:
        made = Path(temporary) / "made"
        made.mkdir()
        # in float32: half the room on disk is not worth digits of weights that came in float32
        openvino.save_model(model, made / "model.xml", compress_to_fp16=False)
        for path in made.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        os.rename(made, folder)


def _time_waves(timesteps: Tensor, width: int, cosine_first: bool, shift: float) -> Tensor:
    """The sinusoids of the timesteps, (B, width), as diffusers computes them.

    They are an input of the converted UNet: computed inside it in bfloat16, or from frequencies kept in
    float16, a timestep of 999 is off by a radian, and the prediction's error grows from 0.4 % to 1.4 %.
    """
    half = width // 2
    angle = (
        timesteps.float()[:, None] * torch.exp(-math.log(10000) * torch.arange(half) / (half - shift))[None]
    )
    waves = (angle.cos(), angle.sin()) if cosine_first else (angle.sin(), angle.cos())
    return torch.cat(waves, dim=1)


class _Call(nn.Module):
    """A function of a module's, in the form that tracing wants."""

    def __init__(self, module: nn.Module, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.module = module
        self._function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        return self._function(*inputs)


def _trace(module: nn.Module, function: Callable[..., Tensor], *example: Tensor) -> openvino.Model:
    """A network as OpenVINO sees it, its sizes left open.

    The frontend is called directly: `openvino.convert_model` reports every conversion to its maker over the
    network, and takes twice as long.
    """
    with _quietly():
        traced = torch.jit.trace(_Call(module, function), example, check_trace=False, strict=False)
        # each in a name of its own: the frontend calls back into the decoder and does not keep it alive
        decoder = TorchScriptPythonDecoder(traced)
        manager = FrontEndManager()
        frontend = manager.load_by_framework("pytorch")
        loaded = frontend.load(decoder)
        model = frontend.convert(loaded)
    for given, tensor in zip(model.inputs, example, strict=True):
        parameter = given.get_node()
        parameter.set_element_type(openvino.Type.i64 if tensor.dtype == torch.int64 else openvino.Type.f32)
        parameter.set_partial_shape(openvino.PartialShape([-1] * tensor.ndim))
    model.validate_nodes_and_infer_types()
    return model


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the libraries' remarks on tracing, which nobody can act on, and on one thread: the examples are
    small, and torch's threads wait busily for each other when the machine has other work."""
    threads, disabled = torch.get_num_threads(), logging.root.manager.disable
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        torch.set_num_threads(threads)


def _convert_text(folder: Path) -> openvino.Model:
    from jogak.models.diffusion import build_text_encoder

    module = build_text_encoder(folder)
    ids = torch.zeros(2, module.config.max_position_embeddings, dtype=torch.int64)
    return _trace(module, lambda ids: module(input_ids=ids, return_dict=False)[0], ids)


def _convert_unet(folder: Path) -> openvino.Model:
    from jogak.models.diffusion import build_unet

    module = build_unet(folder)
    module.get_time_embed = lambda sample, timestep: timestep  # the sinusoids come in ready, see _time_waves
    config = module.config
    # The example's sides are no multiple of the UNet's stride, so that the way for every size is recorded.
    example = (
        torch.zeros(2, config.in_channels, 9, 11),
        torch.zeros(2, config.block_out_channels[0]),
        torch.zeros(2, 7, config.cross_attention_dim),
    )
    return _trace(module, lambda x, waves, cond: module(x, waves, cond, return_dict=False)[0], *example)


def _convert_encoder(folder: Path) -> openvino.Model:
    from jogak.models.diffusion import build_vae

    module = build_vae(folder)
    return _trace(
        module, lambda pixels: module.encode(pixels, return_dict=False)[0].mean, torch.zeros(1, 3, 16, 24)
    )


def _convert_decoder(folder: Path) -> openvino.Model:
    from jogak.models.diffusion import build_vae

    module = build_vae(folder)
    latents = torch.zeros(1, module.config.latent_channels, 2, 3)
    return _trace(module, lambda latents: module.decode(latents, return_dict=False)[0], latents)
