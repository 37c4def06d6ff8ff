"""Adam: gradient steps scaled by what each parameter's gradients have been, for routers that are fitted in numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from routewright.routing.router import Float32

_FIRST = 0.9
_SECOND = 0.99
"""Shorter memory than the paper's 0.999: fits here take hundreds of steps, not hundreds of thousands."""


class Adam:
    """Moves parameters in place against their gradients.

    Source: Kingma and Ba, "Adam", ICLR 2015, arXiv:1412.6980; decay outside the gradient as in Loshchilov and Hutter,
    "Decoupled weight decay", ICLR 2019, arXiv:1711.05101.
    """

    def __init__(self, parameters: Sequence[Float32]) -> None:
        self.parameters = parameters
        self._first = [np.zeros_like(p) for p in parameters]
        self._second = [np.zeros_like(p) for p in parameters]
        self._steps = 0

    def step(self, gradients: Sequence[Float32], rates: Sequence[float], decays: Sequence[float]) -> None:
        """One step; the gradients are overwritten. A decay takes that share of its rate off a parameter."""
        self._steps += 1
        unbiased = np.float32(np.sqrt(1 - _SECOND**self._steps) / (1 - _FIRST**self._steps))
        moving = zip(self.parameters, gradients, self._first, self._second, rates, decays, strict=True)
        for parameter, gradient, first, second, rate, decay in moving:
            first *= np.float32(_FIRST)
            first += np.float32(1 - _FIRST) * gradient
            second *= np.float32(_SECOND)
            gradient *= gradient
            second += np.float32(1 - _SECOND) * gradient
            if decay:
                parameter *= np.float32(1 - rate * decay)
            np.sqrt(second, out=gradient)
            gradient += np.float32(1e-8)
            np.divide(first, gradient, out=gradient)
            gradient *= np.float32(rate) * unbiased
            parameter -= gradient
