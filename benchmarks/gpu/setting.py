"""What a part of the run is told, and what it answers: `Setting` and `Finding`."""

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
MARK = "#finding "  # begins the lines of a part's output that are findings; all others are its log


@dataclass(frozen=True)
class Finding:
    """One line of the run: what was looked at, whether it is as it must be, and the figures."""

    name: str
    ok: bool
    text: str
    numbers: dict[str, Any] = field(default_factory=dict)

    def as_line(self) -> str:
        """Return the finding as a line for the process that started the part."""
        return MARK + json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_line(cls, line: str) -> Finding:
        """Return the finding of such a line."""
        return cls(**json.loads(line.removeprefix(MARK)))


@dataclass(frozen=True)
class Setting:
    """How the parts run: on the GPU, or in small on the CPU; `folder` is for their files."""

    rehearse: bool
    folder: Path

    @property
    def device(self) -> torch.device:
        """The device that is tested."""
        return torch.device("cpu" if self.rehearse else "cuda")

    def few(self, many: int, few: int) -> int:
        """Return the first number on a GPU, the second in a rehearsal."""
        return few if self.rehearse else many

    def processor(self, precision: str) -> Processor:
        """Return the device in a precision, with the flags that belong to it."""
        processor = Processor(self.device, PRECISIONS[precision])
        set_matrix_precision(processor)
        return processor

    def forward(self, network: SEResNet, processor: Processor, recipe: Recipe) -> Callable[[Tensor, Tensor], Tensor]:
        """Return what computes a network on a GPU; a rehearsal computes the same on the CPU."""
        return channels_last_or_plain(network, processor, recipe.signal.window)

    def wait(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


Check = Callable[[Setting], Iterator[Finding]]
