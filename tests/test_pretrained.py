import importlib.util
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import lightning.pytorch as pl
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models
from torchvision.transforms.functional import normalize

from lab.data import Synthetic
from lab.models import Classifier, load
from lab.nets import Pretrained

NOT_WEIGHTS = " is not a whole file of weights alone, as model.state_dict() saved by torch.save"
SMALL = "mobilenet_v3_small"
LAST_LAYERS = {"resnet18": "fc", SMALL: "classifier.3"}
Folder = Path
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture(autouse=True)
def _offline_and_seeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test downloads anything or finds what was downloaded before; the global generator stays as it was."""

    def fail(url: str, *arguments: Any, **settings: Any) -> None:
        raise URLError("no network here")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def _torchvision_model(name: str) -> nn.Module:
    """A model of torchvision with random weights, in evaluation."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return _measured(models.get_model(name, weights=None))


def _measured(model: nn.Module) -> nn.Module:
    """Let the batch norms of a model see images: without, its features would hardly depend on what it is given."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(8, 3, 64, 64))
    return model.eval()


def _differ(features: Tensor) -> bool:
    """Whether features depend on the image, so that comparing them means something."""
    return features.std(0).mean().item() > max(0.05 * features.abs().mean().item(), 1e-3)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A folder of weights: for each model a file of either kind."""
    folder = tmp_path_factory.mktemp("weights")
    for name in LAST_LAYERS:
        state = _torchvision_model(name).state_dict()
        torch.save(state, folder / f"{name}.pth")
        save_file(state, folder / f"{name}.safetensors")
    return folder


def _images(number: int = 4, channels: int = 3, side: int = 64) -> Tensor:
    noise = torch.rand(number, channels, side, side, generator=torch.Generator().manual_seed(2))
    return noise * torch.linspace(0.3, 1, number).view(-1, 1, 1, 1)  # one brighter than the other


def _state(net: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def _changed(net: nn.Module, before: dict[str, Tensor]) -> list[str]:
    return [name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])]


def _refusal(*arguments: Any, **settings: Any) -> str:
    """Return what a network is refused with, which must be one line."""
    with pytest.raises(ValueError) as caught:
        Pretrained(*arguments, **settings)
    message = str(caught.value)
    assert "\n" not in message
    return message


def _fit(model: Classifier) -> pl.Trainer:
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, Synthetic(num_train_images=60, num_test_images=20, batch_size=20, normalization="unit"))
    return trainer


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
@pytest.mark.parametrize("name", LAST_LAYERS)
def test_the_features_are_those_of_the_model_up_to_its_last_layer(weights: Folder, name: str, kind: str) -> None:
    model = _torchvision_model(name)
    net = Pretrained(name, str(weights / f"{name}.{kind}")).eval()
    images = _images()
    normalised = normalize(images, MEAN, STD)
    last = model.get_submodule(LAST_LAYERS[name])
    torch.testing.assert_close(last(net(images)), model(normalised), rtol=1e-4, atol=1e-4)
    parent, _, own_name = LAST_LAYERS[name].rpartition(".")
    setattr(model.get_submodule(parent), own_name, nn.Identity())
    features = model(normalised)
    torch.testing.assert_close(net(images), features, rtol=1e-4, atol=1e-4)  # which are added up in another order
    assert features.shape == (4, net.embedding_size)
    assert _differ(features)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("vgg16", 4096),
        ("convnext_tiny", 768),
        ("vit_b_16", 768),
        ("swin_t", 768),
        ("ResNet18", 512),
    ],
)
def test_any_classifier_of_torchvision_gives_what_goes_into_its_last_layer(name: str, size: int) -> None:
    with torch.device("meta"):
        net = Pretrained(name, weights=None)
        assert net.embedding_size == size
        assert net.backbone(torch.empty(2, 3, 224, 224)).shape == (2, size)


def test_weights_that_were_downloaded_before_are_used_with_their_mean_and_standard_deviation(
    weights: Folder, tmp_path: Path
) -> None:
    stored = models.MobileNet_V3_Small_Weights.DEFAULT
    cache = tmp_path / "torch" / "hub" / "checkpoints" / Path(stored.url).name
    cache.parent.mkdir(parents=True)
    cache.write_bytes((weights / f"{SMALL}.pth").read_bytes())
    images = _images()
    expected = Pretrained(SMALL, str(weights / f"{SMALL}.pth")).eval()(images)
    for name in ("DEFAULT", "IMAGENET1K_V1"):
        net = Pretrained(SMALL, name).eval()
        assert torch.equal(net(images), expected)
        assert (net.mean, net.std) == (stored.transforms().mean, stored.transforms().std)


