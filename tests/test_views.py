from typing import Any

import pytest
import torch
from torch import Tensor

from lab.data.views import Images, Inverted, Stacked, Turned

STORED = torch.randint(256, (6, 2, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
VIEWS: dict[str, tuple[Any, Tensor]] = {
    "stacked": (lambda: Stacked([STORED[:2], STORED[2:2], STORED[2:]]), STORED),
    "inverted": (lambda: Inverted(STORED), 255 - STORED),
    "turned": (lambda: Turned(STORED), torch.cat([STORED.rot90(turns, (2, 3)) for turns in range(4)])),
    "turned and inverted": (lambda: Turned(Inverted(STORED)), torch.cat([255 - STORED.rot90(n, (2, 3)) for n in range(4)])),
    "stacked of turned": (
        lambda: Stacked([Turned(STORED[:1]), Inverted(STORED[1:3])]),
        torch.cat([*(STORED[:1].rot90(turns, (2, 3)) for turns in range(4)), 255 - STORED[1:3]]),
    ),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_indexed_as_the_tensor_that_it_stands_for(name: str) -> None:
    make, expected = VIEWS[name]
    view: Images = make()
    assert view.shape == expected.shape
    some = torch.tensor([len(expected) - 1, 0, 3, 3, 1])
    for index in (slice(None), slice(1, 5), some, torch.empty(0, dtype=torch.int64), *range(len(expected))):
        assert torch.equal(view[index], expected[index])


@pytest.mark.parametrize("name", VIEWS)
def test_what_a_view_returns_can_be_changed_without_changing_what_is_stored(name: str) -> None:
    before, view = STORED.clone(), VIEWS[name][0]()
    for index in (slice(None), torch.arange(view.shape[0])):
        view[index].zero_()
    assert torch.equal(STORED, before)


def test_an_image_is_not_turned_in_its_store() -> None:
    before, view = STORED.clone(), Turned(STORED)
    for place in range(len(STORED) * 4):
        view[place]
    assert torch.equal(STORED, before)
    corner = torch.zeros(1, 1, 3, 3, dtype=torch.uint8)
    corner[..., 0, 2] = 9
    assert Turned(corner)[1][0].tolist() == [[9, 0, 0], [0, 0, 0], [0, 0, 0]]  # upper right goes to the upper left
