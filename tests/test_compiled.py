from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from lab.callbacks.compiled import Compile
from lab.data import Synthetic
from lab.models import Classifier, Siamese, load
from lab.nets import MLP, ConvNet

SHAPE = (1, 12, 12)
WAITS = "the first step waits for inductor to compile, which may take a minute\n"


def _fit(tmp_path: Path, callbacks: list[pl.Callback]) -> Siamese:
    pl.seed_everything(0, verbose=False)
    model = Siamese(MLP(SHAPE, (16,), 8, dropout=0.2), other_encoder=ConvNet(SHAPE, 4, 2, 8))
    data = Synthetic(3, 60, 9, SHAPE, batch_size=20, validation_size=20)
    off: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(max_epochs=2, accelerator="cpu", callbacks=callbacks, default_root_dir=tmp_path, **off)
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    return model


def test_a_compiled_model_learns_the_same_and_its_checkpoint_is_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bool] = []
    compile_really = torch.compile

    def counting(forward: Any, backend: str) -> Any:
        compiled = compile_really(forward, backend=backend)

        def run(images: torch.Tensor) -> Any:
            calls.append(forward.__self__.training)
            return compiled(images)

        return run

    monkeypatch.setattr(torch, "compile", counting)
    plain, compiled = _fit(tmp_path / "plain", []), _fit(tmp_path / "compiled", [Compile("eager")])
    assert calls == [True] * 8  # both encoders in two batches of two epochs, and not while validating
    torch.testing.assert_close(dict(compiled.state_dict()), dict(plain.state_dict()))
    assert not any("forward" in vars(part) for part in compiled.modules())
    loaded = load(tmp_path / "compiled" / "last.ckpt")
    images = torch.rand(4, *SHAPE)
    compiled.eval()
    torch.testing.assert_close(loaded(images), compiled(images))


def test_networks_are_left_as_they_were_where_training_fails(tmp_path: Path) -> None:
    class Fails(pl.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            raise RuntimeError("out of luck")

    model = Classifier(MLP(SHAPE, (16,), 8), 3)
    data = Synthetic(3, 60, 9, SHAPE, batch_size=20, validation_size=30)
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", logger=False, callbacks=[Compile("eager"), Fails()],
                         enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    with pytest.raises(RuntimeError, match="out of luck"):
        trainer.fit(model, data)
    assert "forward" not in vars(model.encoder)


def test_a_backend_that_is_not_there_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"callbacks.compile: torch.compile has no backend 'inductr' here; did you mean 'inductor'"
    ):
        Compile("inductr")


@pytest.mark.parametrize(("backend", "words"), [("inductor", WAITS), ("eager", "")])
def test_a_run_says_that_it_waits_for_a_compiler(backend: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    model, trainer = Classifier(MLP(SHAPE, (16,), 8), 3), pl.Trainer(accelerator="cpu", logger=False)
    capsys.readouterr()
    callback = Compile(backend)
    callback.on_train_start(trainer, model)
    callback.on_train_end(trainer, model)
    assert capsys.readouterr().out == words
