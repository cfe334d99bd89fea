"""What the script does that checks a folder of pictures."""

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lab.arguments import Arguments, printable, run_command
from lab.writing import json_text

MAX_SHOWN = 20  # findings of a kind; --json has them all


def check_data() -> None:
    """Check the folder on the command line; the exit code is 1 where training would be refused."""
    run_command(_check)


def _check() -> None:
    parser = Arguments(
        "Look at every picture of a folder before anything is trained on it: what is broken, doubled or missing."
    )
    parser.add_argument("folder", type=Path, help="one folder a class, in train, test, val and extra or in the folder itself")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    asked = parser.parse_args()
    from lab.data.check import Checked, check_folder  # after what is wrong is said: PyTorch takes seconds to import

    checked: Checked = check_folder(asked.folder)
    if asked.json:
        findings = [vars(finding) for finding in checked.findings]
        print(json_text({"folder": str(asked.folder), "counts": checked.counts, "findings": findings}))
    else:
        console = Console(highlight=False, markup=False)
        table = Table("class", *checked.counts, title=f"pictures in {printable(str(asked.folder))} that can be read")
        for name in sorted({name for classes in checked.counts.values() for name in classes}):
            table.add_row(printable(name), *(str(classes.get(name, "-")) for classes in checked.counts.values()))
        console.print(table)
        shown: dict[str, int] = {}
        for finding in checked.findings:
            shown[finding.kind] = shown.get(finding.kind, 0) + 1
            if shown[finding.kind] <= MAX_SHOWN:
                console.print(f"{finding.severity}: {finding.kind}: {printable(finding.message)}", soft_wrap=True)
        for kind, num in shown.items():
            if num > MAX_SHOWN:
                console.print(f"{kind}: {num - MAX_SHOWN} more; --json has them all")
        num = len(checked.findings)
        console.print(f"{num} finding{'' if num == 1 else 's'}" if num else "nothing is wrong")
    if any(finding.severity == "error" for finding in checked.findings):
        sys.exit(1)
