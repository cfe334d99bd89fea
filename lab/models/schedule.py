"""The optimizer and the learning rate schedule of a run."""

import functools
import inspect
import math
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import nn
from torch.optim import Adagrad, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from lab.models.recipe import made_by

HAVE_A_FUSED_STEP = (Adam, AdamW, Adagrad)  # of those that have one on a CPU, SGD's saves nothing


def optimizer_and_schedule(
    model: LightningModule, make_optimizer: OptimizerCallable, make_scheduler: LRSchedulerCallable | None
) -> Any:
    """Make the optimizer of all parameters that train, and its scheduler, as ``configure_optimizers`` returns them.

    A scheduler that takes ``total_steps`` is told the steps of the run and advances every step, any other every epoch; one
    that waits for a plateau watches the score it names, else ``val/loss``.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        if any(True for _ in model.parameters()):
            raise ValueError("nothing is left to train: callbacks.freeze keeps all parameters of the model; freeze fewer parts")
        raise ValueError("model.encoder has no parameters to train, nor has what stands on it")
    optimizer = _made("optimizer", make_optimizer, trained, **_fused(model, trained, make_optimizer))
    if make_scheduler is None:
        return optimizer
    takes_steps = "total_steps" in inspect.signature(made_by(make_scheduler)).parameters
    options = {"total_steps": model.trainer.estimated_stepping_batches} if takes_steps else {}
    if options and math.isinf(options["total_steps"]):
        raise ValueError("model.scheduler needs to know when training ends: set trainer.max_epochs, or model.scheduler null")
    scheduler = _made("scheduler", make_scheduler, optimizer, **options)
    schedule = {"scheduler": scheduler, "interval": "step" if takes_steps else "epoch"}
    return {"optimizer": optimizer, "lr_scheduler": {**schedule, "monitor": getattr(scheduler, "monitor", "val/loss")}}


def _fused(model: LightningModule, parameters: list[nn.Parameter], make_optimizer: OptimizerCallable) -> dict[str, bool]:
    """Ask for the step of Adam, AdamW or Adagrad in one call of C++ on a CPU, unless the user says how to take it."""
    # The same formula up to rounding, in a third of the time; on a GPU PyTorch chooses among its forms itself. It takes numbers
    # as they lie in memory: gradients and what is kept of them lie as their parameter does, by autograd's own rule.
    can_be = all(parameter.device.type == "cpu" and parameter.is_floating_point() for parameter in parameters)
    clips = model._trainer is not None and model._trainer.gradient_clip_val and "mixed" in str(model._trainer.precision)
    if not can_be or clips or made_by(make_optimizer) not in HAVE_A_FUSED_STEP:  # Lightning clips no other in mixed precision
        return {}
    said = make_optimizer.keywords if isinstance(make_optimizer, functools.partial) else {}
    says = said.get("differentiable") or any(said.get(name) is not None for name in ("fused", "foreach"))
    return {} if says else {"fused": True}


def _made(key: str, maker: Any, *arguments: Any, **options: Any) -> Any:
    try:
        return maker(*arguments, **options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"model.{key}: {error}") from error


def check_makers(optimizer: Any, scheduler: Any) -> None:
    """Refuse an optimizer or a scheduler in place of what makes one.

    Raises:
        ValueError: naming what to give instead.
    """
    for kind, maker in (("optimizer", optimizer), ("scheduler", scheduler)):
        if isinstance(maker, Optimizer | LRScheduler):
            name = type(maker).__name__
            raise ValueError(f"{kind}: give what makes one, such as functools.partial({name}, ...), in place of {name}(...)")


def check_learning_rate(make_optimizer: OptimizerCallable, make_scheduler: LRSchedulerCallable | None) -> None:
    """Refuse a learning rate that would have no effect, as one-cycle starts and ends where its own says.

    Raises:
        ValueError: naming both keys.
    """
    if make_scheduler is None or made_by(make_scheduler) is not OneCycleLR:
        return
    asked_for, max_lr = (_keyword(maker, name) for maker, name in ((make_optimizer, "lr"), (make_scheduler, "max_lr")))
    if isinstance(max_lr, int | float) and not 0 < max_lr < math.inf:
        raise ValueError(f"model.scheduler.max_lr must be a positive number, not {max_lr}")
    default = inspect.signature(made_by(make_optimizer)).parameters.get("lr")
    # What the config had for another optimizer, 0.001 where it said nothing, stays where one is named on the command line.
    if asked_for not in (None, max_lr, 1e-3, default and default.default):
        raise ValueError(
            f"model.optimizer.lr {asked_for} has no effect under OneCycleLR, which sets the rate: set model.scheduler.max_lr, "
            "or model.scheduler null"
        )


def _keyword(maker: Any, name: str) -> Any:
    return maker.keywords.get(name) if isinstance(maker, functools.partial) else None


def check_schedule(trainer: Trainer) -> None:
    """Refuse to go on from a checkpoint whose schedule does not end with the run.

    Raises:
        ValueError: naming both lengths.
    """
    for config in trainer.lr_scheduler_configs:
        steps = getattr(config.scheduler, "total_steps", None)
        if steps is not None and steps != trainer.estimated_stepping_batches:
            raise ValueError(
                f"the learning rate schedule of the checkpoint ends after {steps} steps and the run after "
                f"{trainer.estimated_stepping_batches:.0f}: resume with the trainer.max_epochs it was started with"
            )
