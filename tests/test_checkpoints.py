import contextlib
import functools
import pickle
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn

from lab.data import Synthetic
from lab.losses import TripletLoss
from lab.models import Classifier, Family, Triplet, check_checkpoint, load
from lab.models.recipe import recipe
from lab.nets import MLP, ConvNet


def _triplet() -> Triplet:
    return Triplet(
        ConvNet(width=4, depth=2, embedding_size=8),
        TripletLoss(distance="cosine", mining="all", margin=0.25),
        optimizer=functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9),
        scheduler=functools.partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.01),
    )


def _save(model: Family, path: Path) -> Path:
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.fit(model, Synthetic(num_train_images=100, num_test_images=20, batch_size=20, samples_per_class=4))
    trainer.save_checkpoint(path)
    return path


def test_a_model_made_in_python_is_made_again_from_its_checkpoint_alone(tmp_path: Path) -> None:
    model = _triplet()
    again = load(_save(model, tmp_path / "a.ckpt"))
    assert isinstance(again, Triplet)
    assert isinstance(again.loss, TripletLoss)
    assert (again.loss.distance, again.loss.mining, again.loss.margin) == ("cosine", "all", 0.25)
    optimizer = again.optimizer(again.parameters())
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.defaults["momentum"] == 0.9
    images = torch.rand(3, 1, 28, 28)
    assert torch.equal(again(images), model.eval()(images))


def test_a_model_made_from_a_checkpoint_can_be_saved_and_made_again(tmp_path: Path) -> None:
    once = load(_save(Classifier(MLP(hidden_sizes=(8,), dropout=0.5), 10, nn.CrossEntropyLoss()), tmp_path / "a.ckpt"))
    twice = load(_save(once, tmp_path / "b.ckpt"))
    assert isinstance(twice, Classifier)
    assert isinstance(twice.encoder, MLP)
    assert twice.encoder.hidden_sizes == (8,)
    assert twice.hparams == once.hparams


def test_a_checkpoint_holds_how_to_prepare_an_image_for_its_model(tmp_path: Path) -> None:
    checkpoint = torch.load(_save(_triplet(), tmp_path / "a.ckpt"), weights_only=True)
    preparation = checkpoint["preparation"]
    assert preparation["image_shape"] == [1, 28, 28]
    assert len(preparation["class_names"]) == 10
    assert 0 < preparation["mean"][0] < 1


def test_a_module_that_does_not_tell_its_arguments_must_be_given_when_loading(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 4))
    model = Triplet(encoder)
    assert "cannot tell how to make 'encoder' again" in caplog.text
    path = _save(model, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=r"a\.ckpt cannot tell how to make 'encoder' again: load\(path, encoder=\.\.\.\)"):
        load(path)
    again = load(path, encoder=nn.Sequential(nn.Flatten(), nn.Linear(784, 4)))
    images = torch.rand(3, 1, 28, 28)
    assert torch.equal(again(images), model.eval()(images))


class _Flipped(nn.Module):
    def __init__(self, sign: int = 1) -> None:
        super().__init__()
        self.sign = -sign


class _Wrapped(nn.Module):
    def __init__(self, dropout: float = 0.5) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.embedding_size = 3


@pytest.mark.parametrize("made", [_Flipped(2), _Wrapped(0.25), nn.Sequential(nn.ReLU()), nn.CrossEntropyLoss(torch.ones(3))])
def test_a_module_whose_attributes_do_not_make_it_again_has_no_recipe(made: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"has not kept|cannot be made"):
        recipe(made)


def test_describing_a_module_draws_no_random_number() -> None:
    torch.manual_seed(0)
    net = MLP(hidden_sizes=(4,))
    before = torch.get_rng_state()
    recipe(net)
    assert torch.equal(torch.get_rng_state(), before)


def test_numbers_of_numpy_become_numbers_that_a_checkpoint_may_hold(tmp_path: Path) -> None:
    assert type(recipe(TripletLoss(margin=np.float64(0.2)))["init_args"]["margin"]) is float


def test_a_recipe_is_plain_python() -> None:
    made = recipe(_triplet().loss)
    assert made == {
        "class_path": "lab.losses.triplet.TripletLoss",
        "init_args": {"distance": "cosine", "mining": "all", "margin": 0.25, "reduction": "mean"},
    }
    assert recipe([1, (2.0, "x"), {"y": None}, Path("z")]) == [1, [2.0, "x"], {"y": None}, "z"]
    with pytest.raises(ValueError, match=r"Linear has not kept its argument 'bias'"):
        recipe(nn.Linear(2, 3))


