"""Export a model for other programs: python scripts/export.py CKPT [-o folder] [--format onnx,torch] [--check pictures]."""

from argparse import Namespace
from pathlib import Path

from lab.apply.command import Answer, command_line, run

EXAMPLES = """
export.py RUN/checkpoints/best.ckpt -o exported
export.py RUN/checkpoints/best.ckpt --format torch --check ~/pictures
"""


def work(options: Namespace) -> Answer:
    """Export the model and check what was written."""
    from lab.apply.export import export, formats_of
    from lab.apply.trained import Trained

    formats = formats_of(options.format)
    return export(Trained.load(options.checkpoint, "cpu", options.batch_size), options.output, formats, options.check)


if __name__ == "__main__":
    parser = command_line("Export a model as ONNX and torch.export files, on the CPU, and check them against it.", EXAMPLES)
    parser.add_argument("-o", "--output", type=Path, default=Path("exported"), metavar="FOLDER", help="to write to (exported)")
    parser.add_argument("--format", default="onnx,torch", help="onnx, torch or both (onnx,torch)")
    parser.add_argument(
        "--check", type=Path, metavar="FOLDER", help="pictures to check on (the bundled digits, or random images)"
    )
    run(parser, work)
