"""A guard against embeddings that have collapsed to one point, at which nothing is learned any more."""

import copy
import math
from collections import deque
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lab.callbacks.collapse_signs import Measurement, is_collapse, measure
from lab.callbacks.remedies import asked_for, attempts
from lab.metrics import EmbeddingMetrics

LEAST, MOST = 10, 50  # steps between measurements, of which an epoch has some eight
PER_EPOCH, NUM_MEASURED = 8, 4  # and how many measurements in a row must show a collapse
Remedy = Literal["none", "auto"]


class CollapseGuard(Callback):
    """Says when training has collapsed, and what to change; where it is asked to, changes it itself.

    A loss of triplets or pairs can be lowered to a plateau by giving every image the same embedding: batch-hard triplets then
    stay at the margin, soft ones at ln 2 (Hermans, Beyer and Leibe, "In Defense of the Triplet Loss", 2017). So eight times
    an epoch, but not more often than every tenth step and not less than every fiftieth, the loss is compared with what it
    would be at a single point, and the farthest image of each class with the nearest of another. Four measurements in a row
    that are near that point in the mean are a collapse.

    Args:
        remedy: ``auto`` begins again from the weights before training, of triplets the first time with all of them for an epoch
            and the hard ones later, then with all of them throughout and the mean over those with a loss, then with a soft
            margin and at a tenth of the rate, twice; of pairs each time at a tenth of the rate. What a loss does already is
            passed over.
    """

    def __init__(self, remedy: Remedy = "none") -> None:
        if remedy not in ("none", "auto"):
            raise ValueError(f"callbacks.collapse_remedy must be none or auto, not {remedy!r}")
        self.remedy = remedy
        self.collapsed_at: list[int] = []  # steps
        self._measured: deque[Measurement] = deque(maxlen=NUM_MEASURED)
        self._first: Measurement | None = None
        self._embeddings: Tensor | None = None
        self._before: dict[str, Tensor] = {}
        self._asked_for: dict[str, Any] = {}  # settings of the loss that a remedy has changed
        self._easy_until = math.inf
        self._num_seen = 0
        self._hook: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the weights to begin again from, and see what the encoder gives from now on."""
        if not isinstance(pl_module.metrics, EmbeddingMetrics) or not hasattr(pl_module, "loss_of"):
            return
        if self.remedy == "auto" and not self._before:
            self._before = {name: value.detach().cpu().clone() for name, value in pl_module.state_dict().items()}
        self._asked_for = self._asked_for or asked_for(pl_module.loss)  # not what a remedy has made of it
        self._set_loss(trainer, pl_module)
        self._hook = pl_module.register_forward_hook(self._see)

    def _see(self, module: Any, inputs: Any, outputs: Any) -> None:
        # On several devices Lightning calls the whole training step through the model, and the hook sees its loss too.
        if module.training and isinstance(outputs, Tensor) and outputs.ndim == 2:
            self._embeddings = outputs.detach()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure some batches, log what it shows, and act where it is the last of several that have collapsed."""
        self._num_seen += 1
        if self._embeddings is None or self._num_seen % self._every(trainer):
            return
        embeddings, self._embeddings = self._embeddings.float(), None
        measured = self._measure(pl_module, embeddings, batch[1])
        if measured is not None:
            for logger in trainer.loggers:
                values = {"spread": measured.spread, "active_triplets": measured.active, "loss_gap": measured.gap}
                logger.log_metrics({f"collapse/{name}": value for name, value in values.items()}, trainer.global_step)
            self._measured.append(measured)
            self._first = self._first or measured
        enough = len(self._measured) == NUM_MEASURED and self._first is not None
        collapsed = enough and is_collapse(self._measured, self._first or self._measured[0])
        if trainer.strategy.reduce_boolean_decision(collapsed, all=False):  # asked by all processes, or they would wait
            last = self._measured[-1] if self._measured else None
            self._measured.clear()
            self._act(trainer, pl_module, last)
        elif trainer.global_step >= self._easy_until:
            self._easy_until = math.inf
            self._set_loss(trainer, pl_module)

    @staticmethod
    def _every(trainer: Trainer) -> int:
        return int(min(MOST, max(LEAST, trainer.num_training_batches / PER_EPOCH)))  # which may be infinite

    def _measure(self, model: Any, embeddings: Tensor, labels: Tensor) -> Measurement | None:
        loss = model.loss
        model.loss = copy.deepcopy(loss)  # one that remembers batches must not remember these
        try:
            # Both of this device's images alone, and without what a network adds for its weights: like with like.
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                own = model.loss_of(embeddings, labels)["loss"].item()
                of_a_point = model.loss_of(embeddings.mean(0).expand_as(embeddings), labels)["loss"].item()
        finally:
            model.loss = loss
        return measure(embeddings, labels, own, of_a_point, model.metrics.search == "cosine")

    def _act(self, trainer: Trainer, model: Any, measured: Measurement | None) -> None:
        said = bool(self.collapsed_at)
        self.collapsed_at.append(trainer.global_step)
        acts = self.remedy == "auto" and len(self.collapsed_at) <= len(attempts(self._asked_for))
        if trainer.is_global_zero and measured is not None and (acts or not said):
            print(
                f"WARNING: {self._complaint(trainer, model, measured)}{self._what_is_done(model) if acts else ''}", flush=True
            )
        if acts:
            self._begin_again(trainer, model)

    def _complaint(self, trainer: Trainer, model: Any, measured: Measurement) -> str:
        """Say in plain words what has happened, why, and what to set."""
        hard = "batch_hard" in str(getattr(model.loss, "mining", ""))
        cause = "batch-hard triplets, or too high a learning rate" if hard else "too high a learning rate"
        settings = ["--model.loss.mining all"] * hard + ["a lower --model.optimizer.lr, or max_lr of the scheduler"]
        return (
            f"training has collapsed by step {trainer.global_step}: all images get nearly the same embedding, so the loss, "
            f"{measured.loss:.4g}, stays at that of a single point, {measured.loss_at_a_point:.4g}, and little more is "
            f"learned. The likely cause is {cause}: set {', or '.join(settings)}"
            + (", or --callbacks.collapse_remedy auto" if self.remedy == "none" else "")
        )

    def _what_is_done(self, model: Any) -> str:
        number = len(self.collapsed_at)
        return f". Remedy {number}: begins again from the weights before training, {attempts(self._asked_for)[number - 1].way}"

    def _begin_again(self, trainer: Trainer, model: Any) -> None:
        thresholds = ("metrics.",)  # which are of the validation images
        model.load_state_dict({n: v for n, v in self._before.items() if not n.startswith(thresholds)}, strict=False)
        attempt = attempts(self._asked_for)[len(self.collapsed_at) - 1]
        for optimizer in trainer.optimizers:
            optimizer.state.clear()
            if attempt.slower:
                _scale(optimizer.param_groups)
        for config in trainer.lr_scheduler_configs:
            rates = getattr(config.scheduler, "base_lrs", None)
            if rates is not None and attempt.slower:
                config.scheduler.base_lrs = [rate / 10 for rate in rates]
        for stopping in trainer.early_stopping_callbacks:  # for which this is another run
            stopping.wait_count = 0
            stopping.best_score = torch.tensor(math.inf if stopping.monitor_op is torch.lt else -math.inf)
        self._easy_until = trainer.global_step + trainer.num_training_batches if attempt.for_an_epoch else math.inf
        self._set_loss(trainer, model)

    def _set_loss(self, trainer: Trainer, model: Any) -> None:
        """Set what the loss mines, its margin and what its mean is over to what this stage of the remedy says."""
        ladder, number = attempts(self._asked_for), len(self.collapsed_at)
        if self.remedy != "auto" or number == 0:
            return
        attempt = ladder[min(number, len(ladder)) - 1]
        is_over = attempt.for_an_epoch and not trainer.global_step < self._easy_until < math.inf
        for name, value in (self._asked_for | ({} if is_over else attempt.settings)).items():
            setattr(model.loss, name, value)

    def state_dict(self) -> dict[str, Any]:
        """Return what has been noticed and done, to go on from."""
        measured = {"measured": [list(one) for one in self._measured], "first": self._first and list(self._first)}
        done = {"collapsed_at": list(self.collapsed_at), "num_seen": self._num_seen, "easy_until": self._easy_until}
        return {**measured, **done, "before": dict(self._before)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self._num_seen = state_dict["num_seen"]
        self._first = state_dict["first"] and Measurement(*state_dict["first"])
        self.collapsed_at, self._easy_until = list(state_dict["collapsed_at"]), state_dict["easy_until"]
        self._measured.extend(Measurement(*one) for one in state_dict["measured"])
        self._before = dict(state_dict["before"])

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look no more."""
        if self._hook is not None:
            self._hook.remove()


def _scale(groups: list[dict[str, Any]]) -> None:
    """Take every learning rate of an optimizer and of its schedule down to a tenth."""
    for group in groups:
        for name in ("lr", "initial_lr", "max_lr", "min_lr"):
            if name in group:
                group[name] = group[name] / 10