def test_without_weights_they_are_random(weights: Folder) -> None:
    first, second = Pretrained(SMALL, None).eval(), Pretrained(SMALL, None).eval()
    assert not torch.equal(first(_images()), second(_images()))
    assert first.weights is None


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_a_file_may_hold_more_than_the_weights_and_need_not_count_batches(weights: Folder, tmp_path: Path, kind: str) -> None:
    expected = Pretrained(SMALL, str(weights / f"{SMALL}.pth")).eval()(_images())
    state = torch.load(weights / f"{SMALL}.pth")
    state = {name: tensor for name, tensor in state.items() if "num_batches" not in name and "classifier.3" not in name}
    state["something.else"] = torch.ones(3)
    path = tmp_path / f"other.{kind}"
    if kind == "pth":
        torch.save({"state_dict": state, "epoch": 3}, path)
    else:
        save_file(state, path)
    assert torch.equal(Pretrained(SMALL, str(path)).eval()(_images()), expected)


def test_a_mean_and_a_standard_deviation_of_ones_own_take_the_place_of_those_of_the_weights(weights: Folder) -> None:
    path = str(weights / f"{SMALL}.pth")
    images, mean, std = _images(), [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    own, usual = Pretrained(SMALL, path, mean=mean, std=std).eval(), Pretrained(SMALL, path).eval()
    assert (usual.mean, usual.std) == (MEAN, STD)
    assert not torch.allclose(own(images), usual(images), rtol=0.1)
    torch.testing.assert_close(own(images), own.backbone(normalize(images, mean, std)))
    torch.testing.assert_close(usual(images), own.backbone(normalize(images, MEAN, STD)))


def test_grey_images_are_repeated_to_three_channels(weights: Folder) -> None:
    net = Pretrained(SMALL, str(weights / f"{SMALL}.pth")).eval()
    grey = _images(channels=1)
    torch.testing.assert_close(net(grey), net(torch.cat([grey, grey, grey], dim=1)))


@pytest.mark.parametrize("training", [True, False, None])
def test_a_frozen_network_gets_no_gradient_and_its_batch_norms_measure_nothing(weights: Folder, training: bool | None) -> None:
    net = Pretrained(SMALL, str(weights / f"{SMALL}.pth"), frozen=True)
    if training is not None:  # else as it was made
        assert net.train(training) is net
        assert net.training is training
    before = _state(net)
    embeddings = net(_images())
    assert not embeddings.requires_grad
    assert not any(parameter.requires_grad for parameter in net.parameters())
    assert not _changed(net, before)
    assert not any(module.training for module in net.backbone.modules())
    assert torch.equal(embeddings, net(_images()))  # nothing is dropped either


@pytest.mark.parametrize("size", [None, 5])
def test_a_frozen_network_stays_as_it_is_while_lightning_trains_what_stands_on_it(weights: Folder, size: int | None) -> None:
    net = Pretrained(SMALL, str(weights / f"{SMALL}.pth"), embedding_size=size)
    model = Classifier(net, 10)
    before = _state(model)
    _fit(model)
    on_top = {"head.weight", "head.bias"} | ({"encoder.projection.weight", "encoder.projection.bias"} if size else set())
    assert set(_changed(model, before)) == on_top


def test_a_network_that_is_not_frozen_gets_gradients_and_measures_the_images(weights: Folder) -> None:
    net = Pretrained(SMALL, str(weights / f"{SMALL}.pth"), frozen=False)
    before = _state(net)
    assert all(module.training for module in net.modules())
    net(_images()).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in net.parameters())
    changed = _changed(net, before)
    assert changed
    assert all("running" in name or "num_batches" in name for name in changed)
    assert not any(module.training for module in net.eval().modules())


def test_an_embedding_size_adds_a_trained_linear_layer(weights: Folder) -> None:
    path = str(weights / f"{SMALL}.pth")
    features, embedded = Pretrained(SMALL, path).eval(), Pretrained(SMALL, path, embedding_size=7).eval()
    assert (features.embedding_size, embedded.embedding_size) == (1024, 7)
    trained = {name: parameter for name, parameter in embedded.named_parameters() if parameter.requires_grad}
    assert {name: tuple(parameter.shape) for name, parameter in trained.items()} == {
        "projection.weight": (7, 1024),
        "projection.bias": (7,),
    }
    images = _images()
    expected = features(images) @ trained["projection.weight"].T + trained["projection.bias"]
    torch.testing.assert_close(embedded(images), expected)
    embedded(images).sum().backward()
    assert all(parameter.grad is not None for parameter in trained.values())
    assert not list(Pretrained(SMALL, path, embedding_size=1024).projection.parameters())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("images", [_images() * 255, _images() - 0.5, (_images() - 0.5) / 0.25])
