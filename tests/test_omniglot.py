import hashlib
import shutil
import zipfile
from pathlib import Path
from typing import Any
from urllib.error import URLError

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from lab.data.alphabets import NUM_CHARACTERS, alphabet_of, class_names_of
from lab.data.arrays import ImageArrays
from lab.data.omniglot import Omniglot
from lab.models import Siamese
from lab.nets import MLP

SMALL = {  # in place of 30 and 20 alphabets; "B" and "B-old" sort differently as folders and as names
    "background": {"A": 2, "B": 3, "B-old": 1, "C": 2},
    "evaluation": {"Y": 2, "Z": 1},
}
SOURCE = torchvision.datasets.Omniglot


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(torchvision.datasets.utils, "_get_redirect_url", refuse)
    monkeypatch.setattr(torchvision.datasets.utils, "_urlretrieve", refuse)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for split, num_characters in SMALL.items():
        monkeypatch.setitem(NUM_CHARACTERS, split, num_characters)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with small original files, in the layout that torchvision unpacks."""
    root = tmp_path_factory.mktemp("originals")
    number = 0
    for split, num_characters in SMALL.items():
        for name in class_names_of(num_characters):
            number += 1
            folder = root / "omniglot-py" / f"images_{split}" / name
            folder.mkdir(parents=True)
            for drawer in range(1, 21):
                Image.fromarray(_drawing(name, drawer) > 0).save(folder / f"{number:04d}_{drawer:02d}.png")
    return root


@pytest.fixture
def root(originals: Path, tmp_path: Path, small: None) -> Path:
    return Path(shutil.copytree(originals, tmp_path / "root"))


def _drawing(name: str, drawer: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Draw a character, (105, 105): a ground of 255 and, in no symmetry, a few strokes of 0."""
    random = np.random.default_rng([drawer, *name.encode()])
    pixels = np.full((105, 105), 255, np.uint8)
    for row, column, length in random.integers(5, 60, (6, 3)):
        pixels[row : row + 3, column : column + length] = 0
        pixels[row : row + length // 2, column : column + 4] = 0
    return pixels


def _omniglot(root: Path, **options: Any) -> Omniglot:
    return Omniglot(root=root, **{"num_validation_alphabets": 1, "batch_size": 20, **options})


def _read(root: Path, **options: Any) -> dict[str, ImageArrays]:
    data = _omniglot(root, **{"image_size": None, **options})
    data.prepare_data()
    return data.read()


def _ready(root: Path, **options: Any) -> Omniglot:
    data = _omniglot(root, **options)
    data.prepare_data()
    data.setup()
    return data


def _assert_holds_the_originals(splits: dict[str, ImageArrays]) -> None:
    """Every drawing of every character, in order, dark on light."""
    assert sorted(splits["train"].class_names + splits["val"].class_names) == class_names_of(SMALL["background"])
    assert splits["test"].class_names == class_names_of(SMALL["evaluation"])
    for arrays in splits.values():
        wanted = [_drawing(name, drawer) for name in arrays.class_names for drawer in range(1, 21)]
        images, labels = arrays[:]
        assert torch.equal(images, torch.from_numpy(np.stack(wanted)).unsqueeze(1))
        assert torch.equal(labels, torch.arange(len(arrays.class_names)).repeat_interleave(20))


def test_there_are_964_characters_of_30_alphabets_and_659_of_20() -> None:
    names = {split: class_names_of(num_characters) for split, num_characters in NUM_CHARACTERS.items()}
    assert {split: len(set(names[split])) for split in names} == {"background": 964, "evaluation": 659}
    assert {split: len(set(alphabet_of(names[split]))) for split in names} == {"background": 30, "evaluation": 20}
    assert all(names[split] == sorted(names[split]) for split in names)
    assert names["background"][0] == "Alphabet_of_the_Magi/character01"
    assert names["background"][-1] == "Tifinagh/character55"


@pytest.mark.parametrize("num", [1, 5, 29])
def test_validation_holds_out_whole_alphabets_and_the_classes_are_known_before_anything_is_read(num: int) -> None:
    data = Omniglot(root="nowhere", num_validation_alphabets=num)
    train, validation = set(alphabet_of(data.class_names)), set(alphabet_of(data.validation_class_names))
    assert len(validation) == num
    assert len(train) == 30 - num
    assert not train & validation
    assert data.num_classes + len(data.validation_class_names) == 964
    assert data.class_names == sorted(data.class_names)
    assert not (train | validation) & set(NUM_CHARACTERS["evaluation"])


def test_five_alphabets_are_held_out_the_same_ones_whatever_the_seed_and_among_more_when_more_are() -> None:
    torch.manual_seed(1)
    first = Omniglot(root="nowhere", seed=1)
    torch.manual_seed(2)
    assert Omniglot(root="nowhere", seed=2).validation_class_names == first.validation_class_names
    assert len(set(alphabet_of(first.validation_class_names))) == 5
    assert first.class_names != Omniglot(root="nowhere", num_validation_alphabets=6).class_names
    six = Omniglot(root="nowhere", num_validation_alphabets=6).validation_class_names
    assert set(first.validation_class_names) < set(six)


def test_rotations_make_four_classes_of_each_training_character_only() -> None:
    upright, rotated = Omniglot(root="nowhere"), Omniglot(root="nowhere", rotations=True)
    assert rotated.num_classes == 4 * upright.num_classes == len(set(rotated.class_names))
    assert rotated.class_names[: upright.num_classes] == upright.class_names
    assert rotated.class_names[upright.num_classes] == f"{upright.class_names[0]} at 90"
    assert rotated.class_names[-1] == f"{upright.class_names[-1]} at 270"
    assert rotated.validation_class_names == upright.validation_class_names
    assert alphabet_of(rotated.class_names) == 4 * alphabet_of(upright.class_names)


def test_the_original_files_are_read_as_they_are_in_the_order_of_the_names_and_drawers(root: Path) -> None:
    _assert_holds_the_originals(_read(root, ink="dark"))


def test_the_images_are_those_torchvision_itself_reads(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SOURCE, "_check_integrity", lambda _: True)
    theirs = SOURCE(root, background=False)
    of_class: dict[str, list[bytes]] = {}
    for image, label in theirs:
        of_class.setdefault(theirs._characters[label], []).append(np.array(image).tobytes())
    ours = _read(root, ink="dark")["test"]
    for label, name in enumerate(ours.class_names):
        images = ours[ours.labels == label][0]
        assert sorted(image.numpy().tobytes() for image in images) == sorted(of_class[name])


def test_files_are_converted_once_and_not_needed_again(root: Path) -> None:
    _read(root)
    shutil.rmtree(root / "omniglot-py")
    assert sorted(path.name for path in (root / "omniglot").glob("*.safetensors")) == [
        "background.safetensors",
        "evaluation.safetensors",
    ]
    stored = ImageArrays.load(root / "omniglot" / "evaluation.safetensors")
    assert stored.images.shape == (60, 1, 105, 105)
    assert stored[:][0].unique().tolist() == [0, 255]
    _assert_holds_the_originals(_read(root, ink="dark"))


def test_a_store_with_more_tensors_in_it_is_read(root: Path) -> None:
    from safetensors.torch import load_file, save_file

    _read(root)
    for path in (root / "omniglot").glob("*.safetensors"):
        names = ImageArrays.load(path).class_names
        tensors = load_file(path)
        tensors["drawers"] = torch.arange(20).repeat(len(names))
        save_file(tensors, path, {"class_names": str(names).replace("'", '"'), "alphabet_names": "[]"})
    shutil.rmtree(root / "omniglot-py")
    _assert_holds_the_originals(_read(root, ink="dark"))


def test_light_ink_is_255_on_a_ground_of_0_and_dark_ink_the_opposite(root: Path) -> None:
    light, dark = _read(root), _read(root, ink="dark")
    for split in ("train", "val", "test"):
        assert torch.equal(light[split][:][0], 255 - dark[split][:][0])
        assert dark[split][:][0].float().mean() > 200 > 55 > light[split][:][0].float().mean()


@pytest.mark.parametrize("size", [None, 28, 35])
def test_rotated_classes_hold_the_training_images_turned_and_no_other_split_is_turned(root: Path, size: int | None) -> None:
    upright, rotated = _ready(root, image_size=size).splits, _ready(root, rotations=True, image_size=size).splits
    num_classes = len(upright["train"].class_names)
    assert len(rotated["train"]) == 4 * len(upright["train"])
    for label, name in enumerate(rotated["train"].class_names):
        original, _, angle = name.partition(" at ")
        assert upright["train"].class_names[label % num_classes] == original
        images = upright["train"][upright["train"].labels == label % num_classes][0]
        turned = torch.rot90(images, int(angle or 0) // 90, (2, 3))
        assert torch.equal(rotated["train"][rotated["train"].labels == label][0], turned)
    for split in ("val", "test"):
        assert rotated[split].class_names == upright[split].class_names
        assert torch.equal(rotated[split][:][0], upright[split][:][0])


@pytest.mark.parametrize("rotations", [False, True])
def test_each_split_keeps_classes_of_its_own_at_the_size_asked_for(root: Path, rotations: bool) -> None:
    data = _ready(root, rotations=rotations)
    assert data.image_shape == (1, 28, 28)
    for split, arrays in data.splits.items():
        assert arrays[:][0].shape[1:] == (1, 28, 28), split
        assert torch.bincount(arrays.labels).tolist() == [20] * len(arrays.class_names)
    names = {split: set(alphabet_of(arrays.class_names)) for split, arrays in data.splits.items()}
    assert not names["train"] & names["val"]
    assert names["train"] | names["val"] == set(SMALL["background"])
    assert names["test"] == set(SMALL["evaluation"])
    assert data.splits["train"].class_names == data.class_names
    assert int(data.splits["train"][:][0].max()) > 100
    assert float(data.splits["train"][:][0].float().mean()) < 100


def test_the_stored_size_is_kept_when_it_is_asked_for(root: Path) -> None:
    for size in (None, 105):
        data = _ready(root, image_size=size, ink="dark")
        assert data.image_shape == (1, 105, 105)
        _assert_holds_the_originals(data.splits)


def test_classes_choose_among_the_training_classes_only(root: Path) -> None:
    everything = _ready(root)
    first = _ready(root, classes=2)
    assert first.class_names == first.splits["train"].class_names == everything.class_names[:2]
    assert len(first.splits["train"]) == 40
    for split in ("val", "test"):
        assert torch.equal(first.splits[split][:][0], everything.splits[split][:][0])
    turned = [f"{everything.class_names[1]} at 180", everything.class_names[0]]
    data = _ready(root, classes=turned, rotations=True)
    assert data.class_names == turned
    assert len(data.splits["train"]) == 40
    with pytest.raises(ValueError, match="Omniglot does not have") as refusal:
        _omniglot(root, classes=[everything.class_names[0], everything.validation_class_names[0]])
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"validation_size": 0.1}, "num_validation_alphabets"),
        ({"validation_size": 5}, "num_validation_alphabets"),
        ({"num_validation_alphabets": 0}, "num_validation_alphabets must be 1 to 29, not 0"),
        ({"num_validation_alphabets": 30}, "num_validation_alphabets must be 1 to 29, not 30"),
        ({"image_size": 27}, "image_size of Omniglot must be 28 to 105, not 27"),
        ({"image_size": 106}, "image_size of Omniglot must be 28 to 105, not 106"),
        ({"ink": "blue"}, "ink must be dark or light, not 'blue'"),
        ({"classes": 965}, "asks for 965 classes"),
    ],
)
def test_an_option_that_does_not_fit_is_refused_in_one_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as refusal:
        Omniglot(root="nowhere", **options)
    assert "\n" not in str(refusal.value)


