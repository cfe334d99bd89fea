"""What Lightning does at every step for nothing, which takes as long as a small network, and is left out here."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.profilers import PassThroughProfiler

BATCH_HOOKS = [f"on_{stage}_batch_{end}" for stage in ("train", "validation", "test") for end in ("start", "end")]
BATCH_HOOKS += ["on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step"]
_NOTHING: AbstractContextManager[Any] = nullcontext()


def without_idle_hooks(callback: Callback) -> Callback:
    """Take those hooks from a callback that it leaves empty and that are called every step.

    Lightning calls what is callable, which its documentation does not promise: a version that did otherwise would fail at once.
    """
    for hook in BATCH_HOOKS:
        if getattr(type(callback), hook) is getattr(Callback, hook):
            setattr(callback, hook, None)
    return callback


class Unprofiled(PassThroughProfiler):
    """Profiles nothing, as Lightning's own, but does not begin and end a generator for each of some 70 parts of a step."""

    def profile(self, action_name: str) -> AbstractContextManager[Any]:  # type: ignore[override]
        """Return what is entered and left around a part."""
        return _NOTHING
