"""Say of which class pictures are: python scripts/predict.py CKPT files... [--examples folder] [--top 3]."""

from argparse import Namespace
from pathlib import Path

from lab.apply.command import Answer, command_line, run
from lab.arguments import positive

EXAMPLES = """
predict.py RUN/checkpoints/best.ckpt a.png b.png --top 3
predict.py RUN/checkpoints/best.ckpt a.png b.png --examples FOLDER_WITH_ONE_FOLDER_A_CLASS
"""


def work(options: Namespace) -> Answer:
    """Tell the pictures by the model's own classes or by examples."""
    from lab.apply.predict import predict, recognise
    from lab.apply.trained import Trained

    trained = Trained.load(options.checkpoint, options.device, options.batch_size)
    if options.examples is None:
        return predict(trained, options.files, options.top)
    return recognise(trained, options.files, options.examples, options.top)


if __name__ == "__main__":
    parser = command_line("Say of which class pictures are.", EXAMPLES)
    parser.add_argument("files", nargs="+", metavar="PICTURE", help="pictures")
    parser.add_argument(
        "--examples",
        type=Path,
        metavar="FOLDER",
        help="one folder a class, a picture or a few in each; for Siamese and Triplet",
    )
    parser.add_argument("--top", type=positive, default=3, metavar="N", help="classes to name of each picture (3)")
    run(parser, work)
