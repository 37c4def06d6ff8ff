"""Learning on a Ray cluster, from the extra `[scale]`: prompts become vectors, and networks learn, on all its nodes."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from routewright.routing.spread import Item, Made, spread_over

LOCAL: Final = "local"
"""An address that starts a cluster on this machine, for as long as it is used."""
_AT_ONCE: Final = 64
"""Pieces handed out before the first is waited for: their arguments lie in the cluster's memory meanwhile."""
_KNOCK_TIMEOUT_S: Final = 5.0


class RayPool:
    """Runs pieces of work as Ray's tasks; what all of them need is put into its object store once."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    def map(self, function: Callable[..., Made], items: Iterable[Item], shared: tuple[Any, ...]) -> list[Made]:
        """As `Pool.map`. Raises what a piece raised."""
        ray = self._ray
        task = ray.remote(function)
        kept = [ray.put(value) for value in shared]
        done: list[Made] = []
        waiting: list[Any] = []
        for item in items:
            waiting.append(task.remote(*kept, item))
            if len(waiting) >= _AT_ONCE:
                done.append(ray.get(waiting.pop(0)))
        done.extend(ray.get(waiting))
        return done


def _knock(address: str) -> None:
    """Raise OSError where nobody listens at `host:port`: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdigit():
        socket.create_connection((host, int(port)), _KNOCK_TIMEOUT_S).close()


@contextmanager
def on_ray(address: str, *, workers: int | None = None) -> Iterator[None]:
    """Spread what is learned in here over the cluster at `address`.

    `local`: two workers or `workers` of this machine, gone afterwards. Raises ValueError where the extra is missing or
    the cluster can't be reached.
    """
    # usage figures are sent to Ray's makers unless it is told not to before it is imported
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ValueError(f"learning on Ray needs `pip install 'routewright[scale]'` ({error})") from None
    own: dict[str, Any] = {"address": address}
    if address == LOCAL:
        own = {"num_cpus": workers or 2, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        _knock(address)
        ray.init(log_to_driver=False, configure_logging=False, **own)
    except (ConnectionError, RuntimeError, OSError) as error:
        raise ValueError(f"no Ray cluster at {address}: {error}") from None
    try:
        with spread_over(RayPool(ray)):
            yield
    finally:
        ray.shutdown()
