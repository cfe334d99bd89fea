import pytest
import torch
import torchvision.transforms.functional as reference
from torch import Tensor

from lab.data.augmentation import Augmentation

PIXEL_CHANGES = ["crop", "cutout", "brightness", "contrast", "saturation", "noise"]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _images(num: int = 6, channels: int = 3, height: int = 12, width: int = 10) -> Tensor:
    return torch.rand(num, channels, height, width, generator=_generator())


def _only(name: str, strength: float, images: Tensor, seed: int = 0) -> Tensor:
    return Augmentation(**{name: strength})(images, _generator(seed))


def _with_draw(draw: float, name: str, strength: float, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Change the images with every uniform random number the same."""
    with monkeypatch.context() as patch:
        patch.setattr(torch, "rand", lambda *size, **_: torch.full(size, draw))
        return _only(name, strength, images)


@pytest.mark.parametrize("name", PIXEL_CHANGES)
def test_a_change_changes_each_image_its_own_way_the_same_for_the_same_seed(name: str) -> None:
    image = _images(1).expand(4, -1, -1, -1)
    changed = _only(name, 0.5, image)
    assert changed.shape == image.shape
    assert torch.equal(changed, _only(name, 0.5, image))
    assert not torch.equal(changed, _only(name, 0.5, image, seed=1))
    assert not torch.equal(changed[0], changed[1])


@pytest.mark.parametrize("name", PIXEL_CHANGES)
def test_pixels_stay_in_their_range_and_the_images_given_as_they_are(name: str) -> None:
    images = _images()
    before = images.clone()
    changed = _only(name, 0.9, images)
    assert torch.equal(images, before)
    assert changed.min() >= -1e-6
    assert changed.max() <= 1 + 1e-6


@pytest.mark.parametrize("name", [*PIXEL_CHANGES, "rotate"])
@pytest.mark.parametrize("strength", [-0.1, 200.0])
def test_a_strength_out_of_range_is_refused_by_name(name: str, strength: float) -> None:
    with pytest.raises(ValueError, match=rf"data\.augmentation\.{name} must be from 0 to"):
        Augmentation(**{name: strength})


@pytest.mark.parametrize(("draw", "side"), [(0.0, -1), (1.0, 1), (0.75, 0.5)])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_colour_changes_are_those_of_torchvision(name: str, draw: float, side: float, monkeypatch: pytest.MonkeyPatch) -> None:
    images = _images()
    changed = _with_draw(draw, name, 0.4, images, monkeypatch)
    adjust = getattr(reference, f"adjust_{name}")
    expected = torch.stack([adjust(image, 1 + side * 0.4) for image in images])
    torch.testing.assert_close(changed, expected, rtol=0, atol=2e-3)  # torchvision rounds its weights of the colours


def test_saturation_leaves_grey_images_as_they_are() -> None:
    grey = _images(channels=1)
    torch.testing.assert_close(_only("saturation", 0.8, grey), grey)


def test_cutout_fills_a_square_with_the_mean_and_leaves_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    images = _images(height=12, width=12)
    changed = _with_draw(0.5, "cutout", 0.5, images, monkeypatch)
    hidden = torch.zeros(12, 12, dtype=torch.bool)
    hidden[3:9, 3:9] = True
    means = images.mean((1, 2, 3)).view(-1, 1, 1).expand(-1, 3, 36)
    torch.testing.assert_close(changed[..., hidden], means)
    torch.testing.assert_close(changed[..., ~hidden], images[..., ~hidden], rtol=0, atol=1e-5)


def test_a_square_at_the_rim_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    images = _images(height=12, width=12)
    changed = _with_draw(0.0, "cutout", 0.5, images, monkeypatch)
    different = ((changed - images).abs() > 1e-5).any(1)
    assert different[:, :3, :3].float().mean() > 0.9
    assert not different[:, 3:].any()
    assert not different[:, :, 3:].any()


@pytest.mark.parametrize(("draw", "rows", "columns"), [(1.0, slice(6, 12), slice(6, 12)), (0.0, slice(0, 12), slice(0, 12))])
def test_a_crop_enlarges_a_window_that_lies_within_the_image(
    draw: float, rows: slice, columns: slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = _images(height=12, width=12)
    changed = _with_draw(draw, "crop", 0.5, images, monkeypatch)
    window = images[:, :, rows, columns]
    expected = torch.nn.functional.interpolate(window, (12, 12), mode="bilinear", align_corners=False)
    inner = slice(2, -2)  # within half a pixel of the rim the two repeat other pixels
    torch.testing.assert_close(changed[..., inner, inner], expected[..., inner, inner], rtol=0, atol=1e-4)


def test_noise_has_the_standard_deviation_asked_for() -> None:
    images = torch.full((20, 1, 40, 40), 0.5)
    changed = _only("noise", 0.1, images)
    assert changed.mean().item() == pytest.approx(0.5, abs=0.002)
    assert changed.std().item() == pytest.approx(0.1, rel=0.02)


def test_changes_of_pixels_do_not_change_how_the_image_is_mapped() -> None:
    images = _images()
    mapped = Augmentation(rotate=30, shift=0.2)(images, _generator())
    also_cut = Augmentation(rotate=30, shift=0.2, cutout=0.3)(images, _generator())
    same = (mapped - also_cut).abs() < 1e-6
    assert 0.5 < same.float().mean() < 1.0