class _Attack:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("attacked"),))  # type: ignore[return-value]


def test_lightnings_own_way_to_load_makes_the_model_too_and_no_class_that_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = _triplet()
    path = _save(model, tmp_path / "a.ckpt")
    again = Triplet.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    images = torch.rand(3, 1, 28, 28)
    assert torch.equal(again(images), model.eval()(images))
    assert isinstance(Family.load_from_checkpoint(path, loss=TripletLoss(margin=0.5)), Triplet)
    with pytest.raises(ValueError, match=r"a\.ckpt holds a Triplet, not a Classifier"):
        Classifier.load_from_checkpoint(path)
    (tmp_path / "attack.py").write_text("open('attacked', 'w')\nfrom lab.nets import MLP as Net\n")
    monkeypatch.syspath_prepend(tmp_path)
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["hyper_parameters"]["encoder"] = {"class_path": "attack.Net"}
    for instantiator in ({}, {"_instantiator": "lightning.pytorch.cli.instantiate_module"}, {"_instantiator": "attack.make"}):
        checkpoint["hyper_parameters"].update(instantiator)
        torch.save(checkpoint, path)
        with pytest.raises(ValueError, match=r"attack\.Net"):
            Triplet.load_from_checkpoint(path)
    torch.save({"state_dict": {}, "hyper_parameters": {"_class_path": _Attack()}}, path)
    with pytest.raises(ValueError, match=r"a\.ckpt is not a whole checkpoint"):
        Triplet.load_from_checkpoint(path)
    assert not Path("attacked").exists()


def test_a_malicious_checkpoint_executes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "hyper_parameters": {"_class_path": _Attack()}}, "attack.ckpt")
    with pytest.raises(ValueError, match=r"attack\.ckpt is not a whole checkpoint of weights and settings alone"):
        load("attack.ckpt")
    Path("attack.ckpt").write_bytes(pickle.dumps(_Attack()))
    with pytest.raises(ValueError, match=r"attack\.ckpt is not a whole checkpoint"):
        load("attack.ckpt")
    assert not Path("attacked").exists()


@pytest.mark.parametrize(
    "encoder",
    [
        {  # a function of torch that returns a module and compiles the text it is given
            "class_path": "torch.fx.graph_module.reduce_graph_module",
            "init_args": {"body": {"_code": "open('attacked', 'w')", "_graphmodule_cls_name": "X"}, "import_block": ""},
        },
        {"class_path": "attack.Net"},
        {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "attacked"]}},
        {"class_path": "lab.nets.MLP", "init_args": {"hidden_sizes": [{"class_path": "attack.Net"}]}},
    ],
)
def test_a_checkpoint_makes_only_known_classes_and_imports_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: dict[str, object]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("attack.py").write_text("open('attacked', 'w')\n")
    checkpoint = torch.load(_save(_triplet(), tmp_path / "a.ckpt"), weights_only=True)
    checkpoint["hyper_parameters"]["encoder"] = encoder
    torch.save(checkpoint, "evil.ckpt")
    with pytest.raises(ValueError, match="which is not a known class; if you trust the file, import it first"):
        load("evil.ckpt")
    assert not Path("attacked").exists()


@pytest.mark.parametrize("name", ["encoder", "loss", "optimizer", "scheduler"])
@pytest.mark.parametrize(
    "value",
    [
        "attack.Net",
        '{"class_path": "attack.Net"}',
        {"class_path": "torch.nn.CrossEntropyLoss", "init_args": {"weight": "attack.Net"}},
        {"class_path": "torch.optim.SGD", "dict_kwargs": {"lr": "attack.Net"}},
    ],
)
def test_a_text_in_a_checkpoint_stays_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: object) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("attack.py").write_text("open('attacked', 'w')\n")
    checkpoint = torch.load(_save(_triplet(), tmp_path / "a.ckpt"), weights_only=True)
    checkpoint["hyper_parameters"][name] = value
    torch.save(checkpoint, "evil.ckpt")
    with contextlib.suppress(ValueError):  # what is not used at once is only found out later
        load("evil.ckpt")
    assert "attack" not in sys.modules
    assert not Path("attacked").exists()