def test_pixels_that_are_not_from_zero_to_one_are_refused_with_the_setting_that_makes_them_so(
    images: Tensor, training: bool
) -> None:
    net = Pretrained(SMALL, None).train(training)
    for _ in range(2):  # whoever tries again is told again
        with pytest.raises(ValueError, match=r"^model\.encoder: .* from 0 to 1 .*: set data\.normalization unit$"):
            net(images)
    net(_images())


def test_pixels_are_looked_at_in_training_and_in_evaluation() -> None:
    net = Pretrained(SMALL, None).eval()
    net(_images())
    with pytest.raises(ValueError, match="from 0 to 255"):
        net.train()(torch.tensor([0.0, 255.0]).expand(1, 3, 32, 2).repeat(1, 1, 1, 16))
    net(_images() * 1.0001)  # an augmentation may round


def test_a_model_that_there_is_not_is_refused_with_how_to_list_those_there_are(weights: Folder) -> None:
    for given in ("DEFAULT", None, str(weights / f"{SMALL}.pth")):
        assert "no model 'resnet19'" in _refusal("resnet19", given)
        assert "torchvision.models.list_models" in _refusal("resnet19", given)


@pytest.mark.parametrize("name", ["fasterrcnn_resnet50_fpn", "fcn_resnet50", "r3d_18"])
def test_a_model_that_does_not_classify_images_is_refused_before_it_downloads_anything(name: str) -> None:
    assert f"no model '{name}' for classes of images" in _refusal(name, None)


def test_a_model_that_does_not_end_in_a_linear_layer_is_refused() -> None:
    assert "squeezenet1_1 does not end in a linear layer" in _refusal("squeezenet1_1", None)


def test_weights_that_there_are_not_are_refused_with_those_there_are() -> None:
    message = _refusal("resnet50", "IMAGENET")
    assert "resnet50 has no weights 'IMAGENET'; it has IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT, or the path of a file" in message


@pytest.mark.parametrize("size", [0, -3])
def test_an_embedding_of_no_length_is_refused(size: int) -> None:
    assert _refusal(SMALL, None, embedding_size=size) == f"Pretrained: embedding_size {size} must be positive"


@pytest.mark.parametrize("kind", ["pth", "pt", "safetensors"])
def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    assert _refusal(SMALL, str(tmp_path / f"a.{kind}")) == f"model.encoder.weights: there is no file {tmp_path / f'a.{kind}'}"


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_the_file_of_another_model_is_refused_with_what_differs(weights: Folder, kind: str) -> None:
    path = weights / f"resnet18.{kind}"
    message = _refusal(SMALL, str(path))
    assert message == f"{path} does not hold the weights of {SMALL}: features.0.0.weight is missing or of another shape"
    larger = _refusal("mobilenet_v3_large", str(weights / f"{SMALL}.{kind}"))
    assert "mobilenet_v3_large: features.1.block.1.0.weight is missing or of another shape" in larger


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
def test_a_file_that_is_not_whole_or_not_of_weights_is_refused_by_name(weights: Folder, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    for content in (b"", b"<html>not found</html>", (weights / f"{SMALL}.{kind}").read_bytes()[:-1000]):
        path.write_bytes(content)
        assert _refusal(SMALL, str(path)) == f"{path}{NOT_WEIGHTS}"


@pytest.mark.parametrize("content", [[1, 2], torch.ones(3), {"features.0.0.weight": "text"}, {"state_dict": {}}])
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "a.pth")
    assert "a.pth does not hold the weights of" in _refusal(SMALL, str(tmp_path / "a.pth"))


class _Attack:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("attacked"),))  # type: ignore[return-value]


def test_a_malicious_file_of_weights_executes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"features.0.0.weight": _Attack()}, "zipped.pth")
    Path("plain.pth").write_bytes(pickle.dumps(_Attack()))
    for name in ("zipped.pth", "plain.pth"):
        assert _refusal(SMALL, name) == f"{name}{NOT_WEIGHTS}"
    assert not Path("attacked").exists()
    torch.load("zipped.pth", weights_only=False)
    assert Path("attacked").exists()  # so that the file would have


