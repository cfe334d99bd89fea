"""Embed all pictures in a folder, to search them: python scripts/embed.py CKPT folder [-o index.safetensors]."""

from argparse import Namespace
from pathlib import Path

from lab.apply.command import Answer, command_line, run

EXAMPLES = "embed.py RUN/checkpoints/best.ckpt ~/pictures -o index.safetensors"


def work(options: Namespace) -> Answer:
    """Embed the folder."""
    from lab.apply.embed import write_embedded
    from lab.apply.trained import Trained

    return write_embedded(Trained.load(options.checkpoint, options.device, options.batch_size), options.folder, options.output)


if __name__ == "__main__":
    parser = command_line("Embed all pictures in a folder and below; what is broken is named and left out.", EXAMPLES)
    parser.add_argument("folder", type=Path, help="the folder; folders in it may be labels")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("index.safetensors"), metavar="FILE", help="to write (index.safetensors)"
    )
    run(parser, work)
