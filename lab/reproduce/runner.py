"""Runs one experiment with one seed, where that has not been done, by the commands that a user types."""

import hashlib
import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from lab.reproduce.catalog import Catalog
from lab.reproduce.experiment import PLACE, Command, Experiment, arguments
from lab.reproduce.side_by_side import Processes
from lab.run_list import is_alive, read_record
from lab.runs import PROJECT, write_json
from lab.workers import environment_of_worker

ASKED = "asked.json"


@dataclass(frozen=True)
class Outcome:
    """What has come of an experiment with a seed: the folder of its run, if it has finished; else why not."""

    experiment: str
    seed: int
    run: Path | None
    reason: str = ""
    is_new: bool = False


@dataclass(frozen=True)
class Runner:
    """Runs experiments.

    Args:
        catalog: all there are.
        folder: where their runs are kept, below ``runs``, and their logs.
        root: the folder of the data.
        fast: whether runs are short and on small data.
        more: options added to every run.
        num_workers: how many of them run side by side.
        scripts: the folder of the scripts that are executed.
    """

    catalog: Catalog
    folder: Path
    root: Path
    fast: bool
    more: list[str]
    num_workers: int = 1
    scripts: Path = PROJECT / "scripts"
    processes: Processes = field(default_factory=Processes)

    def shared(self, experiment: Experiment) -> Path:
        """Return where the results of an experiment's steps are that are taken once for all seeds."""
        digest = hashlib.sha256(json.dumps([self.catalog.digest(experiment), self.fast, self.more]).encode()).hexdigest()[:16]
        return self.folder / "shared" / f"{experiment.name}_{digest}"

    def own_folder(self, name: str, seed: int) -> Path:
        """Return where the runs of an experiment with a seed are."""
        return self.folder / "runs" / f"{name}_seed_{seed}"

    def finished(self, name: str, seed: int) -> Path | None:
        """Return the newest finished run of what an experiment runs now, with the options of now, if there is one."""
        return next((run for run in self._runs(name, seed) if read_record(run / "state.json").get("state") == "finished"), None)

    def seeds(self, experiment: Experiment) -> list[int]:
        """Return the seeds that an experiment was run with, finished or not."""
        found = (self.folder / "runs").glob(f"{experiment.name}_seed_*")
        return sorted(int(path.name.rpartition("_")[2]) for path in found if path.name.rpartition("_")[2].isdigit())

    def check_options(self) -> None:
        """Make sure that no run in the folder has other options: they would not be counted, or be counted together."""
        for noted in sorted((self.folder / "runs").glob(f"*/{ASKED}")):
            if f" {'full' if self.fast else 'fast'}" in read_record(noted).get("asked", ""):
                said = "runs that are not short: leave --fast out" if self.fast else "short runs: add --fast"
                raise ValueError(f"{self.folder} holds {said}, or give these a folder of their own by -o")
            options = read_record(noted).get("options", self.more)
            if options != self.more:
                raise ValueError(
                    f"{self.folder} holds runs with --options {shlex.join(options)!r}: give these a folder of their own by -o"
                )

    def run(self, experiment: Experiment, seed: int, again: bool = False, worker: int = 0) -> Outcome:
        """Run an experiment, or go on with it, unless it has finished before; say what has come of it.

        ``worker`` is the number of the worker that runs it, of those side by side.
        """
        name, own = experiment.name, self.own_folder(experiment.name, seed)
        done = None if again else self.finished(name, seed)
        for needed in experiment.needs:
            if self.finished(needed, seed) is None:
                return Outcome(name, seed, None, f"needs {needed}, which has not finished")
        pictures = self._pictures(experiment)
        if pictures is not None and not pictures.is_dir() and not self.fast:
            making = f"python scripts/caltech.py {shlex.quote(str(self.root))}"
            return Outcome(name, seed, None, f"there is no {pictures}, which {making} makes")
        own.mkdir(parents=True, exist_ok=True)
        steps_taken = self.shared(experiment) / "steps_taken"
        steps_taken.parent.mkdir(parents=True, exist_ok=True)
        found_config = "{shared}" in experiment.config and Path(self._filled(experiment.config, experiment, seed))
        if again or (found_config and not found_config.exists()):
            steps_taken.unlink(missing_ok=True)  # they are taken anew
        self._note_asked(experiment, seed)
        log = self.folder / "logs" / f"{name}_seed_{seed}.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("a", encoding="utf-8") as output:
            began = output.tell()
            reason = "" if done or steps_taken.exists() else self._steps(experiment.before, experiment, seed, output, worker)
            if experiment.before and not reason and not done:
                steps_taken.touch()  # a search that is over is not asked again, by a later version of this code, say
            if not reason and done is None:
                reason = self._execute(self._fit(experiment, seed, again), output, worker)
            found = done or self.finished(name, seed)
            if not reason and found is not None:
                reason = self._steps(experiment.after, experiment, seed, output, worker)
            is_new = output.tell() > began
        return Outcome(name, seed, None if reason else found, reason and f"{reason} ({log})", is_new)

    def _asked(self, experiment: Experiment, seed: int) -> str:
        """Return what an experiment runs: it changes with its config, and with the runs that it starts from."""
        froms = [self.finished(needed, seed) for needed in experiment.needs]
        words = [self.catalog.digest(experiment), "fast" if self.fast else "full"]
        return " ".join([*words, *(run.name if run is not None else "none" for run in froms)])

    def _note_asked(self, experiment: Experiment, seed: int) -> None:
        """Note what is asked for, and from which version on: those before were of something else."""
        own, asked = self.own_folder(experiment.name, seed), self._asked(experiment, seed)
        noted = read_record(own / ASKED)
        if (noted.get("asked"), noted.get("options")) != (asked, self.more):
            since = max(_versions(own), default=-1) + 1
            write_json(own / ASKED, {"asked": asked, "options": self.more, "since": since})

    def _runs(self, name: str, seed: int) -> list[Path]:
        """Return the runs of what an experiment runs now, the newest first."""
        own = self.own_folder(name, seed)
        noted = read_record(own / ASKED)
        if (noted.get("asked"), noted.get("options")) != (self._asked(self.catalog.experiments[name], seed), self.more):
            return []
        return [own / f"version_{number}" for number in sorted(_versions(own), reverse=True) if number >= noted["since"]]

    def _fit(self, experiment: Experiment, seed: int, again: bool) -> list[str]:
        """Return the command that trains, or that goes on with what was interrupted."""
        newest = next(iter(self._runs(experiment.name, seed)), None)
        if newest is not None and not again and (newest / "checkpoints" / "last.ckpt").is_file():
            noted = read_record(newest / "state.json")
            if noted.get("state") == "interrupted" or (noted.get("state") == "running" and not is_alive(noted)):
                return [self._script("fit.py"), "--resume", str(newest)]
        config = experiment.config if "{" in experiment.config else str(experiment.config_file)
        words = [self._filled(word, experiment, seed) for word in ["--config", config, *arguments(experiment.options)]]
        words[2:2] = self._data_options(experiment)
        words += [*(arguments(experiment.fast) if self.fast else ()), *self.more]
        words += ["--seed_everything", str(seed), "--name", f"{experiment.name}_seed_{seed}"]
        return [self._script("fit.py"), *words, "--trainer.default_root_dir", str(self.folder / "runs")]

    def _pictures(self, experiment: Experiment) -> Path | None:
        """Return the folder of pictures that an experiment reads, if it reads one."""
        folder = experiment.data.get("init_args", {}).get("folder")
        return self.root / Path(folder).name if folder else None

    def _data_options(self, experiment: Experiment) -> list[str]:
        pictures = self._pictures(experiment)
        options: dict[str, Any] = {"data.folder": str(pictures)} if pictures else {}
        if not pictures and not self.fast:
            options = {"data.root": str(self.root)}
        return list(arguments(options | (self.catalog.fast[experiment.data["class_path"]] if self.fast else {})))

    def _search_options(self, experiment: Experiment) -> list[str]:
        """Return the options of a search: where the data are."""
        words = self._data_options(experiment)
        pairs = zip(words[::2], words[1::2], strict=True)
        return [word for pair in pairs if pair[0].startswith("--data") for word in pair]

    def _filled(self, text: str, experiment: Experiment, seed: int) -> str:
        """Put folders in the places of a text."""

        def folder_of(place: Any) -> str:
            own = {"shared": self.shared(experiment), "root": self.root}
            if place[1] in own:
                return str(own[place[1]])
            return str(self.finished(experiment.name if place[1] == "run" else place[1], seed))

        return PLACE.sub(folder_of, text)

    def _steps(self, steps: list[Command], experiment: Experiment, seed: int, output: IO[str], worker: int) -> str:
        """Take steps beside training, but for those that were taken before; return what went wrong."""
        for step in steps:
            if step.makes is not None and Path(self._filled(step.makes, experiment, seed)).exists():
                continue
            command = (self.fast and step.fast) or step.command
            script, *words = (self._filled(word, experiment, seed) for word in shlex.split(command))
            options = [*self._search_options(experiment), *self.more] if script == "sweep.py" else []
            reason = self._execute([self._script(script), *words, *options], output, worker)
            if reason:
                return reason
        return ""

    def _execute(self, command: list[str], output: IO[str], worker: int) -> str:
        """Execute a script, its words going to a log; return why it failed, or nothing."""
        output.write(f"$ python {shlex.join(command)}\n")
        output.flush()
        began = output.tell()
        code = self.processes.run(command, output, environment_of_worker(worker, self.num_workers))
        if code == 0:
            return ""
        with Path(output.name).open(encoding="utf-8", errors="replace") as log:
            log.seek(began)
            lines = [line for line in log.read().splitlines() if line.strip()]
        said = [line for line in lines if line.startswith("error:")] or lines[-1:]
        return f"exit code {code}: {said[-1].removeprefix('error: ') if said else 'without a word'}"

    def _script(self, name: str) -> str:
        return str(self.scripts / name)


def _versions(own: Path) -> list[int]:
    return [int(path.name[8:]) for path in own.glob("version_*") if path.name[8:].isdigit()]
