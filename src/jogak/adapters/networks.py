"""Reaching the networks of a model that an adapter changes for a while."""

from __future__ import annotations

from jogak.models.diffusion import DiffusionModel, TorchNetworks
from jogak.spec import SpecError


def torch_networks(model: DiffusionModel, what: str) -> TorchNetworks:
    """The torch modules of a model with a UNet. `what` names the adapter in the sentence of the `SpecError` that
    is raised when there are none: a model compiled by OpenVINO has no modules to reach into."""
    if isinstance(model.networks, TorchNetworks):
        return model.networks
    if model.ref.numeric.startswith("openvino"):
        raise SpecError(
            f"{what} needs torch, but {model.ref.name} runs as {model.ref.numeric}; "
            'add --backend torch (in Python: resolve(name, backend="torch")).'
        )
    raise SpecError(f"{what} needs a model with a UNet; {model.ref.name} ({model.ref.family}) has none.")
