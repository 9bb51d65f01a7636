"""Where networks run."""

from __future__ import annotations

import torch


class DeviceError(ValueError):
    """A device that this machine has not."""


def usable_device(device: str | torch.device) -> torch.device:
    """Return the device asked for; "auto" is the accelerator that torch finds.

    Raises
    ------
    DeviceError
        If it cannot be used here.
    TypeError
        If it is no device.
    """
    if not isinstance(device, str | torch.device):
        raise TypeError(f"device must be a name, as 'auto' or 'cpu', got {device!r}.")
    if device == "auto":
        found = torch.accelerator.current_accelerator()
        device = found if found and torch.accelerator.is_available() else "cpu"
    try:
        chosen = torch.zeros(0, device=device).device
    # torch raises AssertionError for a build without CUDA.
    except (RuntimeError, AssertionError, TypeError) as error:
        raise DeviceError(
            f"device={str(device)!r} cannot be used here ({error}). Use device='auto' "
            "or device='cpu'."
        ) from error
    if chosen.type == "meta":
        raise DeviceError("device='meta' holds no numbers. Use device='auto' or 'cpu'.")
    return chosen
