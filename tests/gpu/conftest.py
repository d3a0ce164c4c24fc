"""These tests skip where torch has no CUDA device."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _device() -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
