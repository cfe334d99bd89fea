"""What the script does."""

import importlib.util
from pathlib import Path

from lab.arguments import Arguments, run_command


def demo() -> None:
    """Serve the page of the checkpoint on the command line, until it is stopped."""
    run_command(_demo)


def _demo() -> None:
    parser = Arguments("Try a trained model in a browser on this machine; nothing leaves it.")
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="such as RUN/checkpoints/best.ckpt")
    parser.add_argument("--gallery", type=Path, help="folder of pictures among which look-alikes are found")
    parser.add_argument("--port", type=int, default=7860, help="of http://127.0.0.1:PORT (7860)")
    asked = parser.parse_args()
    if not 1 <= asked.port <= 65_535:
        raise ValueError(f"--port must be between 1 and 65535, not {asked.port}")
    if importlib.util.find_spec("gradio") is None:
        raise ValueError("the page needs Gradio: pip install -e '.[demo]'")
    if asked.gallery is not None and not asked.gallery.is_dir():
        raise ValueError(f"--gallery {asked.gallery} {'is not a folder' if asked.gallery.exists() else 'does not exist'}")
    from lab.apply.embed import embed_folder  # after what is wrong is said: these take seconds to import
    from lab.apply.trained import Trained
    from lab.demo.server import serve

    trained = Trained.load(asked.checkpoint)
    if asked.gallery is not None and trained.classifies:
        raise ValueError(f"--gallery is for models that compare pictures, which a {trained.family} does not: leave it out")
    serve(trained, None if asked.gallery is None else embed_folder(trained, asked.gallery), asked.port)