def test_options_that_say_nothing_are_accepted() -> None:
    assert Omniglot(root="nowhere", validation_size=None, classes=None, image_size=None).image_shape == (1, 105, 105)


def _assert_refused(root: Path, *parts: str) -> None:
    with pytest.raises(ValueError) as refusal:
        _read(root)
    assert all(part in str(refusal.value) for part in parts), refusal.value
    assert "\n" not in str(refusal.value)


def test_without_files_and_offline_one_line_says_what_to_put_where(tmp_path: Path) -> None:
    root = tmp_path / "not" / "there"
    archives = ("images_background.zip", "images_evaluation.zip", "https://")
    _assert_refused(root, f"Omniglot is not in {root}", *archives, str(root / "omniglot-py"), "--data.root")
    assert list(tmp_path.iterdir()) == []  # the folders made for the download are gone
    with pytest.raises(ValueError, match=r"call prepare_data\(\)"):
        _omniglot(root).setup()


def test_a_root_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    _assert_refused(tmp_path / "file" / "root", "where nothing can be written (Not a directory)")


def test_a_root_that_cannot_be_written_to_is_read_anew_each_time(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: ImageArrays, path: Path) -> None:
        raise OSError(f"[Errno 30] Read-only file system: '{path}'")

    monkeypatch.setattr(ImageArrays, "save", refuse)
    for _ in range(2):
        _assert_holds_the_originals(_read(root, ink="dark"))
    assert not (root / "omniglot").exists()
    assert "background.safetensors cannot be written" in caplog.text


