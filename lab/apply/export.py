"""A trained model as files that other programs run, checked against the model that they were made of."""

import contextlib
import importlib.util
import json
import secrets
import shutil
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from lab.apply.export_check import LARGEST_DIFFERENCE, check_images, largest_difference
from lab.apply.graphs import Encoder, Pair, facts
from lab.apply.trained import Trained

Format = Literal["onnx", "torch"]
ENDING: dict[Format, str] = {"onnx": ".onnx", "torch": ".pt2"}
FACTS = "facts.json"  # the name of the extra file in a .pt2 file
# Of each network that is exported, what goes in and what comes out; the encoder of a classifier gives probabilities.
INPUTS = {"encoder": ["images"], "pair": ["first", "second"]}
OUTPUTS = {"encoder": ["embeddings"], "pair": ["distance", "probability"]}


@dataclass(frozen=True)
class Exported:
    """The files that were written, how far each is from the checkpoint's model, and on what images that was seen."""

    folder: Path
    differences: dict[str, float]
    images: str
    known: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """Return it in plain Python."""
        files = {name: {"difference": difference} for name, difference in self.differences.items()}
        return {"folder": str(self.folder), "files": files, "checked_on": self.images, "facts": self.known}

    def show(self, console: Console) -> None:
        """Print a table of the files."""
        table = Table(title=f"written to {self.folder}", title_justify="left")
        table.add_column("file", overflow="fold")
        table.add_column("inputs", overflow="fold")
        table.add_column("outputs", overflow="fold")
        table.add_column("largest difference", justify="right")
        for name, difference in self.differences.items():
            network = Path(name).stem
            table.add_row(name, ", ".join(INPUTS[network]), ", ".join(_outputs(network, self.known)), f"{difference:.1e}")
        console.print(table)
        shape = " x ".join(str(size) for size in self.known["image_shape"])
        console.print(f"inputs: any number of images, {shape}, float32 in [0, 1]; they are normalised inside", soft_wrap=True)
        console.print(
            f"checked against the checkpoint on {self.images}; at most {LARGEST_DIFFERENCE:g} is allowed", soft_wrap=True
        )
        if self.known.get("threshold") is not None:
            console.print(
                f"same: up to a distance of {self.known['threshold']:.4g}, which is kept in the files", soft_wrap=True
            )
        elif "threshold" in self.known:
            console.print("the model was never validated: there is no threshold, and no probability but NaN", soft_wrap=True)


def formats_of(text: str) -> list[Format]:
    """Return the formats that are named, divided by commas.

    Raises:
        ValueError: if one is not known, or its packages are not installed.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    formats = [known for known in ENDING if known in names]
    if not names or len(formats) < len(names):
        raise ValueError(f"--format {text}: must be onnx, torch, or both, onnx,torch")
    packages = ("onnx", "onnxscript", "onnxruntime")
    missing = [name for name in packages if "onnx" in formats and importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"for ONNX, {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} needed: pip install -e '.[export]', or "
            "leave it out by --format torch"
        )
    return formats


def export(trained: Trained, folder: Path, formats: Sequence[Format], pictures: Path | None = None) -> Exported:
    """Write the networks of a model and make sure that they give what it gives; all files are written or none.

    Args:
        trained: the model, on the CPU.
        folder: to write to.
        formats: of the files.
        pictures: a folder of pictures to check them on; None for the bundled digits, if they have the shape, or random images.

    Raises:
        ValueError: if the folder cannot be written, or a network cannot be exported or gives something else.
    """
    images, described = check_images(trained, pictures)
    networks: dict[str, nn.Module] = {"encoder": Encoder(trained).eval()}
    if not trained.classifies:
        networks["pair"] = Pair(Encoder(trained), trained).eval()
    known = facts(trained)
    differences = {}
    with _all_or_none(folder) as unfinished:
        for network, module in networks.items():
            for kind in formats:
                path = unfinished / (network + ENDING[kind])
                _write(path, kind, module, images, known)
                difference = largest_difference(path, trained, images)
                if not difference <= LARGEST_DIFFERENCE:
                    raise ValueError(
                        f"{path.name} differs from {trained.path} by {difference:.2g} on {described}, and "
                        f"{LARGEST_DIFFERENCE:g} is allowed; nothing was written"
                    )
                differences[path.name] = difference
    return Exported(folder, differences, described, known)


def _outputs(network: str, known: dict[str, Any]) -> list[str]:
    return OUTPUTS[network] if "threshold" in known else ["probabilities"]


def _write(path: Path, kind: Format, module: nn.Module, images: Tensor, known: dict[str, Any]) -> None:
    """Trace a network on two images, their number left open, and write it."""
    names = INPUTS[path.stem]
    example = images[:2].float() / 255
    arguments = tuple(
        example.flip(0).clone() if place else example for place in range(len(names))
    )  # one tensor would be traced
    try:  # as one input
        with torch.no_grad(), warnings.catch_warnings(action="ignore"):
            if kind == "torch":
                batch = torch.export.Dim("batch", min=1)
                program = torch.export.export(module, arguments, dynamic_shapes=tuple({0: batch} for _ in names))
                torch.export.save(program, path, extra_files={FACTS: json.dumps(known)})
            else:
                _write_onnx(path, module, arguments, known)
    except OSError:
        raise
    except Exception as error:  # of a network of the user's own, nearly any kind
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{path.name} cannot be exported: {type(error).__name__}: {reason} (--debug shows where)") from error


def _write_onnx(path: Path, module: nn.Module, arguments: tuple[Tensor, ...], known: dict[str, Any]) -> None:
    names = INPUTS[path.stem]
    with contextlib.redirect_stdout(None):
        program = torch.onnx.export(
            module,
            arguments,
            dynamo=True,
            input_names=names,
            output_names=_outputs(path.stem, known),
            dynamic_shapes=tuple({0: "batch"} for _ in names),
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props.update(
        {name: value if isinstance(value, str) else json.dumps(value) for name, value in known.items()}
    )
    program.save(path, external_data=False)


@contextlib.contextmanager
def _all_or_none(folder: Path) -> Iterator[Path]:
    """Yield a new folder, whose files are moved to ``folder`` at the end, or removed if anything goes wrong."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} cannot be written: it is not a folder")
    beside = folder.parent / f".{folder.name}.{secrets.token_hex(4)}"
    try:
        beside.mkdir()
    except OSError as error:
        reason = error.strerror if folder.parent.is_dir() else f"there is no folder {folder.parent}"
        raise ValueError(f"{folder} cannot be written: {reason}") from error
    try:
        yield beside
        folder.mkdir(exist_ok=True)
        for path in sorted(beside.iterdir()):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