@pytest.mark.parametrize(
    "error", [URLError("no network"), OSError("disk full\nreally"), RuntimeError('invalid hash value (expected "1")')]
)
def test_a_download_that_fails_names_the_folder_and_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*arguments: Any, **settings: Any) -> None:
        raise error

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    message = _refusal("resnet18" if isinstance(error, URLError) else SMALL)
    weights = models.ResNet18_Weights.DEFAULT if isinstance(error, URLError) else models.MobileNet_V3_Small_Weights.DEFAULT
    assert str(tmp_path / "torch" / "hub" / "checkpoints") in message
    assert f"put {weights.url} there by hand" in message
    assert str(error).splitlines()[0] in message
    assert "model.encoder.weights" in message


def test_a_page_saved_in_place_of_weights_is_refused_with_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / Path(models.MobileNet_V3_Small_Weights.DEFAULT.url).name).write_text("<html>not found</html>")
    message = _refusal(SMALL)
    assert f"not in {folder}, or not whole" in message
    assert "weights_only" not in message


@pytest.mark.parametrize("frozen", [True, False])
def test_a_model_made_in_python_is_made_again_without_downloading_anything(
    weights: Folder, tmp_path: Path, caplog: pytest.LogCaptureFixture, frozen: bool
) -> None:
    cache = tmp_path / "torch" / "hub" / "checkpoints" / Path(models.MobileNet_V3_Small_Weights.DEFAULT.url).name
    cache.parent.mkdir(parents=True)
    cache.write_bytes((weights / f"{SMALL}.pth").read_bytes())
    model = Classifier(Pretrained(SMALL, frozen=frozen, embedding_size=6, std=[0.3, 0.3, 0.2]), 10)
    _fit(model).save_checkpoint(tmp_path / "a.ckpt")
    cache.unlink()
    again = load(tmp_path / "a.ckpt")
    assert not [record for record in caplog.records if record.name.startswith("lab")]
    assert isinstance(again, Classifier)
    assert isinstance(again.encoder, Pretrained)
    assert (again.encoder.name, again.encoder.weights, again.encoder.frozen) == (SMALL, "DEFAULT", frozen)
    assert (again.encoder.mean, again.encoder.std) == (MEAN, [0.3, 0.3, 0.2])
    assert torch.equal(again(_images()), model.eval()(_images()))
    with pytest.raises(ValueError, match="cannot be downloaded"):  # only a checkpoint comes without its weights
        Pretrained(SMALL)


def test_a_model_with_weights_of_a_file_is_made_again_without_the_file(weights: Folder, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes((weights / f"{SMALL}.safetensors").read_bytes())
    model = Classifier(Pretrained(SMALL, str(path)), 10)
    _fit(model).save_checkpoint(tmp_path / "a.ckpt")
    path.unlink()
    assert torch.equal(load(tmp_path / "a.ckpt")(_images()), model.eval()(_images()))


def test_a_network_that_was_used_before_can_still_be_told_in_a_checkpoint(caplog: pytest.LogCaptureFixture) -> None:
    net = Pretrained(SMALL, None)
    net(_images())
    net.eval()(_images())
    with caplog.at_level(logging.WARNING):
        model = Classifier(net, 10)
    assert "cannot tell" not in caplog.text
    assert model.hparams["encoder"]["class_path"] == "lab.nets.pretrained.Pretrained"


@pytest.mark.filterwarnings("ignore:The default weight initialization")
def test_googlenet_is_the_same_from_the_cache_and_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda weight, **settings: weight)  # which takes long
    cache = tmp_path / "torch" / "hub" / "checkpoints" / Path(models.GoogLeNet_Weights.DEFAULT.url).name
    cache.parent.mkdir(parents=True)
    torch.save(_measured(models.googlenet(weights=None, init_weights=True)).state_dict(), cache)
    theirs = models.googlenet(weights="DEFAULT").eval()
    net = Pretrained("googlenet")
    images = _images(2)
    expected = theirs(normalize(images, MEAN, STD))
    assert _differ(net(images))
    torch.testing.assert_close(theirs.fc(net(images)), expected, rtol=1e-4, atol=1e-4)
    from_file = Pretrained("googlenet", str(cache), frozen=False)
    torch.testing.assert_close(theirs.fc(from_file.eval()(images)), expected, rtol=1e-4, atol=1e-4)
    assert from_file.train()(images).shape == (2, 1024)  # the heads beside the last give nothing


