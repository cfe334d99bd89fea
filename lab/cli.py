"""The command line: the one file that knows data and models."""

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from lab.callbacks import default_callbacks
from lab.explain import explain, explain_refusal
from lab.models import Family, check_checkpoint
from lab.runs import PROJECT, environment, new_run_folder, print_next, print_scores, write_json

CONFIGS = PROJECT / "configs"


class LabCLI(LightningCLI):
    """Reads configs and arguments, and makes the data, the model and the trainer of one run."""

    run_folder: Path | None = None

    def __init__(self, suffix: str = "") -> None:
        self.suffix = suffix
        super().__init__(
            Family,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            run=False,
            parser_kwargs={
                "default_config_files": [str(CONFIGS / "default.yaml")],
                "exit_on_error": False,
                "allow_abbrev": False,
                "description": "Train, or test, a model family on a data set. A config file gives every value below; "
                "arguments given after it replace them.",
            },
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the arguments of a run, and fill in what the model has to know of the data."""
        parser.add_argument("--name", type=str | None, help="Name of the run's folder (default: the first config's).")
        parser.add_argument("--ckpt_path", type=str | None, help="Checkpoint to resume from, or to test.")
        parser.add_argument("--debug", action="store_true", help="Show the traceback of an error.")
        parser.add_function_arguments(default_callbacks, "callbacks", skip={"run_folder", "family_monitor"}, fail_untyped=False)
        for name, target in (("num_classes", "num_classes"), ("image_shape", "encoder.init_args.image_shape")):
            parser.link_arguments("data", f"model.init_args.{target}", compute_fn=_attribute(name), apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Read configs and arguments; say in one line what is wrong with them."""
        try:
            super().parse_arguments(parser, args)
        except ArgumentError as error:
            pairs = zip(sys.argv, sys.argv[1:], strict=False)
            configs = [Path(after) for before, after in pairs if before in ("--config", "-c")]
            keys = [action.dest for action in parser._actions]
            raise ValueError(explain(error.message or "", configs, sys.argv[1:], keys)) from error

    def before_instantiate_classes(self) -> None:
        """Name the run, and let the data follow the run's seed where it has none of its own."""
        if self.config.name is None:
            self.config.name = Path(str(self.config.config[0])).stem if self.config.config else "run"
        options = self.config.data.get("init_args")
        if options is not None and "seed" in options and options.seed is None:
            options.seed = self.config.seed_everything

    def instantiate_classes(self) -> None:
        """Make data, model and trainer; pass on in their own words what they refuse."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            raise ValueError(explain_refusal(str(error))) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the run's folder, and a trainer that writes there, with the default callbacks before the user's own."""
        settings = {**self.config_init.trainer, **kwargs}
        own_callbacks, own_loggers = (_as_list(settings[key]) for key in ("callbacks", "logger"))
        if "LOCAL_RANK" not in os.environ:  # what is wrong with the data is said before there is a run
            self.datamodule.prepare_data()
            self.datamodule.setup("fit")
        if not settings["fast_dev_run"]:
            self.run_folder = self._make_run_folder(settings)
        loggers: list[Any] = [logger for logger in own_loggers if not isinstance(logger, bool)]
        if self.run_folder is not None and False not in own_loggers:
            save_dir, name, version = self.run_folder.parent.parent, self.run_folder.parent.name, self.run_folder.name
            loggers = [TensorBoardLogger(save_dir, name, version), CSVLogger(save_dir, name, version), *loggers]
        monitored = (self.model.monitor, self.model.monitor_mode)
        callbacks = default_callbacks(self.run_folder, monitored, **self.config.callbacks.as_dict())
        return Trainer(
            **{
                **settings,
                "logger": loggers,
                "callbacks": [*callbacks, *own_callbacks],
                "default_root_dir": self.run_folder,
                "enable_progress_bar": settings["enable_progress_bar"] is not False and sys.stdout.isatty(),
                "enable_model_summary": False,
                "use_distributed_sampler": False,
            }
        )

    def _make_run_folder(self, settings: dict[str, Any]) -> Path:
        logs = Path(settings["default_root_dir"] or PROJECT / "lightning_logs").resolve()
        # A process that Lightning starts for another device writes where the one that started it does.
        inherited = os.environ.get("LAB_RUN_FOLDER") if "LOCAL_RANK" in os.environ else None
        folder = Path(inherited) if inherited else new_run_folder(logs / (self.config.name + self.suffix))
        os.environ["LAB_RUN_FOLDER"] = str(folder)
        config = self.config.clone()
        for key in ("config", "debug", "ckpt_path"):
            config.pop(key, None)
        self.parser.save(config, folder / "config.yaml", skip_none=False, overwrite=True, multifile=False)
        return folder


def fit() -> None:
    """Train by the command line; then score the best checkpoint on the test split, once, and record all of it."""
    _run(_fit)


def test() -> None:
    """Score a checkpoint by the command line on the test split, by its run's own config unless another is given."""
    _run(_test)


def _fit() -> None:
    cli = LabCLI()
    if cli.config.ckpt_path is not None:
        check_checkpoint(cli.config.ckpt_path, cli.model)
    started = time.perf_counter()
    cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=cli.config.ckpt_path, weights_only=True)
    seconds = {"fit": round(time.perf_counter() - started, 1)}
    best = getattr(cli.trainer.checkpoint_callback, "best_model_path", "") or None
    _score(cli, best, seconds)