def test_an_archive_put_there_by_hand_is_unpacked_if_its_checksum_is_right(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand = tmp_path / "by_hand" / "omniglot-py"
    by_hand.mkdir(parents=True)
    for split in SMALL:
        with zipfile.ZipFile(by_hand / f"images_{split}.zip", "w") as file:
            for path in (root / "omniglot-py" / f"images_{split}").rglob("*.png"):
                file.write(path, path.relative_to(root / "omniglot-py"))
    _assert_refused(by_hand.parent, "Omniglot is not in")  # by the checksums of the real archives
    assert sorted(path.suffix for path in by_hand.iterdir()) == [".zip", ".zip"]
    md5 = {path.stem: hashlib.md5(path.read_bytes()).hexdigest() for path in by_hand.iterdir()}
    monkeypatch.setattr(SOURCE, "zips_md5", md5)
    _assert_holds_the_originals(_read(by_hand.parent, ink="dark"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: next((folder / "A" / "character02").glob("*_07.png")).unlink(), "19 images of A/character02, not 20"),
        (lambda folder: shutil.rmtree(folder / "B-old"), "0 images of B-old/character01, not 20"),
        (lambda folder: shutil.copytree(folder / "A", folder / "Atlantis"), "20 images of Atlantis/character01, not 0"),
        (lambda folder: shutil.rmtree(folder / "A" / "character01"), "0 images of A/character01, not 20"),
    ],
    ids=["a drawing missing", "an alphabet missing", "an alphabet too many", "a character missing"],
)
def test_a_folder_that_does_not_hold_what_was_published_is_named(root: Path, change: Any, words: str) -> None:
    folder = root / "omniglot-py" / "images_background"
    change(folder)
    _assert_refused(root, f"{folder} has {words}")
    assert not (root / "omniglot" / "background.safetensors").exists()


