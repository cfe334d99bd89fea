"""The judge: a model that is trained on all training images but a fold, and says what the images of that fold are."""

from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import Namespace
from torch import Tensor

from lab.apply.trained import Trained
from lab.arguments import called_with
from lab.clean.command import ALWAYS
from lab.cli import FROM_DATA, LabCLI
from lab.config_files import read_config
from lab.data import Folds, ImageDataModule
from lab.metrics import ClassificationMetrics
from lab.options import given
from lab.writing import whole_file

OF_A_COMMAND = ("config", "name", "debug", "resume", "trust")
BATCH_SIZE = 256  # images at a time that are judged


class JudgeCLI(LabCLI):
    """Makes data, model and trainer by a run's config, for a training that writes nothing.

    Args:
        trusted: modules whose classes the config may name, beside known ones.
        turn: which fold is held out; None for the data as the run has them.
    """

    datamodule: ImageDataModule
    settings: str  # all that decides what the judge becomes, as YAML

    def __init__(self, trusted: list[str], turn: Folds | None = None) -> None:
        self.turn = turn
        super().__init__(trusted=trusted)

    def before_instantiate_classes(self) -> None:
        """Leave out what a judge has no use for, after it is known to be of known classes; hold out the fold."""
        super().before_instantiate_classes()
        data, model = self.config.data.get("init_args") or Namespace(), self.config.model.get("init_args") or Namespace()
        _check_data(self.config.data.class_path, data)
        self.config.trainer.callbacks, self.config.trainer.logger, self.config.trainer.strategy = None, False, "auto"
        self.config.ckpt_path = None  # it has seen all images
        if self.turn is None:
            self.config.encoder_from = self.config.weights_from = None
            return
        for name in ("encoder_from", "weights_from"):
            if self.config[name] is not None and not given(f"--{name}"):
                raise ValueError(
                    f"{name} {self.config[name]} may have seen the images to be judged: say --{name} null, or name it again if "
                    "it has not"
                )
        _check_training(self.config.trainer, model.get("scheduler"))
        settings = self.config.clone()
        for key in (*OF_A_COMMAND, *(f"model.init_args.{target}" for target in FROM_DATA)):
            settings.pop(key, None)
        self.settings = self.parser.dump(settings, skip_unset=False)
        data.folds = Namespace(num=self.turn.num, held_out=self.turn.held_out)

    def _make_run_folder(self, settings: dict[str, Any]) -> None:
        """Make none."""


def _check_data(name: str, options: Namespace) -> None:
    for option in ("exclude", "folds"):
        if options.get(option) is not None:
            raise ValueError(f"data.{option} is set in this run: find wrong labels by a run on all of its training images")
    if "folds" not in options:
        raise ValueError(f"{name} has no folds, by which images are judged that were not trained on: only data of lab.data has")


def _check_training(trainer: Namespace, scheduler: Any) -> None:
    if trainer.max_epochs == -1 and trainer.max_steps == -1:
        raise ValueError("trainer.max_epochs -1 would never end, as nothing is validated on: set --trainer.max_epochs")
    if not isinstance(scheduler, Namespace) or not scheduler.class_path.endswith(".ReduceLROnPlateau"):
        return
    if str((scheduler.get("init_args") or Namespace()).get("monitor", "val/loss")).startswith("val/"):
        raise ValueError("model.scheduler ReduceLROnPlateau has no validation scores to wait for: say --model.scheduler null")


def _arguments(config: Path, options: list[str]) -> list[str]:
    return ["--config", str(config), *options, *(part for key, value in ALWAYS.items() for part in (f"--{key}", value))]


def data_of(run: Path, options: list[str], trusted: list[str]) -> ImageDataModule:
    """Return the data of a run, set up as it has trained on them.

    All that its config names is held to what is trusted, though not all is made: it may be a stranger's, and a user who finds
    wrong labels in it will train by it next.

    Args:
        run: its folder.
        options: where the data are, if that has changed.
        trusted: modules whose classes it may name, beside known ones.
    """
    with called_with(_arguments(run / "config.yaml", options)):
        data = JudgeCLI(trusted).datamodule
    if not isinstance(data, ImageDataModule):
        raise ValueError(f"{type(data).__name__} has no splits as an ImageDataModule of lab.data has them")
    return data


def replace_model(run: Path, judge: Path, path: Path) -> Path:
    """Write a run's config with the model of another config, and the checkpoint that its encoder starts from.

    Args:
        run: the folder of the run.
        judge: the other config, or the folder of a run that has one.
        path: the file to write.
    """
    other = judge / "config.yaml" if judge.is_dir() else judge
    own, others = _compose(run / "config.yaml"), _compose(other)
    taken = {key.value: (key, value) for key, value in others.value if key.value in ("model", "encoder_from")}
    if "model" not in taken:
        raise ValueError(f"--judge {judge}: it names no model")
    model = taken["model"][1]
    if isinstance(model, yaml.ScalarNode) and model.value.endswith((".yaml", ".yml")):
        model.value = str((other.parent / model.value).resolve())
    own.value = [*(pair for pair in own.value if pair[0].value not in ("model", "encoder_from")), *taken.values()]
    with whole_file(path) as unfinished:
        unfinished.write_text(yaml.serialize(own, Dumper=yaml.SafeDumper), encoding="utf-8")
    return path


def _compose(path: Path) -> yaml.MappingNode:
    """Return what stands in a config as it is written: of numbers, YAML and the parser have different notions."""
    read_config(path)  # which says what is wrong with it
    node = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)
    return node


def judge(config: Path, options: list[str], trusted: list[str], turn: Folds) -> "Judge":
    """Make what will judge a fold, untrained.

    Raises:
        ValueError: if something is wrong with the config, or its model gives no probabilities of classes.
    """
    with called_with(_arguments(config, options)):
        cli = JudgeCLI(trusted, turn)
    if not isinstance(cli.model.metrics, ClassificationMetrics):
        raise ValueError(
            f"{type(cli.model).__name__} gives no probabilities of classes: name a config with a lab.models.Classifier or a "
            "lab.models.SplitImage by --judge, such as configs/classifier.yaml"
        )
    return Judge(cli, turn)


class Judge:
    """A model before its training, with the data, of which a fold is held out."""

    def __init__(self, cli: JudgeCLI, turn: Folds) -> None:
        self.cli, self.turn = cli, turn
        self.settings = cli.settings

    def probabilities(self) -> Tensor:
        """Train on the other folds, to the last epoch, and return the class probabilities (M, C) of the images held out.

        Raises:
            ValueError: if training fails.
        """
        cli, name = self.cli, f"the judge of fold {self.turn.held_out + 1}"
        try:
            cli.trainer.fit(cli.model, cli.datamodule)
        except (ValueError, OSError):
            raise
        except Exception as error:
            raise ValueError(f"the training of {name} failed: {type(error).__name__}: {error} (--debug shows where)") from error
        device, held_out = cli.trainer.strategy.root_device, cli.datamodule.splits["val"]
        trained = Trained(Path(name), cli.model.eval().float().to(device), cli.datamodule.preparation, device)
        logits = [trained.outputs(held_out[places][0]) for places in torch.arange(len(held_out)).split(BATCH_SIZE)]
        # In float64, as a label that is wrong may be so improbable that float32 has no number for it.
        return torch.cat(logits).double().softmax(1)
