"""Logistic models of a few coefficients, fitted so that little evidence leaves them near where they started."""

from __future__ import annotations

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


def _fit(rows: Floats, right: npt.NDArray[np.bool_], start: Floats, weights: Floats) -> Floats:
    """Coefficients by Newton's method, each step halved until it helps, with a Gaussian prior about `start`."""
    precision = np.diag([PRECISION_OF_CONSTANT] + [PRECISION] * (len(start) - 1))

    def loss(coefficients: Floats) -> float:
        odds = rows @ coefficients
        off = coefficients - start
        misfit = weights @ (np.logaddexp(0, odds) - odds * right)
        return float(misfit + off @ precision @ off / 2)

    found = start.copy()
    for _ in range(100):
        chance = 1 / (1 + np.exp(-np.clip(rows @ found, -50, 50)))
        gradient = rows.T @ (weights * (chance - right)) + precision @ (found - start)
        hessian = (rows * (weights * chance * (1 - chance))[:, None]).T @ rows + precision
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-6 and loss(found - size * step) > loss(found):
            size /= 2
        if size <= 1e-6 or float(np.abs(size * step).max()) < 1e-7:
            break
        found = found - size * step
    return found