@pytest.mark.parametrize("num_bytes", [*range(0, 120, 7), 150])
def test_an_image_that_was_cut_short_is_named(root: Path, num_bytes: int) -> None:
    path = next((root / "omniglot-py" / "images_evaluation" / "Z" / "character01").glob("*_13.png"))
    assert len(path.read_bytes()) > 150
    path.write_bytes(path.read_bytes()[:num_bytes])
    _assert_refused(root, f"{path} is not a whole image")


def test_an_image_that_is_something_else_is_named(root: Path) -> None:
    path = next((root / "omniglot-py" / "images_evaluation" / "Z" / "character01").glob("*_13.png"))
    for content in (b"<html>404 Not Found</html>", b"GIF89a" + bytes(100)):
        path.write_bytes(content)
        _assert_refused(root, str(path))
    Image.new("1", (104, 105)).save(path)
    _assert_refused(root, str(path), "104x105")


def test_a_store_that_does_not_hold_what_was_published_is_named(root: Path) -> None:
    _read(root)
    path = root / "omniglot" / "evaluation.safetensors"
    images, labels = torch.zeros(3, 1, 105, 105, dtype=torch.uint8), torch.arange(3)
    for names, side in ((["Y/character01", "Y/character02", "X/character01"], 105), (class_names_of(SMALL["evaluation"]), 28)):
        ImageArrays(images[..., :side, :side], labels, names).save(path)
        _assert_refused(root, str(path), "delete it to have it made again")


def _runs(folder: Path, num_runs: int = 2, num_ways: int = 3) -> Path:
    """Make runs in the layout of all_runs.zip, the drawing of each file telling its number."""
    for run in range(1, num_runs + 1):
        lines = []
        for kind in ("test", "training"):
            (folder / f"run{run:02d}" / kind).mkdir(parents=True)
        for number in range(1, num_ways + 1):
            example = num_ways + 1 - number
            query = ("test", f"item{number:02d}", 10 * run + number)
            for kind, name, ink in (query, ("training", f"class{number:02d}", 50 + number)):
                drawing = np.full((105, 105), 255, dtype=np.uint8)
                drawing[:ink] = 0
                Image.fromarray(drawing > 0).save(folder / f"run{run:02d}" / kind / f"{name}.png")
            lines.append(f"run{run:02d}/test/item{number:02d}.png run{run:02d}/training/class{example:02d}.png\n")
        (folder / f"run{run:02d}" / "class_labels.txt").write_text("".join(lines))
    return folder


