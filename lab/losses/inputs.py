"""What a loss is computed from, so that a family and a loss that do not go together are told apart before the first step."""

from typing import Literal

from torch import nn

Input = Literal["embeddings", "logits", "pair_distances", "pair_logits"]


def check_input(loss: nn.Module, needed: Input, family: str) -> None:
    """Make sure that a loss takes what a family has to give; one that does not say is believed to.

    A loss says so by its attribute ``takes``. Those of ``torch.nn`` that take labels take logits, and those of
    pytorch-metric-learning embeddings.

    Raises:
        ValueError: naming both, and what to do.
    """
    takes = getattr(loss, "takes", None)
    if takes is None and isinstance(loss, nn.modules.loss._Loss) and type(loss).__module__.startswith("torch.nn."):
        of_torch = {nn.BCEWithLogitsLoss: "pair_logits", nn.NLLLoss: "log_probabilities", nn.CrossEntropyLoss: "logits"}
        takes = {**of_torch, nn.MultiMarginLoss: "logits"}.get(type(loss), "something_else")
    if takes is None and type(loss).__module__.startswith("pytorch_metric_learning"):
        takes = "embeddings"
    if takes not in (None, needed):
        name = type(loss).__name__
        raise ValueError(
            f"model.loss: {family} has {_words(needed)} to give, and {name} is a loss of {_words(takes)}; name another, or "
            f"null for the usual one of {family}"
        )


def _words(kind: str) -> str:
    return kind.replace("_", " ")
