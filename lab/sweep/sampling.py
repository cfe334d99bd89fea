"""How values are chosen, and when a trial is given up."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna import Study, Trial
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from lab.sweep.settings import Settings
from lab.sweep.space import Parameter

SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "grid": lambda seed: RandomSampler(seed),  # which is never asked, as all values of a grid are given
    "random": lambda seed: RandomSampler(seed),
    "tpe": lambda seed: TPESampler(seed=seed),
}


class SeededByTrial(BaseSampler):
    """A sampler that is made anew for each trial, seeded by the sweep's seed and the trial's number.

    So a sweep that was interrupted draws what it would have drawn, and no two workers draw the same.

    Args:
        name: one of ``SAMPLERS``.
        seed: of the sweep.
    """

    def __init__(self, name: str, seed: int) -> None:
        self.name, self.seed = name, seed
        self.inner = SAMPLERS[name](seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make the sampler of this trial."""
        self.inner = SAMPLERS[self.name](int(np.random.SeedSequence([self.seed, trial.number]).generate_state(1)[0]))
        self.inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return what is sampled together."""
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """Sample together."""
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Sample one value."""
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Note what has become of a trial."""
        self.inner.after_trial(study, trial, state, values)


def pruner(settings: Settings) -> BasePruner:
    """Make the pruner, which compares trials after as many epochs, or folds."""
    if settings.pruner == "median":
        return MedianPruner()
    if settings.pruner == "hyperband":
        longest = settings.num_folds or settings.max_epochs
        return HyperbandPruner(max_resource=longest if longest > 0 else "auto")
    return NopPruner()


def suggest(trial: Trial, parameter: Parameter) -> Any:
    """Return the value of a hyperparameter in a trial, as it is stored."""
    if parameter.choices:
        return trial.suggest_categorical(parameter.key, parameter.named())
    if parameter.is_whole:
        low, high, step = int(parameter.low), int(parameter.high), int(parameter.step or 1)
        return trial.suggest_int(parameter.key, low, high, step=step, log=parameter.log)
    return trial.suggest_float(parameter.key, parameter.low, parameter.high, step=parameter.step, log=parameter.log)
