"""What the script does that makes the folders of photographs which experiments read."""

from pathlib import Path

from lab.arguments import Arguments, run_command


def make_caltech() -> None:
    """Make the folders as the command line says."""
    run_command(_make)


def _make() -> None:
    parser = Arguments("Make caltech35 and caltech5, which experiments read, of the pictures of Caltech-101.")
    parser.add_argument("root", nargs="?", type=Path, default=Path("~/.cache/lab"), help="where they go (~/.cache/lab)")
    parser.add_argument("--original", type=Path, metavar="FOLDER", help="101_ObjectCategories, if it is not to be downloaded")
    asked = parser.parse_args()
    from lab.data.caltech import make  # after what is wrong is said: PyTorch takes seconds to import

    for folder, is_new in make(asked.root.expanduser(), asked.original).items():
        print(f"{folder}{'' if is_new else ', which was there'}")
