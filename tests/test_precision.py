from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from lab.data import MNIST
from lab.models import Classifier, Family, Siamese, SplitImage, Triplet
from lab.nets import ConvNet

SCORES = {
    "classifier": "test/accuracy",
    "split_image": "test/accuracy",
    "siamese": "test/pair_accuracy",
    "triplet": "test/recall@1",
}


def _model(family: str) -> Family:
    if family == "split_image":
        return SplitImage(ConvNet((1, 14, 28), width=8, embedding_size=32), 10)
    encoder = ConvNet(width=8, embedding_size=32)
    return Classifier(encoder, 10) if family == "classifier" else Triplet(encoder) if family == "triplet" else Siamese(encoder)


def _scores(family: str, precision: Any) -> dict[str, float]:
    pl.seed_everything(0, verbose=False)
    per_class = 8 if family in ("siamese", "triplet") else None
    data = MNIST(bundled=True, batch_size=80, samples_per_class=per_class, num_images_per_class=150)
    off: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    trainer = pl.Trainer(max_epochs=4, accelerator="cpu", precision=precision, **off)
    model = _model(family)
    trainer.fit(model, data)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    return {**trainer.test(model, data, verbose=False)[0]}


@pytest.mark.slow
@pytest.mark.parametrize("family", SCORES)
def test_every_family_scores_in_bf16_mixed_as_it_does_in_float32(family: str) -> None:
    name, half, full = SCORES[family], _scores(family, "bf16-mixed"), _scores(family, "32-true")
    assert all(torch.tensor(list(scores.values())).isfinite().all() for scores in (half, full))
    assert full[name] > 0.7
    assert half != full  # it was another precision
    assert abs(half[name] - full[name]) < 0.03  # three seeds differ by 1 to 5 hundredths
