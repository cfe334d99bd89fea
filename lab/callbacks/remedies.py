"""What to train by after a collapse."""

from dataclasses import dataclass, field
from typing import Any

CHANGED = ("mining", "margin", "reduction")  # what a remedy may set of a loss


@dataclass(frozen=True)
class Attempt:
    """One more training from the weights before the first.

    Args:
        way: what is different, in words.
        settings: of the loss, by name; what is not named is as the user has asked for.
        for_an_epoch: whether they hold for an epoch alone.
        slower: whether the learning rate is a tenth of what it was.
    """

    way: str
    settings: dict[str, Any] = field(default_factory=dict)
    for_an_epoch: bool = False
    slower: bool = False


def asked_for(loss: Any) -> dict[str, Any]:
    """Return the settings of a loss that a remedy may change; none of one that mines no triplets."""
    return {name: getattr(loss, name) for name in CHANGED if hasattr(loss, name)} if hasattr(loss, "mining") else {}


def attempts(asked: dict[str, Any]) -> list[Attempt]:
    """Return the attempts, each milder than the one before, that differ from what the loss is set to already."""
    if not asked:
        return [Attempt("at a tenth of the learning rate", slower=True)] * 3
    easy: dict[str, Any] = {"mining": "all"}
    found = [Attempt("with all triplets for an epoch", easy, for_an_epoch=True)] if asked["mining"] != "all" else []
    if asked.get("margin") != "soft" and asked.get("reduction") == "mean":
        found.append(Attempt("with all triplets, and the mean over those with a loss", easy | {"reduction": "mean_nonzero"}))
    elif asked["mining"] != "all":
        found.append(Attempt("with all triplets", easy))
    last = Attempt(
        "with all triplets and a soft margin, at a tenth of the learning rate", easy | {"margin": "soft"}, slower=True
    )
    return [*found, last, last]
