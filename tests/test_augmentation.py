import itertools
import math

import pytest
import torch
import torchvision.transforms.functional as reference
from torch import Tensor
from torchvision.transforms import InterpolationMode

from lab.data.augmentation import Augmentation

ALL = Augmentation(rotate=20, shift=0.1, scale=0.2, shear=10, flip=0.5)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _images(num: int, channels: int, height: int, width: int) -> Tensor:
    return torch.rand(num, channels, height, width, generator=_generator())


def _at_the_limit(augmentation: Augmentation, images: Tensor, monkeypatch: pytest.MonkeyPatch, side: int) -> Tensor:
    """Change the images as far as the strengths allow, to one side (+1) or to the other (-1)."""
    with monkeypatch.context() as patch:
        patch.setattr(torch, "rand", lambda *size, **_: torch.full(size, (side + 1) / 2))
        return augmentation(images, _generator())


def _inside(height: int, width: int, radius: float) -> Tensor:
    y = torch.arange(height) - (height - 1) / 2
    x = torch.arange(width) - (width - 1) / 2
    return y.view(-1, 1) ** 2 + x**2 < radius**2


def _assert_one_a_side(results: list[Tensor], references: list[Tensor], mask: Tensor, tolerance: float = 1e-4) -> None:
    """Check that the two limits are the two reference results, whichever of them is called positive."""
    agree = [[bool((result - wanted)[..., mask].abs().max() < tolerance) for wanted in references] for result in results]
    assert agree in ([[True, False], [False, True]], [[False, True], [True, False]])


@pytest.mark.parametrize("shape", [(4, 1, 28, 28), (3, 3, 15, 32), (1, 2, 9, 4)])
def test_strength_zero_is_the_identity(shape: tuple[int, int, int, int]) -> None:
    images = _images(*shape)
    torch.testing.assert_close(Augmentation()(images, _generator()), images, rtol=0, atol=1e-5)


def test_the_same_generator_gives_the_same_result_and_another_gives_another() -> None:
    images = _images(5, 1, 16, 16)
    assert torch.equal(ALL(images, _generator(1)), ALL(images, _generator(1)))
    assert not torch.equal(ALL(images, _generator(1)), ALL(images, _generator(2)))


