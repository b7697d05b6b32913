"""Define the input and the output of a part: `Setting` and `Finding`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from leadwise.network.devices import PRECISIONS, Processor, set_matrix_precision
from leadwise.network.gpu_forward import channels_last_or_plain
from leadwise.network.se_resnet import SEResNet
from leadwise.recipes import Recipe

NO_GPU = "torch finds no CUDA device; --rehearse runs on the CPU"
MARK = "#finding "  # first word of findings in a part's output; all other lines are its log


@dataclass(frozen=True)
class Finding:
    """The result of one check: its name, whether it passed, a text and the figures."""

    name: str
    ok: bool
    text: str
    numbers: dict[str, Any] = field(default_factory=dict)

    def as_line(self) -> str:
        """Return the finding as a line for the parent process."""
        return MARK + json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_line(cls, line: str) -> Finding:
        """Return the finding of such a line."""
        return cls(**json.loads(line.removeprefix(MARK)))


@dataclass(frozen=True)
class Setting:
    """How the parts run: on the GPU, or as a small rehearsal on the CPU; `folder` is for their files."""

    rehearse: bool
    folder: Path

    @property
    def device(self) -> torch.device:
        """Return the tested device."""
        return torch.device("cpu" if self.rehearse else "cuda")

    def few(self, many: int, few: int) -> int:
        """Return the first number on a GPU, the second in a rehearsal."""
        return few if self.rehearse else many

    def processor(self, precision: str) -> Processor:
        """Return the device with a precision, and set the flags that belong to it."""
        processor = Processor(self.device, PRECISIONS[precision])
        set_matrix_precision(processor)
        return processor

    def forward(self, network: SEResNet, processor: Processor, recipe: Recipe) -> Callable[[Tensor, Tensor], Tensor]:
        """Return the forward pass used on a GPU; a rehearsal runs the same code on the CPU."""
        return channels_last_or_plain(network, processor, recipe.signal.window)

    def wait(self) -> None:
        """Wait until the device has finished all work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


Check = Callable[[Setting], Iterator[Finding]]
