"""The steps from a run to the list of its suspicious images."""

import argparse
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from lab import plots
from lab.clean.command import places
from lab.clean.findings import Findings, findings
from lab.clean.judge import data_of, replace_model
from lab.clean.turns import judge_all
from lab.run_list import read_record
from lab.runs import environment, print_without, write_json, write_table
from lab.writing import whole_file

LEAST_ACCURACY = 0.5  # of the judge, on the given labels: with less it is doubted rather than they
MEANINGS = {
    "wrong_share": "share of wrong labels, the precision of a random list",
    "precision": "share of the listed labels that are wrong",
    "recall": "share of the wrong labels that are listed",
    "auc": "area under the ROC curve of the ranking",
    "average_precision": "area under its precision-recall curve",
}


def find_wrong_labels(asked: argparse.Namespace, options: list[str]) -> None:
    """Judge the training images of a run, list the suspicious ones, and print what was found.

    Args:
        asked: the run and the command's own options.
        options: others, by which the judge is trained.

    Raises:
        ValueError: saying in one line what is wrong with them.
    """
    record = read_record(asked.run / "metrics.json")
    if record and "epochs" not in record:
        raise ValueError(f"{asked.run} is a test, not a run: it has trained on no images")
    data = data_of(asked.run, places(options), asked.trust)
    total = len(data.splits["train"])
    num = asked.num if asked.share is None else max(1, round(asked.share * total))
    if num is not None and num >= total:
        raise ValueError(f"--num {num} would list all of the {total} training images")
    output: Path = asked.run / "clean" if asked.output is None else asked.output
    output.mkdir(parents=True, exist_ok=True)
    config = asked.run / "config.yaml"
    if asked.judge is not None:
        config = replace_model(asked.run, asked.judge, output / "judge.yaml")
    try:
        judged = judge_all(data, config, options, asked.trust, asked.num_folds, output)
    except (KeyboardInterrupt, SystemExit) as error:
        print("interrupted: the folds that were judged are kept; the same command goes on", flush=True)
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error  # of which Lightning makes an exit
        raise
    found = findings(data, judged, num)
    estimated = "highest loss where another class is more probable, at most as many as confident learning estimates"
    how = estimated if num is None else "highest loss"
    _write(found, output, {"run": str(asked.run.resolve()), "judge": str(asked.judge or asked.run), "selected_by": how})
    _show(found, output, how)
    if found.suspicious.any():
        print_without(asked.run, output / "suspicious.csv", places(options))


def _write(found: Findings, output: Path, facts: dict[str, Any]) -> None:
    for name, order in (("suspicious", found.order(True)), ("ranking", found.order(False))):
        write_table(output / f"{name}.csv", found.columns(), found.rows(order))
    with whole_file(output / "suspicious.png") as unfinished:
        unfinished.write_bytes(plots.png_bytes(found.figure()))
    record = {
        **facts,
        "num_images": len(found.labels),
        "num_suspicious": int(found.suspicious.sum()),
        "num_folds": int(found.judged.folds.max()) + 1,
        "accuracy_on_given_labels": found.accuracy,
        "true_labels": found.scores() or "not known",
        "seconds": round(found.judged.seconds, 1),
        "threads": torch.get_num_threads(),
    }
    write_json(output / "clean.json", {**record, **environment()})


def _show(found: Findings, output: Path, how: str) -> None:
    console, scores = Console(highlight=False, markup=False, soft_wrap=True), found.scores()
    table = Table("number", "value", "meaning", title="wrong labels", title_justify="left")
    table.add_row("images", f"{len(found.labels):,}", "training images that were judged")
    table.add_row("accuracy", f"{found.accuracy:.4f}", "share of them whose most probable class is the label that they have")
    table.add_row("suspicious", f"{int(found.suspicious.sum()):,}", f"listed, by {how}")
    for name, score in (scores or {}).items():
        table.add_row(name, f"{score:.4f}", MEANINGS[name])
    console.print(table)
    if scores is None:
        console.print("how many of them are wrong is not known: the true labels are not (they are with data.label_noise)")
    if found.accuracy < LEAST_ACCURACY:
        console.print(
            "warning: the judge agrees with fewer than half of the labels; unless most of them are wrong, it has learned too "
            "little to judge by, and its list says little: train it longer by --trainer.max_epochs, or name another by --judge"
        )
    console.print(f"listed: {output / 'suspicious.csv'}; all images: ranking.csv; the first 50: suspicious.png")
