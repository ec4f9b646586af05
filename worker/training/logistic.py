"""Logistic models of a few coefficients, fitted so that little evidence leaves them near where they started."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Of the prior on the coefficients: the first is the constant, of which next to nothing is known before.
PRECISION, PRECISION_OF_CONSTANT = 1.0, 0.01


def fit_sober(
    rows: Floats, right: npt.NDArray[np.bool_], start: Floats, weights: Floats | None = None
) -> Floats:
    """Coefficients of the greatest penalised likelihood, three digits each, as a card keeps them.

    `rows` float64 (n, k), the first column 1: what speaks for `right` (n,), each counted as often as `weights` say.
    More evidence never makes anything less likely: a coefficient that would be negative is left out, and the rest
    fitted without it.
    """
    used = list(range(len(start)))
    counted = np.ones(len(rows)) if weights is None else weights
    while True:
        found = _fit(rows[:, used], right, start[used], counted)
        worst = min(range(1, len(used)), key=lambda place: found[place], default=0)
        if worst == 0 or found[worst] >= 0:
            break
        del used[worst]
    coefficients = np.zeros(len(start))
    coefficients[used] = np.round(found, 3)
    return coefficients


def fit_choice(options: Sequence[Floats], chosen: Sequence[int], start: Floats) -> Floats:
    """Coefficients (k,) of the conditional logit that tells which option of each set is right, as `fit_sober` does.

    `options` holds a float64 (n, k) for each set: what speaks for each of its n options. `chosen` is the right one's
    place in its set.
    """
    used = list(range(len(start)))
    found = start
    while used:
        found = _fit_choice([rows[:, used] for rows in options], chosen, start[used])
        worst = int(np.argmin(found))
        if found[worst] >= 0:
            break
        del used[worst]
    coefficients = np.zeros(len(start))
    if used:
        coefficients[used] = np.round(found, 3)
    return coefficients


def _fit_choice(options: Sequence[Floats], chosen: Sequence[int], start: Floats) -> Floats:
    """The same by Newton's method with a Gaussian prior about `start`, without a look at the signs."""

    def loss(coefficients: Floats) -> float:
        scores = [rows @ coefficients for rows in options]
        off = coefficients - start
        misfit = sum(
            float(np.logaddexp.reduce(own) - own[right]) for own, right in zip(scores, chosen, strict=True)
        )
        return misfit + PRECISION * float(off @ off) / 2

    def slope(coefficients: Floats) -> tuple[Floats, Floats]:
        gradient, hessian = PRECISION * (coefficients - start), PRECISION * np.eye(len(start))
        for rows, right in zip(options, chosen, strict=True):
            scores = rows @ coefficients
            likely = np.exp(scores - scores.max())
            likely /= likely.sum()
            mean = likely @ rows
            gradient = gradient + mean - rows[right]
            hessian = hessian + (rows * likely[:, None]).T @ rows - np.outer(mean, mean)
        return gradient, hessian

    return _newton(start, loss, slope)


def _fit(rows: Floats, right: npt.NDArray[np.bool_], start: Floats, weights: Floats) -> Floats:
    """Coefficients by Newton's method, with a Gaussian prior about `start`."""
    precision = np.diag([PRECISION_OF_CONSTANT] + [PRECISION] * (len(start) - 1))

    def loss(coefficients: Floats) -> float:
        odds = rows @ coefficients
        off = coefficients - start
        misfit = weights @ (np.logaddexp(0, odds) - odds * right)
        return float(misfit + off @ precision @ off / 2)

    def slope(coefficients: Floats) -> tuple[Floats, Floats]:
        chance = 1 / (1 + np.exp(-np.clip(rows @ coefficients, -50, 50)))
        gradient = rows.T @ (weights * (chance - right)) + precision @ (coefficients - start)
        hessian = (rows * (weights * chance * (1 - chance))[:, None]).T @ rows + precision
        return gradient, hessian

    return _newton(start, loss, slope)


def _newton(
    start: Floats, loss: Callable[[Floats], float], slope: Callable[[Floats], tuple[Floats, Floats]]
) -> Floats:
    """Where a convex `loss` is least; `slope` gives its gradient and Hessian. Each step is halved until it helps."""
    found = start.copy()
    for _ in range(100):
        gradient, hessian = slope(found)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-6 and loss(found - size * step) > loss(found):
            size /= 2
        if size <= 1e-6 or float(np.abs(size * step).max()) < 1e-7:
            break
        found = found - size * step
    return found