def _test() -> None:
    path = next((after for before, after in zip(sys.argv, sys.argv[1:], strict=False) if before == "--ckpt_path"), None)
    if path is None:
        raise ValueError("name the checkpoint to test: --ckpt_path lightning_logs/NAME/version_0/checkpoints/best.ckpt")
    own_config = Path(path).parent.parent / "config.yaml"
    if "--config" not in sys.argv and own_config.is_file():
        sys.argv[1:1] = ["--config", str(own_config)]
    cli = LabCLI(suffix="_test")
    check_checkpoint(path, cli.model)
    _score(cli, path, {})


def _score(cli: LabCLI, checkpoint: str | None, seconds: dict[str, float]) -> None:
    """Test, show the scores and what to type next, and write them to the run's folder."""
    started = time.perf_counter()
    cli.trainer.test(cli.model, cli.datamodule, ckpt_path=checkpoint, weights_only=True, verbose=False)
    seconds["test"] = round(time.perf_counter() - started, 1)
    if not cli.trainer.is_global_zero:
        return
    scores = {name: value.item() for name, value in sorted(cli.trainer.callback_metrics.items()) if name.startswith("test/")}
    print_scores(f"{type(cli.model).__name__} on {type(cli.datamodule).__name__}", scores)
    if cli.run_folder is None:
        return
    trained = {"epochs": cli.trainer.fit_loop.epoch_progress.current.completed} if "fit" in seconds else {}
    facts = {"seed": cli.config.seed_everything, **trained, "seconds": seconds, "checkpoint": checkpoint, **environment()}
    write_json(cli.run_folder / "metrics.json", {**scores, **facts})
    print_next(cli.run_folder, checkpoint, trained_in=seconds.get("fit"))


def _run(command: Callable[[], None]) -> None:
    """Run a command; what a user got wrong ends it with one line and exit code 2, unless ``--debug`` asks for more."""
    sys.path.insert(0, str(Path.cwd()))  # where a user's own classes are looked for, as with python -m
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")  # advice on worker processes, and its own deprecations
    try:
        command()
    except (ValueError, MisconfigurationException) as error:
        if "--debug" in sys.argv:
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def _attribute(name: str) -> Callable[[Any], Any]:
    def read(data: Any) -> Any:
        if not hasattr(data, name):
            raise ValueError(f"the data set {type(data).__name__} must have the attribute {name}, as lab.data.MNIST has")
        return getattr(data, name)

    return read


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
