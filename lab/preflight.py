"""What is looked at before there is a run: settings that contradict each other, and whether data and model fit together."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule

from lab.config_files import Entry
from lab.device import cpu_has_bf16
from lab.models import (
    Family,
    check_checkpoint,
    check_frozen,
    check_learning_rate,
    check_needs,
    check_resume,
    load_encoder_from,
    load_weights_from,
    rehearse,
)
from lab.runs import is_main_process

FROM = "start from another run by --encoder_from or --weights_from"
LEAST = {  # that a number of the trainer's can be
    **dict.fromkeys(("accumulate_grad_batches", "check_val_every_n_epoch"), 1),
    **dict.fromkeys(("gradient_clip_val", "log_every_n_steps", "min_epochs", "min_steps"), 0),
}


def check_filled_in(keys: list[str], entries: list[Entry], arguments: list[str]) -> None:
    """Refuse values for keys that are filled in from the data, which would have no effect.

    Raises:
        ValueError: naming the key.
    """
    for key in keys:
        named = any(argument.startswith(f"--{key}=") or argument == f"--{key}" for argument in arguments)
        if named or any(entry.key == key and entry.value not in ("", "null") for entry in entries):
            raise ValueError(f"{key} is filled in from the data: leave it out")


def check_settings(config: Any) -> None:
    """Refuse settings of the run that cannot be, before anything is made by them.

    Raises:
        ValueError: naming the key.
    """
    seed, devices = config.seed_everything, config.trainer.devices
    if seed is None or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ValueError(f"seed_everything must be a whole number from 0 to {2**32 - 1}, not {seed}")
    available = max(os.cpu_count() or 1, torch.cuda.device_count())
    if str(devices).isdigit() and int(devices) > available:
        raise ValueError(f"trainer.devices {devices} is more than the {available} that this machine has")
    if config.trainer.limit_train_batches == 0:
        raise ValueError("trainer.limit_train_batches 0 leaves nothing to train on")
    for name, least in LEAST.items():
        number = config.trainer[name]
        if number is not None and not number >= least:
            raise ValueError(f"trainer.{name} must be {least} or more, not {number}")
    interval = config.trainer.val_check_interval  # in Lightning 2.6, checkpoints and early stopping fail with a time
    if interval is not None and (not isinstance(interval, int | float) or interval <= 0):
        raise ValueError(f"trainer.val_check_interval must be a share of an epoch or a number of steps, not {interval}")
    if config.trainer.max_epochs == 0 or config.trainer.max_steps == 0:
        raise ValueError("trainer.max_epochs 0 and trainer.max_steps 0 train nothing; scripts/test.py scores a checkpoint")
    if config.encoder_from is not None and config.weights_from is not None:
        raise ValueError("encoder_from and weights_from each say which weights to start from: leave one out")
    if config.callbacks.patience < 0:
        raise ValueError(f"callbacks.patience must be 0 or more, not {config.callbacks.patience}")
    if config.name is not None and (config.name in ("", ".", "..") or Path(config.name).name != config.name):
        raise ValueError(f"name must be that of a folder below trainer.default_root_dir, not {config.name!r}")
    on_cpu = config.trainer.accelerator == "cpu" or (config.trainer.accelerator == "auto" and not torch.cuda.is_available())
    if config.trainer.sync_batchnorm and on_cpu:
        raise ValueError(
            "trainer.sync_batchnorm true needs a GPU: on a CPU, batch norm is of the images of each process; set it false"
        )
    if on_cpu:
        _warn_of_precision(str(config.trainer.precision))


def _warn_of_precision(precision: str) -> None:
    if "bf16" in precision and cpu_has_bf16() is False and is_main_process():
        print(
            f"WARNING: trainer.precision {precision}: this processor has no instructions for bf16, without which convolutions "
            "take some ten times as long: leave it out"
        )


def check_parts(model: Family, data: LightningDataModule, config: Any, resuming: bool) -> None:
    """Find what is wrong with the data, with what the model makes of it and with the checkpoints to start from.

    Raises:
        ValueError: naming what does not fit.
    """
    if not is_main_process():  # which finds what is wrong; and the data may not be prepared yet
        if config.weights_from is not None and config.ckpt_path is None:
            load_weights_from(model, data, config.weights_from)
        rehearse(model, (torch.zeros(8, *data.image_shape), torch.arange(8) % 2))  # type: ignore[attr-defined]
        return
    data.prepare_data()
    data.setup("fit")
    check_needs(model, data)
    if getattr(data, "exclude", None) is not None:
        print(f"{len(data.splits['train']):,} training images, without those of {data.exclude}")  # type: ignore[attr-defined]
    chooses = config.callbacks.checkpoints or config.callbacks.early_stopping
    by_validation = (config.callbacks.monitor or model.monitor).startswith("val/")
    if chooses and by_validation and "val" in getattr(data, "join", ()) and getattr(data, "folds", None) is None:
        raise ValueError("data.join val leaves no validation to choose the best epoch by: set callbacks.monitor train/loss")
    check_learning_rate(model.optimizer, model.scheduler)
    with torch.random.fork_rng(devices=[]):
        batch = _first_batch(data, validating=config.trainer.limit_val_batches != 0)
    rehearse(model, data.on_after_batch_transfer(batch, 0))
    if config.ckpt_path is not None:
        check_checkpoint(config.ckpt_path, model)
        if resuming:
            check_resume(config.ckpt_path, model, config.trainer.max_epochs, in_place=config.resume is not None)
            check_frozen(config.ckpt_path, model, config.callbacks.freeze or [])
    elif config.weights_from is not None:
        print(load_weights_from(model, data, config.weights_from))
    elif config.encoder_from is not None:
        print(load_encoder_from(model, config.encoder_from))  # whose weights all processes begin with
    elif config.callbacks.freeze:
        print(f"WARNING: callbacks.freeze keeps weights that nothing has trained: {FROM}")


def _first_batch(data: LightningDataModule, validating: bool) -> Any:
    """Return a few images and labels, of the validation split where there is one."""
    loader: Any = (data.val_dataloader() if validating else None) or data.train_dataloader()
    batch: Any = next(iter(loader[0] if isinstance(loader, list) else loader), None)
    whole = isinstance(batch, list | tuple) and len(batch) == 2 and all(isinstance(part, torch.Tensor) for part in batch)
    if not whole or len(batch[0]) == 0:
        given = f"a {type(batch).__name__}" if batch is not None else "nothing"
        raise ValueError(f"data: a batch must be two tensors, images and labels; {type(data).__name__} gives {given}")
    return [part[:8] for part in batch]
