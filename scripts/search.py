"""Find the pictures nearest to one: python scripts/search.py CKPT index.safetensors query.png [-k 10] [-o result.png]."""

from argparse import Namespace
from pathlib import Path

from lab.apply.command import Answer, command_line, run
from lab.arguments import positive

EXAMPLES = """
embed.py RUN/checkpoints/best.ckpt ~/pictures -o index.safetensors
search.py RUN/checkpoints/best.ckpt index.safetensors query.png -k 10 -o result.png
"""


def work(options: Namespace) -> Answer:
    """Search the index."""
    from lab.apply.index import Index
    from lab.apply.search import search
    from lab.apply.trained import Trained

    index = Index.open(options.index)
    trained = Trained.load(options.checkpoint, options.device, options.batch_size)
    return search(trained, index, options.query, options.num, options.output)


if __name__ == "__main__":
    parser = command_line("Find the pictures of an index that are nearest to a picture, and show them.", EXAMPLES)
    parser.add_argument("index", type=Path, help="made by embed.py with this checkpoint")
    parser.add_argument("query", type=Path, help="a picture")
    parser.add_argument("-k", dest="num", type=positive, metavar="K", help="how many to find (10)")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("search.png"), metavar="FILE", help="picture to write (search.png)"
    )
    run(parser, work)
