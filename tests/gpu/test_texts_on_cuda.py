"""Networks for texts on a GPU: what they say is what they say on a CPU, and nothing waits for the device."""

import pytest
import torch

from nrf_ray.models.zoo import build

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(600)]


def test_a_convolution_over_time_waits_for_nobody_and_says_what_it_says_on_a_cpu() -> None:
    words = torch.arange(39) < torch.tensor([39, 20, 1, 0]).unsqueeze(1)
    vectors = torch.randn(4, 39, 16, generator=torch.Generator().manual_seed(0)).double() * words.unsqueeze(2)
    network = build("text_cnn", shape=(1, 39, 16), num_classes=2, mean=[0.5] * 16, std=[0.1] * 16, seed=0).eval()
    found = {}
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        for device in ("cpu", "cuda"):
            body = network.body.double().to(device)
            here, whole = vectors.to(device).requires_grad_(), words.to(device)
            torch.cuda.set_sync_debug_mode("error")
            largest = body(here, whole)
            by = torch.autograd.grad(largest.square().sum(), [here, *body.convs.parameters()])
            torch.cuda.set_sync_debug_mode("default")
            found[device] = (largest, by[0] * whole.unsqueeze(2), *by[1:])
    finally:
        torch.cuda.set_sync_debug_mode("default")
        torch.use_deterministic_algorithms(before)
    for here, there in zip(found["cpu"], found["cuda"], strict=True):
        torch.testing.assert_close(there.cpu(), here)  # in float64, where rounding does not choose between windows
