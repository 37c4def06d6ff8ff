"""Whether a server is one that leases can be kept on, by what it says of itself."""

from __future__ import annotations

OLDEST = (6, 2)


def facts_of(info: bytes) -> dict[str, str]:
    """What INFO tells, a line each."""
    lines = info.decode("utf-8", "replace").splitlines()
    return dict([line.split(":", 1) for line in lines if ":" in line and not line.startswith("#")])


def fault_of(facts: dict[str, str], *, is_cluster_meant: bool) -> str:
    """Why it is none; empty where nothing speaks against it. What a server keeps to itself is not held against it."""
    version = facts.get("redis_version", "")
    numbers = tuple([int(part) for part in version.split(".")[:2] if part.isdigit()])
    if "sentinel" in (facts.get("redis_mode"), facts.get("server_mode")):
        return "it is a sentinel: name it in sentinel_nodes, and its master in service_name"
    if len(numbers) == len(OLDEST) and numbers < OLDEST:
        return f"it is Redis {version[:20]}, and {'.'.join(map(str, OLDEST))} is the oldest that will do"
    if facts.get("cluster_enabled") == "1" and not is_cluster_meant:
        return "it is a node of a cluster: name its nodes in redis_startup_nodes"
    if facts.get("cluster_enabled") == "0" and is_cluster_meant:
        return "it belongs to no cluster: name it as host"
    if facts.get("role") == "slave":
        return "it is a replica, which takes no writes"
    return ""


def warning_of(facts: dict[str, str]) -> str:
    """What should be different, though it works."""
    policy = facts.get("maxmemory_policy", "noeviction")
    if facts.get("maxmemory", "0") != "0" and policy != "noeviction":
        return f"its maxmemory-policy is {policy[:40]}: once it is full it forgets leases; set it to noeviction"
    return ""
