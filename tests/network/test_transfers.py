"""Small tensors that go to a device and back; without a GPU they stay where they are."""

from __future__ import annotations

import torch

from leadwise.network.transfers import Fetched, send


def test_on_a_cpu_a_tensor_stays_as_it_is() -> None:
    tensor = torch.arange(5)
    assert send(tensor, torch.device("cpu")) is tensor


def test_a_fetched_tensor_has_its_value_and_no_gradient() -> None:
    loss = torch.tensor([1.0, 2.0], requires_grad=True) * 3
    found = Fetched(loss).result()
    assert torch.equal(found, torch.tensor([3.0, 6.0])) and not found.requires_grad
