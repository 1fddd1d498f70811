# copier update rewrites this file, unless "What is yours" in README.md names it.
"""From the weights as they were trained to the code that is served."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn
from torch._inductor import aoti_compile_and_package

from service import task
from tools.project import ProjectError, change_answer
from tools.trained import load_trained

CONVERSION = "aot_inductor, fp16"
SERVED_NAME = "model.pt2"  # in the archive


class Reduced(nn.Module):
    """A network that computes in torch.float16."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the float32 output for float32 images (N, 3, H, W)."""
        return self.network(images.to(torch.float16)).float()


def convert(weights: Path, target: Path, examples: Mapping[str, bytes]) -> str:
    """Compile the network with the weights of a state_dict, for batches of any size up to the most.

    Args:
        weights: The state_dict, as it was trained.
        target: The file to write.
        examples: Encoded images by path; not needed to compile.

    Returns:
        What was made, for people.

    Raises:
        ProjectError: It cannot be compiled.
    """
    if not torch.cuda.is_available():
        raise ProjectError(
            "AOTInductor compiles for the GPU that is there, and here is none; build the archive "
            f"where it is served, or compile nothing: {change_answer(backend='eager')}"
        )
    device = torch.device("cuda")
    network = load_trained(weights, device)
    network = Reduced(network.to(torch.float16)).eval()
    images = task.normalize(task.collate([task.example()] * 2)).to(device)
    free = {0: torch.export.Dim("batch", max=task.MAX_BATCH)}
    try:
        with torch.no_grad():
            program = torch.export.export(network, (images,), dynamic_shapes=(free,))
            # Freezing puts the weights into the code, in the layout that is fastest.
            aoti_compile_and_package(
                program, package_path=str(target), inductor_configs={"freezing": True}
            )
    except Exception as error:  # the exporter and the compiler have many kinds
        raise ProjectError(
            f"the network cannot be compiled: {str(error).strip().splitlines()[0]}. It takes a C++ "
            "compiler (g++).\nServe it as it is with: "
            f"{change_answer(backend='eager', precision='fp32')}"
        ) from error
    return f"compiled, {target.stat().st_size / 1e6:.1f} MB"