@pytest.mark.parametrize("settings", [None, [], {"_class_path": "lab.models.Triplet"}])
def test_a_checkpoint_without_settings_or_weights_is_refused(tmp_path: Path, settings: object) -> None:
    torch.save({"hyper_parameters": settings}, tmp_path / "half.ckpt")
    with pytest.raises(ValueError, match="not of a family of this project"):
        load(tmp_path / "half.ckpt")


def test_a_classifier_is_not_tested_on_classes_in_another_order(tmp_path: Path) -> None:
    def data(classes: list[str | int]) -> Synthetic:
        return Synthetic(num_train_images=60, num_test_images=20, batch_size=4, classes=classes)

    def trainer() -> pl.Trainer:
        return pl.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)

    model, fitted = Classifier(MLP(hidden_sizes=(4,)), 2), trainer()
    fitted.fit(model, data(["pattern 3", "pattern 8"]))
    fitted.save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="trained on the classes pattern 3, pattern 8, but the data has pattern 8, pattern 3"):
        trainer().test(model, data(["pattern 8", "pattern 3"]), ckpt_path=tmp_path / "a.ckpt", weights_only=True)


def test_other_data_is_prepared_as_the_data_the_model_was_trained_on(tmp_path: Path) -> None:
    class Other(Synthetic):
        pass

    path = _save(_triplet(), tmp_path / "a.ckpt")
    other = Other(num_train_images=100, num_test_images=20, batch_size=20, noise=0.5)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    trainer.test(_triplet(), other, ckpt_path=path, weights_only=True, verbose=False)
    assert other.mean.flatten().tolist() == torch.load(path, weights_only=True)["preparation"]["mean"]


def test_a_checkpoint_that_names_no_family_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    with pytest.raises(ValueError, match="not of a family of this project"):
        load(tmp_path / "foreign.ckpt")
    torch.save({"state_dict": {}, "hyper_parameters": {"_class_path": "torch.nn.Linear"}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match=r"names torch\.nn\.Linear as its family, which is none"):
        load(tmp_path / "other.ckpt")
    torch.save({"state_dict": {}, "hyper_parameters": {"_class_path": "nowhere.Family"}}, tmp_path / "lost.ckpt")
    with pytest.raises(ValueError, match=r"names nowhere\.Family, which is not a known class"):
        load(tmp_path / "lost.ckpt")


@pytest.mark.parametrize(
    "content", [b"root:x:0:0:root:/root:/bin/sh\n", b"\x80\x04.", b"x" * 5_000, b"P" * 7, bytes(range(256))]
)
def test_a_file_of_something_else_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.ckpt is not a whole checkpoint"):
        load(tmp_path / "a.ckpt")


@pytest.mark.parametrize("settings", [{"_class_path": 3}, {"_class_path": "lab.models.Triplet", 3: 4}])
def test_settings_that_are_no_settings_are_refused(tmp_path: Path, settings: dict[Any, Any]) -> None:
    torch.save({"state_dict": {}, "hyper_parameters": settings}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="does not name its class"):
        load(tmp_path / "a.ckpt")


def test_a_truncated_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    path = _save(_triplet(), tmp_path / "a.ckpt")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"a\.ckpt is not a whole checkpoint"):
        load(path)


def test_a_checkpoint_of_another_model_is_refused_with_what_differs(tmp_path: Path) -> None:
    path = _save(_triplet(), tmp_path / "a.ckpt")
    check_checkpoint(path, _triplet())
    with pytest.raises(ValueError, match="holds a Triplet, but the config makes a Classifier"):
        check_checkpoint(path, Classifier(ConvNet(width=4, depth=2, embedding_size=8), 10))
    with pytest.raises(ValueError, match=r"encoder\.layers\.0\.weight is \(4, 1, 3, 3\) there and \(6, 1, 3, 3\) here"):
        check_checkpoint(path, Triplet(ConvNet(width=6, depth=2, embedding_size=8)))


def test_a_checkpoint_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    _save(_triplet(), tmp_path / "best.ckpt")
    with pytest.raises(ValueError, match=r"there is no checkpoint .*bset\.ckpt; there is .*best\.ckpt"):
        load(tmp_path / "bset.ckpt")
