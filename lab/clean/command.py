"""What the script does: its options, and which others are passed on to the training of the judge."""

import argparse
from pathlib import Path

from lab.arguments import Arguments, positive, run_command
from lab.configuration import PLACES_OF_DATA

# What may be set otherwise of the data: where they are, and how they are seen and batched, but not which they are.
VIEWS = (
    *("batch_size", "samples_per_class", "pairs", "episodes", "image_size", "normalization", "augmentation", "fit", "channels"),
)
# One device, and nothing but the training: the labels of held-out images are doubted, so they must not choose an epoch.
ALWAYS = {
    **dict.fromkeys(("trainer.devices", "trainer.num_nodes"), "1"),
    **dict.fromkeys(("trainer.sync_batchnorm", "trainer.fast_dev_run"), "false"),
    "trainer.limit_val_batches": "0",
    **dict.fromkeys(
        [f"callbacks.{name}" for name in ("checkpoints", "early_stopping", "pictures", "board", "epoch_log", "step_loss")],
        "false",
    ),
    **dict.fromkeys(("callbacks.learning_rate", "callbacks.model_summary"), "false"),
}
NEVER = ("trainer.callbacks", "trainer.logger", "trainer.strategy", "trainer.default_root_dir")
EXAMPLES = """examples:
  python scripts/clean.py lightning_logs/classifier/version_0
  python scripts/clean.py lightning_logs/classifier/version_0 --share 0.05 --trainer.max_epochs 5
  python scripts/clean.py lightning_logs/triplet/version_0 --judge configs/classifier.yaml"""


def clean() -> None:
    """List the training images of the run on the command line whose labels are suspicious."""
    run_command(_clean)


def _clean() -> None:
    parser = _parser()
    asked, options = parser.parse_known_args()
    for option in options:
        if option.startswith("--"):
            _check_passed_on(option.partition("=")[0], parser)
    if not (asked.run / "config.yaml").is_file():
        above = next((folder for folder in asked.run.resolve().parents[:2] if (folder / "config.yaml").is_file()), None)
        inside = sorted(asked.run.glob("version_*"))
        advice = f"; name the folder of the run, {above or inside[-1]}" if above or inside else ""
        raise ValueError(f"{asked.run} is no run: it has no config.yaml{advice}")
    from lab.clean.work import find_wrong_labels  # after what is wrong is said: PyTorch takes seconds to import
    from lab.commands import run_training

    run_training(lambda: find_wrong_labels(asked, options))


def _parser() -> Arguments:
    parser = Arguments(
        "Find wrong labels among the training images of a run: its model is trained anew on all but a part of them, several "
        "times, and asked what the images of that part are. Any other option, such as --data.root FOLDER, "
        "--trainer.max_epochs 3 or --model.optimizer.lr 0.001, changes how it is trained.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s RUN [options] [--KEY VALUE ...]",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run; it is named first")
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="to write to (RUN/clean)")
    parser.add_argument("--num_folds", type=_folds, default=5, metavar="K", help="parts of the training images (5)")
    parser.add_argument("--judge", type=Path, metavar="CONFIG", help="config, or run, whose model judges (that of RUN)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--num", type=positive, metavar="N", help="list the N of highest loss (at most as many as confident learning estimates)"
    )
    which.add_argument("--share", type=_share, metavar="S", help="list this share of all images, those of highest loss")
    parser.add_argument(
        "--trust", action="append", default=[], metavar="MODULE", help="module of classes that the configs may name, too"
    )
    return parser


def places(options: list[str]) -> list[str]:
    """Return the options, with their values, that say where the data are, which every command on them needs."""
    found: list[str] = []
    for option, following in zip(options, [*options[1:], ""], strict=False):
        name, equals, _ = option.partition("=")
        if _key(name) in [f"data.{place}" for place in PLACES_OF_DATA]:
            found += [option] if equals else [option, following]
    return found


def _check_passed_on(option: str, parser: Arguments) -> None:
    """Refuse an option that neither is this command's own nor changes how the judge is trained."""
    key = _key(option)
    group, _, name = key.partition(".")
    if group not in ("data", "model", "trainer", "callbacks", "encoder_from", "weights_from"):
        parser.error(f"unrecognized arguments: {option}")
    if not name and not group.endswith("_from"):
        raise ValueError(f"{option}: name a single key, such as {option}.KEY, or another model by --judge CONFIG")
    if group == "data" and name.partition(".")[0] not in (*PLACES_OF_DATA, *VIEWS):
        raise ValueError(f"{option} would change which images these are, or their labels: those of the run are looked at")
    if key in ALWAYS or key.startswith(NEVER):
        raise ValueError(f"{option} cannot be set here: the judge trains on one device, to the last epoch, and writes nothing")


def _key(option: str) -> str:
    return option.removeprefix("--").replace(".init_args", "")


def _folds(text: str) -> int:
    if (number := positive(text)) < 2:
        raise argparse.ArgumentTypeError(f"must be 2 or more, not {text!r}")
    return number


def _share(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"must be a share between 0 and 1, not {text!r}")
    return number
