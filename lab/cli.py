"""The command line: configs and arguments in, the data, model and trainer of one run out."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError
from jsonargparse._util import import_object
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelSummary, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger

from lab.callbacks import default_callbacks
from lab.callbacks.idle import Unprofiled
from lab.complaint import Complaint
from lab.config_files import check_groups, read_config
from lab.configuration import make_paths_absolute
from lab.data import Augmentation, Episodes, Folds
from lab.explain import explain
from lab.instantiation import FamilyInstantiator
from lab.metrics import Evaluation
from lab.models import Family
from lab.options import devices_of_torchrun, given, show_help
from lab.overlooked import check_overlooked
from lab.preflight import check_filled_in, check_parts, check_settings
from lab.refusals import class_paths, explain_refusal
from lab.resume import loggers
from lab.runs import PROJECT, discard_run_folder, is_main_process, new_run_folder
from lab.trust import check_strangers, deny_strangers
from lab.writing import whole_file

CONFIGS = PROJECT / "configs"
# What a model and its encoder are told of the data, where they have such an argument.
FROM_DATA = {
    "num_classes": "num_classes",
    "encoder.init_args.image_shape": "image_shape",
    "other_encoder.init_args.image_shape": "image_shape",
}
# Where classes are looked for that are named wrongly, by the last part of the key.
CLASSES_OF = {
    "data": ["lab.data"],
    "model": ["lab.models"],
    "encoder": ["lab.nets"],
    "loss": ["lab.losses", "torch.nn"],
    "optimizer": ["torch.optim"],
    "scheduler": ["torch.optim.lr_scheduler"],
    "callbacks": ["lightning.pytorch.callbacks"],
}
GROUPS: dict[str, Callable[..., Any]] = {"trainer": Trainer, "callbacks": default_callbacks}
DESCRIBED = {"model.evaluation": Evaluation, "data.episodes": Episodes, "data.folds": Folds, "data.augmentation": Augmentation}
CALLBACK_SWITCHES = {
    "enable_checkpointing": Checkpoint,
    "enable_model_summary": ModelSummary,
    "enable_progress_bar": ProgressBar,
}


class LabCLI(LightningCLI):
    """Reads configs and arguments, and makes the data, the model and the trainer of one run."""

    def __init__(self, suffix: str = "", run_folder: Path | None = None, trusted: list[str] | None = None) -> None:
        """Make the parts of a run.

        Args:
            suffix: of the name of its folder.
            run_folder: that of a run that goes on; None for a new one.
            trusted: modules whose classes the config may name, beside known ones; None for all, where the user has named it.
        """
        self.suffix = suffix
        self.run_folder, self.trusted = run_folder, trusted
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
                "usage": "%(prog)s --config FILE [--config FILE ...] [--KEY VALUE ...]",
                "description": "A model family, a network, a loss and a data set are chosen in the config; every value in it "
                "can be replaced, as in --model.encoder.width 64. The options of a class: --model.help lab.models.Triplet.",
            },
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the arguments of a run, and fill in what the model has to know of the data."""
        parser.add_argument("--name", type=str | None, help="Name of the run's folder (default: the first config's).")
        parser.add_argument("--ckpt_path", type=str | None, help="Checkpoint to resume from, or to test.")
        parser.add_argument(
            "--encoder_from", type=str | None, help="Checkpoint of any family whose encoder's weights to start from."
        )
        parser.add_argument("--weights_from", type=str | None, help="Checkpoint of the same family and network to start from.")
        parser.add_argument("--resume", type=str | None, help="Folder of a run that was interrupted, to go on with it there.")
        parser.add_argument("--trust", type=str | None, help="Module of classes that a run's own config may name, too.")
        parser.add_argument("--debug", action="store_true", help="Show the traceback of an error.")
        parser.add_function_arguments(default_callbacks, "callbacks", skip={"run_folder"}, fail_untyped=False)
        for target, name in FROM_DATA.items():
            compute = self._encoder_image_shape if name == "image_shape" else _attribute(name)
            parser.link_arguments("data", f"model.init_args.{target}", compute_fn=compute, apply_on="instantiate")

    def _encoder_image_shape(self, data: Any) -> tuple[int, ...]:
        family: type[Family] = import_object(self.config.model.class_path)
        return family.encoder_image_shape(_attribute("image_shape")(data), self.config.model.get("init_args") or {})

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Read configs and arguments; say in one line what is wrong with them."""
        show_help(DESCRIBED)
        if self.trusted is not None:
            deny_strangers(self.trusted)
        files = [(path, "") for path in given("--config", "-c")]
        files += [(path, key) for key in ("data", "model") for path in given(f"--{key}") if path.endswith((".yaml", ".yml"))]
        entries = [entry for path, key in files if path for entry in read_config(Path(path), key)]
        check_groups(entries, list(GROUPS))
        try:
            super().parse_arguments(parser, args)
        except ArgumentError as error:
            keys = [action.dest for action in parser._actions]
            raise ValueError(explain(Complaint(error.message or "", entries, sys.argv[1:], keys, CLASSES_OF))) from error
        if self.trusted is not None:
            check_strangers(self.config, self.trusted)
        filled_in = [f"model.{target.replace('.init_args', '')}" for target in FROM_DATA]
        check_filled_in(filled_in, entries, sys.argv[1:])
        check_overlooked(self.config, {**GROUPS, **DESCRIBED}, filled_in, entries)
        check_settings(self.config)

    def before_instantiate_classes(self) -> None:
        """Name the run."""
        if self.config.name is None:
            self.config.name = Path(str(self.config.config[0])).stem if self.config.config else "run"
        self.asked_for = self.config.clone()

    def _add_instantiators(self) -> None:
        super()._add_instantiators()
        self.parser.add_instantiator(FamilyInstantiator(self, "model"), Family, subclasses=True)

    def instantiate_classes(self) -> None:
        """Make data, model and trainer; pass on in their own words what they refuse."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            raise ValueError(explain_refusal(error, class_paths(self.config))) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the run's folder, and a trainer that writes there, with the default callbacks before the user's own."""
        settings = {**self.config_init.trainer, **kwargs, **devices_of_torchrun()}
        check_parts(self.model, self.datamodule, self.config, resuming=not self.suffix)
        if not settings["fast_dev_run"]:
            self.run_folder = self._make_run_folder(settings)
        settings |= {"default_root_dir": self.run_folder, "logger": self._loggers(_as_list(settings["logger"]))}
        try:
            settings["callbacks"] = self._callbacks(settings)
            for switch, kind in CALLBACK_SWITCHES.items():
                settings[switch] = any(isinstance(callback, kind) for callback in settings["callbacks"])
            return Trainer(**{**settings, "profiler": settings["profiler"] or Unprofiled()})
        except Exception as error:
            if is_main_process() and not self.config.resume:  # which must not cost what there was before
                discard_run_folder(self.run_folder)
            raise ValueError(str(error) if str(error).startswith("callbacks.") else f"trainer: {error}") from error

    def _loggers(self, own: list[Any]) -> list[Logger]:
        """TensorBoard, CSV and the user's own loggers; none at all where the user said false."""
        if self.run_folder is None or False in own:
            return []
        usual = loggers(self.run_folder, self.config.ckpt_path if self.config.resume else None)
        return [*usual, *(logger for logger in own if logger is not True)]

    def _callbacks(self, settings: dict[str, Any]) -> list[Callback]:
        """The default callbacks, but for what the trainer's own switches turn off, and the user's."""
        own = _as_list(settings["callbacks"])
        chosen = self.config.callbacks.as_dict()
        chosen["monitor"] = chosen["monitor"] or self.model.monitor
        chosen["learning_rate"] &= bool(settings["logger"])
        for switch, name in (("enable_checkpointing", "checkpoints"), ("enable_model_summary", "model_summary")):
            chosen[name] &= settings[switch] is not False
        # Lightning takes one progress bar: the user's own, where there is one.
        its_own = any(isinstance(callback, ProgressBar) for callback in own)
        chosen["progress_bar"] &= settings["enable_progress_bar"] is not False and not its_own
        return [*default_callbacks(self.run_folder, **chosen), *own]

    def _make_run_folder(self, settings: dict[str, Any]) -> Path | None:
        logs = Path(settings["default_root_dir"] or PROJECT / "lightning_logs").resolve()
        parent = logs / (self.config.name + self.suffix)
        if not is_main_process():  # which writes nothing, and need not know which version it is
            return self.run_folder or Path(parent, "version_of_the_main_process")
        try:
            folder = self.run_folder or new_run_folder(parent)
        except OSError as error:
            raise ValueError(f"trainer.default_root_dir {logs} cannot be written: {error.strerror}") from error
        self.save_config(folder / "config.yaml")
        return folder

    def save_config(self, path: Path) -> None:
        """Write every setting, resolved, from which a run can be repeated."""
        config, of_a_resume = self.asked_for, ["ckpt_path"] * bool(self.config.resume)
        for key in ("config", "debug", "resume", "trust", *(f"model.init_args.{target}" for target in FROM_DATA), *of_a_resume):
            config.pop(key, None)
        make_paths_absolute(config)
        with whole_file(path) as unfinished:
            self.parser.save(config, unfinished, skip_unset=False, overwrite=True, multifile=False)


def _attribute(name: str) -> Callable[[Any], Any]:
    def read(data: Any) -> Any:
        if not hasattr(data, name):
            raise ValueError(f"the data set {type(data).__name__} must have the attribute {name}, as lab.data.MNIST has")
        return getattr(data, name)

    read.__name__ = name  # what --help shows
    return read


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
