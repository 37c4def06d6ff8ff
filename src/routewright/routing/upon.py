"""Routers that stand on another router's fit, and how the two are kept together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from routewright.routing.arguments import check_arguments
from routewright.routing.baselines import BestRouter
from routewright.routing.cluster import ClusterRouter
from routewright.routing.knn import KNNRouter
from routewright.routing.linear import LinearRouter
from routewright.routing.logistic import LogisticRouter
from routewright.routing.mf import MFRouter
from routewright.routing.mlp import MLPRouter
from routewright.routing.router import Array, Float32, Router
from routewright.routing.svm import SVMRouter

BASES: Final[dict[str, type[Router]]] = {
    router.name: router
    for router in (KNNRouter, ClusterRouter, LogisticRouter, LinearRouter, SVMRouter, MFRouter, MLPRouter, BestRouter)
}
"""What another router may stand on."""


class RouterUpon(Router):
    """Keeps a base router in `base_`, fitted by `fit_base`; saved with it, its arrays under `base.`.

    Subclasses take two arguments for it. base: its name. base_arguments: a JSON object of its arguments; empty: as they
    come. What is saved are all of them, so that a later default changes no old file.
    """

    arguments: ClassVar[tuple[str, ...]] = ("base", "base_arguments")
    base: str
    base_arguments: str
    base_: Router

    def fit_base(self, X: Float32, quality: Float32, cost_usd: Float32) -> Router:
        """A new base router fitted to these. Raises ValueError for an unknown base or argument."""
        return self._new_base().fit(X, quality, cost_usd)

    def _new_base(self) -> Router:
        if self.base not in BASES:
            raise ValueError(f'base must be one of {", ".join(BASES)}, got "{self.base}"')
        base_class = BASES[self.base]
        try:
            given = json.loads(self.base_arguments or "{}")
        except ValueError:
            raise ValueError('argument "base_arguments" must be a JSON object') from None
        check_arguments(base_class, given, "base_arguments")
        return base_class(**given)

    def params(self) -> dict[str, Any]:
        params = super().params()
        if hasattr(self, "base_"):
            params["base_arguments"] = json.dumps(self.base_.params(), sort_keys=True)
        return params

    def state(self) -> dict[str, Array]:
        state = super().state()
        own = {f"base.{name}": array for name, array in self.base_.state().items()}
        return state | own

    def take_state(self, arrays: Mapping[str, Array]) -> None:
        super().take_state(arrays)
        self._base_arrays = {name[5:]: array for name, array in arrays.items() if name.startswith("base.")}

    def load_base(self, n_features: int) -> Router:
        """The base router from the arrays taken. Raises ValueError naming the one that does not fit."""
        base = self._new_base()
        arrays = self._base_arrays
        del self._base_arrays
        try:
            return type(base).from_state(base.params(), arrays, n_features=n_features)
        except ValueError as error:
            raise ValueError(str(error).replace('array "', 'array "base.')) from None