def test_nothing_is_drawn_from_the_global_generator() -> None:
    before = torch.get_rng_state()
    ALL(_images(3, 1, 8, 8), _generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_the_images_given_stay_as_they_are() -> None:
    images = _images(3, 1, 8, 8)
    copy = images.clone()
    changed = ALL(images, _generator())
    assert torch.equal(images, copy)
    assert changed.shape == images.shape
    assert changed.dtype == images.dtype


def test_each_image_of_a_batch_is_changed_in_its_own_way() -> None:
    changed = ALL(_images(1, 1, 12, 12).expand(20, -1, -1, -1), _generator())
    assert len({tuple(image.flatten().tolist()) for image in changed}) == 20


def test_all_channels_of_an_image_are_changed_alike() -> None:
    changed = ALL(_images(6, 1, 12, 12).expand(-1, 3, -1, -1), _generator())
    assert torch.equal(changed[:, 0], changed[:, 1])
    assert torch.equal(changed[:, 0], changed[:, 2])


@pytest.mark.parametrize("side", [8, 9])
def test_a_rotation_by_ninety_degrees_is_a_quarter_turn(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    images = _images(2, 3, side, side)
    turned = [_at_the_limit(Augmentation(rotate=90), images, monkeypatch, to) for to in (1, -1)]
    quarters = [torch.rot90(images, times, (2, 3)) for times in (1, -1)]
    _assert_one_a_side(turned, quarters, torch.ones(side, side, dtype=torch.bool))


@pytest.mark.parametrize("shape", [(24, 24), (20, 36), (37, 21)])
@pytest.mark.parametrize("angle", [7.0, 33.0, 75.0])
def test_a_rotation_is_torchvisions_rotation_on_square_and_other_images(
    shape: tuple[int, int], angle: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = _images(2, 1, *shape)
    turned = [_at_the_limit(Augmentation(rotate=angle), images, monkeypatch, to) for to in (1, -1)]
    wanted = [reference.rotate(images, to * angle, InterpolationMode.BILINEAR) for to in (1, -1)]
    _assert_one_a_side(turned, wanted, _inside(*shape, radius=min(shape) / 2 - 1))


@pytest.mark.parametrize("shape", [(24, 24), (20, 36)])
@pytest.mark.parametrize("degrees", [10.0, 30.0])
def test_a_shear_is_torchvisions_shear(shape: tuple[int, int], degrees: float, monkeypatch: pytest.MonkeyPatch) -> None:
    images = _images(2, 1, *shape)
    sheared = [_at_the_limit(Augmentation(shear=degrees), images, monkeypatch, to) for to in (1, -1)]
    wanted = [reference.affine(images, 0.0, [0, 0], 1.0, [to * degrees, 0.0], InterpolationMode.BILINEAR) for to in (1, -1)]
    _assert_one_a_side(sheared, wanted, _inside(*shape, radius=min(shape) / 2 * math.cos(math.radians(degrees)) - 2))


@pytest.mark.parametrize("shape", [(24, 24), (20, 36)])
def test_a_change_of_size_is_torchvisions_one_either_way(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    images = _images(2, 1, *shape)
    sized = [_at_the_limit(Augmentation(scale=0.25), images, monkeypatch, to) for to in (1, -1)]
    wanted = [reference.affine(images, 0.0, [0, 0], 1 + to * 0.25, [0.0, 0.0], InterpolationMode.BILINEAR) for to in (1, -1)]
    _assert_one_a_side(sized, wanted, _inside(*shape, radius=min(shape) / 2 * 0.75 - 1))


@pytest.mark.parametrize("scale", [0.2, 0.5])
def test_a_rotation_keeps_its_angle_when_the_size_changes_too(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    images = _images(2, 1, 25, 40)
    changed = _at_the_limit(Augmentation(rotate=30, scale=scale), images, monkeypatch, 1)
    both_ways = [
        reference.affine(images, to * 30.0, [0, 0], 1 + scale, [0.0, 0.0], InterpolationMode.BILINEAR) for to in (1, -1)
    ]
    mask = _inside(25, 40, radius=11.5)
    assert min(float((changed - wanted)[..., mask].abs().max()) for wanted in both_ways) < 1e-4


@pytest.mark.parametrize("shape", [(31, 31), (31, 47)])
def test_rotation_shear_and_mirror_together_keep_areas_and_a_change_of_size_alone_scales_them(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    height, width = shape
    x, y = torch.arange(width).expand(shape) * 0.01, torch.arange(height).view(-1, 1).expand(shape) * 0.01
    ramps = torch.stack([x, y]).unsqueeze(0)  # what is found at a place says where it was, so differences are the map
    for scale, to in itertools.product((0.0, 0.2), (1, -1)):
        changed = _at_the_limit(Augmentation(rotate=40, shear=25, scale=scale, flip=1), ramps, monkeypatch, to)[0]
        middle = changed[:, height // 2 - 2 : height // 2 + 3, width // 2 - 2 : width // 2 + 3] / 0.01
        along_x, along_y = middle.diff(dim=2).mean((1, 2)), middle.diff(dim=1).mean((1, 2))
        area = (along_x[0] * along_y[1] - along_x[1] * along_y[0]).abs().item()
        assert area == pytest.approx(1 / (1 + to * scale) ** 2, abs=1e-3)


def test_a_shift_is_a_share_of_each_side_and_repeats_the_rim(monkeypatch: pytest.MonkeyPatch) -> None:
    images = _images(2, 3, 8, 16)
    y, x = torch.arange(8), torch.arange(16)
    moved = [_at_the_limit(Augmentation(shift=0.25), images, monkeypatch, to) for to in (1, -1)]
    wanted = [images[:, :, (y + to * 2).clamp(0, 7)][:, :, :, (x + to * 4).clamp(0, 15)] for to in (1, -1)]
    _assert_one_a_side(moved, wanted, torch.ones(8, 16, dtype=torch.bool))


@pytest.mark.parametrize("other", [{"scale": 0.5}, {"rotate": 40}, {"shear": 30}])
def test_a_shift_brings_the_same_place_to_the_middle_whatever_else_is_changed(
    other: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = _images(4, 1, 9, 15)
    alone, together = (
        _at_the_limit(Augmentation(shift=0.2, **more), images, monkeypatch, 1)[:, 0, 4, 7] for more in ({}, other)
    )
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)


def test_shifts_go_both_ways_along_both_axes_and_no_further_than_allowed() -> None:
    image = torch.zeros(1, 1, 21, 21)
    image[..., 10, 10] = 1.0
    moved = Augmentation(shift=0.2)(image.expand(300, -1, -1, -1), _generator())
    place = torch.arange(21) - 10.0
    weight = moved.sum((2, 3)).squeeze(1)
    for dim in (2, 3):
        offset = (moved.sum(5 - dim).squeeze(1) * place).sum(1) / weight
        assert offset.abs().max() <= 0.2 * 21 + 1e-4
        assert offset.min() < -0.15 * 21
        assert offset.max() > 0.15 * 21


@pytest.mark.parametrize("width", [8, 11])
def test_flip_one_is_a_mirror_image_left_to_right(width: int) -> None:
    images = _images(6, 3, 10, width)
    torch.testing.assert_close(Augmentation(flip=1)(images, _generator()), images.flip(3), rtol=0, atol=1e-5)


def test_flip_one_half_mirrors_about_every_other_image() -> None:
    images = _images(200, 1, 6, 7)
    changed = Augmentation(flip=0.5)(images, _generator())
    mirrored = (changed - images.flip(3)).abs().amax((1, 2, 3)) < 1e-5
    same = (changed - images).abs().amax((1, 2, 3)) < 1e-5
    assert bool((mirrored ^ same).all())
    assert abs(int(mirrored.sum()) - 100) < 4 * math.sqrt(200 * 0.25)


def test_values_stay_in_the_range_of_their_image() -> None:
    images = _images(50, 1, 14, 18) * 0.5 + 0.25
    strong = Augmentation(rotate=180, shift=1, scale=0.9, shear=60, flip=0.5)
    changed = strong(images, _generator())
    assert bool((changed.amax((1, 2, 3)) <= images.amax((1, 2, 3)) + 1e-5).all())
    assert bool((changed.amin((1, 2, 3)) >= images.amin((1, 2, 3)) - 1e-5).all())


def test_an_image_of_one_colour_stays_as_it_is() -> None:
    images = torch.full((20, 1, 9, 13), 0.6)
    torch.testing.assert_close(ALL(images, _generator()), images)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *itertools.product(["rotate", "shift", "scale", "shear", "flip"], [-0.1, math.nan]),
        ("rotate", 181),
        ("shift", 1.1),
        ("scale", 1.0),
        ("shear", 90),
        ("flip", 1.1),
    ],
)
def test_a_strength_out_of_range_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"data\.augmentation\.{name} must be from 0 to .* not {value}"):
        Augmentation(**{name: value})
