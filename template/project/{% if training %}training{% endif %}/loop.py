# copier update rewrites this file, unless "What is yours" in README.md names it.
"""The loop: epochs of training, each with a validation, until nothing gets better."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.distributed import all_gather_object
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from service import task
from tools.project import ProjectError
from training.data import Batch, Items, Order, batches_of, generator_of
from training.run import BEST, LAST, Row, Run
from training.task import METRIC, Measure, loss

WARM_UP = 0.05  # of all steps, in which the learning rate rises; then it falls as a cosine does


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        epochs: The most.
        batch_size: Of each process.
        lr: The greatest learning rate.
        weight_decay: Of AdamW.
        seed: Decides all that is random.
        patience: So many epochs without a better one end the training; 0: none do.
        workers: Processes that read the data, for each that trains.
    """

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    seed: int
    patience: int
    workers: int


def new_fabric() -> Fabric:
    """Return what knows the GPUs, all of which are used; mixed precision where they have it."""
    has_bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    devices = torch.cuda.device_count() or 1
    precision: Any = "bf16-mixed" if has_bf16 else "32-true"
    return Fabric(accelerator=accelerator, devices=devices, precision=precision)


def train(
    fabric: Fabric,
    network: nn.Module,
    items: Items,
    others: Items,
    settings: Settings,
    run: Run,
) -> Row:
    """Train until the last epoch, or until nothing gets better; return the best epoch's row.

    What is random depends on the seed and the number of the epoch alone: a run that was stopped
    goes on with the epoch that it had not finished, and ends as if nothing had happened.

    Args:
        fabric: Knows the GPUs.
        network: Takes what the service collates, and returns its output alone.
        items: To train on.
        others: To validate with.
        settings: How to train.
        run: Keeps what comes of it.
    """
    order = Order(len(items), settings.seed, fabric.global_rank, fabric.world_size)
    loader = batches_of(items, order, settings.batch_size, settings.workers)
    part = Order(len(others), None, fabric.global_rank, fabric.world_size)
    validating = batches_of(others, part, settings.batch_size, settings.workers)

    optimizer = AdamW(network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    steps = settings.epochs * len(loader)
    schedule = LambdaLR(optimizer, lambda step: rate(step, steps))
    model, wrapped = fabric.setup(network, optimizer)
    history: list[Row] = []
    if state := run.read_state(LAST):
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        history = state["history"]

    while not is_done(history, settings):
        epoch = len(history) + 1
        order.epoch = epoch
        torch.manual_seed(generator_of(settings.seed, epoch, fabric.global_rank).initial_seed())
        row: Row = {"epoch": epoch, "lr": float(schedule.get_last_lr()[0])}
        title = f"epoch {epoch} of {settings.epochs}"
        row["train_loss"] = train_epoch(fabric, model, loader, wrapped, schedule, title)
        row |= validate(fabric, network, validating)
        history.append(row)
        if fabric.is_global_zero:
            numbers = (f"{x} {row[x]:.4f}" for x in ("train_loss", "loss", METRIC))
            print(f"{title}: {', '.join(numbers)}", flush=True)
            if best_of(history) is row:
                run.write_state(BEST, network.state_dict())
            run.write_history(history, METRIC)
            run.write_state(
                LAST,
                {
                    "network": network.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                    "history": history,
                },
            )
        fabric.barrier()
    return best_of(history)


def train_epoch(
    fabric: Fabric,
    model: nn.Module,
    loader: Iterable[Batch],
    optimizer: Any,
    schedule: LambdaLR,
    title: str,
) -> float:
    """Go through the data once, and return the mean loss of the batches."""
    model.train()
    total, count = 0.0, 0
    for batch in tqdm(loader, title, disable=None if fabric.is_global_zero else True, leave=False):
        inputs, targets = on_device(fabric, batch)
        try:
            value = loss(model(inputs), targets)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ProjectError(
                "batch norm in the network learns from two examples or more at once; give "
                "--batch-size at least 2, and as many examples"
            ) from error
        optimizer.zero_grad()
        fabric.backward(value)
        optimizer.step()
        schedule.step()
        total, count = total + value.item(), count + 1
    mean = total / count
    if not math.isfinite(mean):
        raise ProjectError(f"{title}: the loss is {mean}; try a smaller --lr")
    return mean


@torch.inference_mode()
def validate(fabric: Fabric, network: nn.Module, loader: Iterable[Batch]) -> dict[str, float]:
    """Return the metrics of the network in full precision, as the service will run it."""
    network.eval()
    measure = Measure()
    for batch in loader:
        inputs, targets = on_device(fabric, batch)
        measure.add(network(inputs).float(), targets)
    if fabric.world_size == 1:
        return measure.metrics()
    measures: list[Any] = [None] * fabric.world_size
    all_gather_object(measures, measure)
    whole = Measure()
    for part in measures:
        whole.include(part)
    return whole.metrics()


def on_device(fabric: Fabric, batch: Batch) -> tuple[torch.Tensor, Any]:
    """Return the network's input, made by the service's own code, and what is right."""
    if batch.problem:
        raise ProjectError(batch.problem)
    return task.normalize(batch.items.to(fabric.device)), fabric.to_device(batch.targets)


def rate(step: int, steps: int) -> float:
    """Return the share of the learning rate for a step."""
    rising = max(1, round(WARM_UP * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 + 0.5 * math.cos(math.pi * (step - rising) / max(1, steps - rising))


def best_of(history: list[Row]) -> Row:
    """Return the row of the best epoch: of equal ones that with the least loss."""
    return max(history, key=lambda row: (row[METRIC], -row["loss"]))


def is_done(history: list[Row], settings: Settings) -> bool:
    """Tell whether no epoch is to follow."""
    if len(history) >= settings.epochs:
        return True
    since = len(history) - best_of(history)["epoch"] if history else 0
    return 0 < settings.patience <= since