def _timm() -> Any:
    return pytest.importorskip("timm", reason="timm is not installed")


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "test_nfnet"])
def test_the_features_of_a_model_of_timm_are_those_before_its_classifier(tmp_path: Path, name: str) -> None:
    model: Any = _measured(_timm().create_model(name, pretrained=False))
    save_file(model.state_dict(), tmp_path / "a.safetensors")
    net = Pretrained(f"timm/{name}", str(tmp_path / "a.safetensors")).eval()
    images = _images(2, side=model.pretrained_cfg["input_size"][1])
    assert (net.mean, net.std) == (list(model.pretrained_cfg["mean"]), list(model.pretrained_cfg["std"]))
    before_classifier = model.forward_head(model.forward_features(normalize(images, net.mean, net.std)), pre_logits=True)
    assert _differ(net(images))
    torch.testing.assert_close(net(images), before_classifier)
    torch.testing.assert_close(model.get_classifier()(net(images)), model(normalize(images, net.mean, net.std)))
    assert net(images).shape == (2, net.embedding_size)


@pytest.mark.parametrize("name", ["resnetv2_50x1_bit", "deit_tiny_distilled_patch16_224"])
def test_models_of_timm_that_do_not_end_in_one_linear_layer_give_features_too(name: str) -> None:
    _timm()
    with torch.device("meta"):
        net = Pretrained(f"timm/{name}", None)
        assert net.backbone(torch.empty(2, 3, 224, 224)).shape == (2, net.embedding_size)


def test_a_model_of_timm_is_made_again_from_a_checkpoint_without_downloading_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm = _timm()
    create = timm.create_model
    asked_for = []

    def create_offline(name: str, pretrained: bool = False) -> Any:
        asked_for.append(pretrained)
        return create(name)

    monkeypatch.setattr(timm, "create_model", create_offline)
    model = Classifier(Pretrained("timm/test_resnet.r160_in1k"), 10)
    assert True in asked_for
    _fit(model).save_checkpoint(tmp_path / "a.ckpt")
    asked_for.clear()
    assert torch.equal(load(tmp_path / "a.ckpt")(_images()), model.eval()(_images()))
    assert asked_for
    assert not any(asked_for)


def test_what_timm_does_not_have_and_cannot_download_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = _timm()
    assert "timm has no model 'resnet19'" in _refusal("timm/resnet19", None)
    assert "has no weights 'a1_in1k'; set DEFAULT and let the name end in .a1_in1k" in _refusal("timm/resnet18", "a1_in1k")
    assert "Invalid pretrained tag (nothing) for resnet18" in _refusal("timm/resnet18.nothing", None)

    def fail(*arguments: Any, **settings: Any) -> None:
        raise OSError("no network\nat all")

    monkeypatch.setattr(timm, "create_model", fail)
    message = _refusal("timm/resnet18")
    assert "the weights of timm/resnet18 cannot be had (no network)" in message
    assert "model.encoder.weights" in message


def test_where_timm_is_not_installed_its_models_are_refused_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert _refusal("timm/resnet18") == "Pretrained: timm/resnet18 needs timm: pip install timm"


def test_a_file_that_names_its_tensors_otherwise_is_taken_in_its_order_and_that_is_said(
    weights: Folder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = _torchvision_model("resnet18")
    renamed = {f"tensor {number}": value for number, value in enumerate(model.state_dict().values())}
    torch.save({key: value for key, value in renamed.items() if value.ndim}, tmp_path / "renamed.pth")
    torch.save(model.state_dict(), tmp_path / "own.pth")
    nets = [Pretrained("resnet18", str(tmp_path / f"{name}.pth")).eval() for name in ("renamed", "own")]
    assert torch.equal(*(net(_images()) for net in nets))
    assert "names its tensors otherwise than resnet18" in caplog.text
    reordered = dict(reversed([(key, value) for key, value in renamed.items() if value.ndim]))
    torch.save(reordered, tmp_path / "reordered.pth")
    assert "does not hold the weights of resnet18" in _refusal("resnet18", str(tmp_path / "reordered.pth"))


def test_standardized_features_have_mean_zero_and_deviation_one_and_the_same_is_done_in_evaluation(weights: Folder) -> None:
    torch.manual_seed(0)
    plain, standard = (Pretrained("resnet18", None, frozen=True, standardize=by) for by in (False, True))
    standard.backbone.load_state_dict(plain.backbone.state_dict())
    images = _images(16)
    features, found = plain.train()(images), standard.train()(images)
    assert torch.allclose(found.mean(0), torch.zeros(512), atol=1e-5)
    expected = (features - features.mean(0)) / (features.var(0, correction=0) + 1e-5).sqrt()
    assert torch.allclose(found, expected, atol=1e-4)
    one = standard.eval()(images[:1])  # of one image too, by what was measured in training
    by_training = (features[:1] - features.mean(0)) / (features.var(0, correction=1) + 1e-5).sqrt()
    assert torch.allclose(one, by_training, atol=1e-4)
    assert list(dict(standard.named_parameters())) == list(dict(plain.named_parameters()))
