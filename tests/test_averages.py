import pytest
import torch
from torch import Tensor

from lab.metrics import Averages


def _per_image(seed: int, size: int = 50) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"loss": torch.randn(size, generator=generator), "accuracy": torch.rand(size, generator=generator)}


def _add(averages: Averages, values: dict[str, Tensor], sizes: list[int]) -> Averages:
    """Add the mean of each batch of the values of single images."""
    batches = {name: value.split(sizes) for name, value in values.items()}
    for i, size in enumerate(sizes):
        averages.update({name: batch[i].mean() for name, batch in batches.items()}, size)
    return averages


def _means(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.mean() for name, value in sorted(values.items())}


@pytest.mark.parametrize("sizes", [[50], [25, 25], [32, 18], [1, 2, 47], [1] * 50])
def test_the_average_over_batches_of_any_sizes_is_the_mean_over_images(sizes: list[int]) -> None:
    values = _per_image(0)
    torch.testing.assert_close(_add(Averages(), values, sizes).compute(), _means(values))


def test_reset_forgets_all_that_was_added() -> None:
    averages = _add(Averages(), _per_image(1), [30, 20])
    averages.compute()
    averages.reset()
    torch.testing.assert_close(_add(averages, _per_image(2), [10, 40]).compute(), _means(_per_image(2)))


def test_computing_does_not_forget() -> None:
    values, more = _per_image(3), _per_image(4)
    averages = _add(Averages(), values, [30, 20])
    assert averages.compute() == averages.compute()
    both = {name: torch.cat([values[name], more[name]]) for name in values}
    torch.testing.assert_close(_add(averages, more, [50]).compute(), _means(both))


def test_merged_averages_are_the_mean_over_the_images_of_both() -> None:
    values, more = _per_image(5, size=20), _per_image(6, size=70)
    averages = _add(Averages(), values, [20])
    averages.merge_state(_add(Averages(), more, [30, 40]))
    both = {name: torch.cat([values[name], more[name]]) for name in values}
    torch.testing.assert_close(averages.compute(), _means(both))


@pytest.mark.filterwarnings("ignore:The ``compute`` method")  # merging is no update
def test_two_averages_do_not_share_what_they_have_seen() -> None:
    one, other = Averages(), Averages()
    _add(one, _per_image(8), [50])
    _add(other, _per_image(9), [50])
    torch.testing.assert_close(one.compute(), _means(_per_image(8)))


def test_what_is_added_may_need_a_gradient_and_keeps_no_graph() -> None:
    averages = Averages()
    value = torch.tensor(2.0, requires_grad=True)
    averages.update({"loss": value * 3}, 4)
    assert averages.compute() == {"loss": torch.tensor(6.0)}
    assert not averages.compute()["loss"].requires_grad


def test_adding_does_not_change_what_was_handed_in() -> None:
    value = torch.tensor(2.0)
    averages = Averages()
    averages.update({"loss": value}, 4)
    averages.update({"loss": torch.tensor(4.0)}, 4)
    assert value == 2
    assert averages.compute() == {"loss": torch.tensor(3.0)}


def test_values_of_low_precision_are_added_up_in_float32() -> None:
    averages = Averages()
    value = torch.tensor(0.1, dtype=torch.bfloat16)
    for _ in range(1000):
        averages.update({"loss": value}, 3)
    mean = averages.compute()["loss"]
    assert mean.dtype == torch.float32
    torch.testing.assert_close(mean, value.float(), rtol=1e-5, atol=0)
