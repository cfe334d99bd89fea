"""What the script does."""

from pathlib import Path

from lab.arguments import Arguments, run_command
from lab.writing import whole_file


def report() -> None:
    """Write the page of the runs on the command line."""
    run_command(_report)


def _report() -> None:
    parser = Arguments("Write one HTML file of a run, or of several runs compared; it needs no other file and no network.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run, as lightning_logs/NAME/version_0")
    parser.add_argument("-o", "--output", type=Path, default=Path("report.html"), help="the file to write (report.html)")
    asked = parser.parse_args()
    with whole_file(asked.output, ".html", ".htm") as unfinished:
        from lab.report.page import page_of  # after what is wrong is said: drawing takes seconds to import
        from lab.report.run import read_run

        folders = list({folder.resolve(): folder for folder in asked.runs}.values())
        page = page_of([read_run(folder) for folder in folders])
        unfinished.write_text(page, encoding="utf-8", errors="replace")
    print(f"{asked.output}: {asked.output.stat().st_size / 1e6:.1f} MB")
