"""What is asked of two experiments, answered by the interval of their difference over seeds."""

import math
from typing import Any

from lab.report.compare import t_interval
from lab.reproduce.experiment import Question
from lab.reproduce.measured import REACHES
from lab.reproduce.results import Result


def answer(question: Question, results: dict[str, Result]) -> dict[str, Any] | None:
    """Answer a question in a sentence; None where one of the experiments has not been measured.

    The difference is taken seed by seed, as the two share their batches' draws, and the answer is given where its 95 %
    t-interval lies on one side of 0.
    """
    first, second = (results.get(name) for name in question.compare)
    if first is None or second is None or not (first.measured and second.measured):
        return None
    values = [result.by_seed(question.score) for result in (first, second)]
    seeds = sorted(values[0].keys() & values[1].keys())
    differences = [values[0][seed] - values[1][seed] for seed in seeds]
    mean, low, high = t_interval(differences) if differences else (math.nan,) * 3
    better, worse = (high < 0, low > 0) if REACHES in question.score else (low > 0, high < 0)
    verdict = "Yes" if better else "No, the other way round" if worse else f"It cannot be told from {_num(seeds)}"
    sentence = f"{verdict}: {_measured(question, values, seeds)}, a difference of {mean:+.2f}"
    sentence += f" with the 95 % interval {low:+.2f} to {high:+.2f} over {_num(seeds)}." if not math.isnan(low) else "."
    lost = sorted((first.measured.keys() & second.measured.keys()) - set(seeds))
    if not differences or lost:
        seeds_lost = f"seed {' and '.join(map(str, lost))}" if differences else "any seed"
        sentence = f"It cannot be told: {_name(question)} is not known of both with {seeds_lost}."
    return {"ask": question.ask, "answer": sentence, "compare": list(question.compare), "curve": question.curve,
            "values": [{str(seed): value for seed, value in found.items()} for found in values]}  # fmt: skip


def _measured(question: Question, values: list[dict[int, float]], seeds: list[int]) -> str:
    means = [sum(found[seed] for seed in seeds) / max(1, len(seeds)) for found in values]
    first, second = (f"{name} {mean:.2f}" for name, mean in zip(question.compare, means, strict=True))
    return f"{_name(question)} is {first} and {second}"


def _name(question: Question) -> str:
    curve, reaches, least = question.score.partition(REACHES)
    return f"the number of epochs until {curve} is {least}" if reaches else f"{question.score} in %"


def _num(seeds: list[int]) -> str:
    return f"{len(seeds)} seed{'' if len(seeds) == 1 else 's'}"
