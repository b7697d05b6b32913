"""Take three training steps on fixed windows: python tests/training/distributed_steps.py FOLDER [RANK SIZE PORT].

test_distributed.py starts one such process, or two that share the batches.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from leadwise.network.devices import CPU  # noqa: E402
from leadwise.recipes import NetworkRecipe, Recipe, SignalRecipe, TrainingRecipe  # noqa: E402
from leadwise.training.distributed import process_group  # noqa: E402
from leadwise.training.epoch import train_batch  # noqa: E402
from leadwise.training.examples import Examples  # noqa: E402
from leadwise.training.fold_state import FoldState  # noqa: E402
from leadwise.training.validation import predict  # noqa: E402
from tests.training.folds import make_dataset  # noqa: E402

KERNELS = (7, 5)  # the first has a fast form on a CPU, the second has not


def recipe(kernel: int) -> Recipe:
    """Return a recipe of a small network without dropout."""
    network = NetworkRecipe(stem_channels=8, block_channels=(8, 16), reduction=2, dropout=0.0, kernel=kernel)
    signal = SignalRecipe(window=256, overlap=32)
    return Recipe("steps", signal=signal, network=network, training=TrainingRecipe(batch_size=7))


def main(folder: Path) -> None:
    """Write weights, statistics, losses and probabilities as `rankNofSIZE.safetensors`."""
    torch.set_num_threads(1)
    dataset = make_dataset([300, 200, 256, 600] * 6)
    found = {}
    with process_group() as group:
        for kernel in KERNELS:
            state = FoldState.begin(recipe(kernel), 7, CPU, group=group)
            examples = Examples.of(dataset, CPU.device)
            state.networks.network.train()
            losses = []
            for step in range(3):
                batch = (torch.arange(7) * 3 + step) % len(dataset)  # seven: the two shares are of unequal size
                offsets = torch.arange(7) * 5 - 15
                losses.append(train_batch(state, examples, batch, offsets))
            found[f"{kernel}.losses"] = torch.stack(losses)
            members = np.arange(9)
            probabilities = predict(state, examples, dataset.lengths, members)
            found[f"{kernel}.probabilities"] = torch.from_numpy(probabilities)
            found |= {f"{kernel}.{name}": value.clone() for name, value in state.networks.network.state_dict().items()}
        save_file(found, folder / f"rank{group.rank}of{group.size}.safetensors")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        rank, size, port = sys.argv[2:]
        os.environ |= {"RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    main(Path(sys.argv[1]))
