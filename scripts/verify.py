"""Say which pairs of pictures are of one class: python scripts/verify.py CKPT a.png b.png [c.png d.png ...]."""

from argparse import Namespace
from pathlib import Path

from lab.apply.command import Answer, command_line, run

EXAMPLES = """
verify.py RUN/checkpoints/best.ckpt a.png b.png
verify.py RUN/checkpoints/best.ckpt --pairs pairs.csv --json
"""


def work(options: Namespace) -> Answer:
    """Compare the pairs that were asked for."""
    from lab.apply.trained import Trained
    from lab.apply.verify import pairs_of, read_pairs, verify

    if (options.pairs is None) == (not options.pictures):
        raise ValueError("name either pictures, two and two, or --pairs pairs.csv")
    pairs = pairs_of(options.pictures) if options.pairs is None else read_pairs(options.pairs)
    return verify(Trained.load(options.checkpoint, options.device, options.batch_size), pairs)


if __name__ == "__main__":
    parser = command_line("Say which pairs of pictures are of one class, by the threshold that the checkpoint keeps.", EXAMPLES)
    parser.add_argument("pictures", nargs="*", metavar="PICTURE", help="pictures, two and two")
    parser.add_argument(
        "--pairs", type=Path, metavar="FILE", help="CSV with columns first, second and, if known, same (1 or 0); paths from it"
    )
    run(parser, work)