def test_the_official_trials_pair_each_query_with_the_example_that_its_line_names(root: Path) -> None:
    _runs(root / "omniglot_runs")
    data = Omniglot(root=root, image_size=None, num_validation_alphabets=1)
    data.prepare_data()
    data.setup()
    assert data.trial_tasks is not None
    support, queries = data.trial_tasks
    assert support.shape == (2, 3, 1)
    assert queries.shape == (2, 3)
    images, numbers = data.splits["trials"][:]
    assert numbers.tolist() == list(range(12))
    ink = (images[:, 0, :, 0] == 255).sum(1)  # light ink, as in the data set
    assert ink[queries].tolist() == [[11, 12, 13], [21, 22, 23]]
    assert ink[support].squeeze(2).tolist() == [[53, 52, 51], [53, 52, 51]]
    assert data.test_parts == ["images", "trials"]
    assert not data.classes_are_shared


def test_where_there_are_no_trials_the_test_is_without(root: Path) -> None:
    data = Omniglot(root=root, num_validation_alphabets=1)
    data.prepare_data()
    data.setup()
    assert data.trial_tasks is None
    assert data.test_parts == ["images"]
    with pytest.raises(ValueError, match=r"data\.trials .*nowhere is not a folder"):
        Omniglot(root=root, num_validation_alphabets=1, trials=root / "nowhere")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "there is no"),
        ("run01/test/item01.png\n", "must name two files of its run"),
        ("run01/../../item01.png run01/training/class01.png\n" * 3, "must name two files of its run"),
        ("run01/test/item01.png run02/training/class01.png\n" * 3, "must name two files of its run"),
        ("run01/test/item01.png run01/training/class01.png\n" * 3, "an example of its own"),
    ],
)
def test_runs_that_are_not_as_they_should_be_are_refused_by_name(root: Path, text: str | None, says: str) -> None:
    labels = _runs(root / "omniglot_runs") / "run01" / "class_labels.txt"
    labels.unlink()
    if text is not None:
        labels.write_text(text)
    data = Omniglot(root=root, num_validation_alphabets=1)
    data.prepare_data()
    with pytest.raises(ValueError, match=rf"{labels}.*{says}|{says}.*{labels}"):
        data.setup()


def test_classes_are_grouped_by_their_alphabets(root: Path) -> None:
    data = Omniglot(root=root, num_validation_alphabets=1)
    data.prepare_data()
    data.setup()
    name, groups = data.groups("test")
    assert name == "alphabet"
    assert groups.tolist() == [0, 0, 1]  # Y, Y, Z


def test_a_model_is_scored_on_tasks_of_all_classes_of_one_alphabet_and_of_the_official_trials(root: Path) -> None:
    _runs(root / "omniglot_runs")
    data = Omniglot(root=root, num_validation_alphabets=1, batch_size=16)
    model = Siamese(MLP((1, 28, 28), hidden_sizes=(), embedding_size=8))
    off: dict[str, Any] = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    trainer = pl.Trainer(accelerator="cpu", **off)
    trainer.test(model, data, verbose=False)
    names = {name for name in trainer.callback_metrics if "one_shot" in name}
    assert names == {"test/one_shot_accuracy", "test/one_shot_within_alphabet", "test/one_shot_trials"}
    # The official trials, by hand: the drawings of queries and examples are rows of ink, farther apart the more rows differ.
    images, _ = data.splits["trials"][:]
    prepared, _ = data.on_after_batch_transfer((images, torch.zeros(12)), 0)
    embeddings = model.eval()(prepared).detach()
    assert data.trial_tasks is not None
    hits = 0
    for support, queries in zip(*data.trial_tasks, strict=True):
        for own, query in enumerate(queries):
            distances = [(embeddings[example] - embeddings[query]).norm().item() for example in support.flatten()]
            hits += all(distances[own] < distance for i, distance in enumerate(distances) if i != own)
    assert trainer.callback_metrics["test/one_shot_trials"].item() == pytest.approx(hits / 6)
    assert model.metrics.results is not None
    assert "one_shot_trials" in model.metrics.results.intervals
