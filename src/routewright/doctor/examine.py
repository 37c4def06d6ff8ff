"""All checks in order, and the report."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from routewright.catalog import Catalog
from routewright.config import ConfigError, load_settings
from routewright.doctor.findings import GOOD, PROBLEM, WARNING, Finding, good, problem, warning
from routewright.doctor.machine import of_clock, of_disk, of_ledger, of_limits
from routewright.doctor.network import Origin, of_origins
from routewright.doctor.shared import of_valkey
from routewright.errors import GatewayError, clean_secrets
from routewright.logs import BOLD, DIM, GREEN, RED, RESET, YELLOW
from routewright.record.lag import lag_of
from routewright.routing.artefact import read_artefact
from routewright.routing.live import router_path
from routewright.settings import JOURNAL_FOLDER, Settings

SHORT_KEY = 16
_MARKS = {GOOD: ("ok", GREEN), WARNING: ("warning", YELLOW), PROBLEM: ("PROBLEM", RED + BOLD)}


def doctor(
    config: Path | None, data_dir: Path, *, workers: int = 1, is_offline: bool = False, as_json: bool = False
) -> int:
    """Print what was found. 0: nothing keeps it from serving; 1: something does."""
    findings = []
    for finding in examine(config, data_dir, workers=workers, is_offline=is_offline):
        findings.append(finding)
        if not as_json:
            print(line(finding, is_coloured=sys.stdout.isatty() and not os.environ.get("NO_COLOR")), flush=True)
    counts = Counter(finding.grade for finding in findings)
    if as_json:
        fields = [{"subject": f.subject, "grade": f.grade, "text": f.text, "advice": f.advice} for f in findings]
        print(json.dumps({"findings": fields, "problems": counts[PROBLEM], "warnings": counts[WARNING]}, indent=1))
    else:
        print(f"{counts[PROBLEM]} problems, {counts[WARNING]} warnings, {counts[GOOD]} good")
    return 1 if counts[PROBLEM] else 0


def line(finding: Finding, *, is_coloured: bool) -> str:
    mark, colour = _MARKS[finding.grade]
    text = clean_secrets(finding.text)
    advice = f"\n{'':18}{finding.advice}" if finding.advice else ""
    if is_coloured:
        advice = f"{DIM}{advice}{RESET}" if advice else ""
        return f"{colour}{mark:<8}{RESET}{finding.subject:<10}{text}{advice}"
    return f"{mark:<8}{finding.subject:<10}{text}{advice}"


def examine(config: Path | None, data_dir: Path, *, workers: int, is_offline: bool) -> Iterator[Finding]:
    """Every finding, as it is made."""
    yield from _of_python()
    settings: Settings | None = None
    if config is None:
        yield warning("config", "none was given", "--config FILE: what is to be served is then looked at as well")
    else:
        try:
            settings = load_settings(config, environ=os.environ)
        except ConfigError as error:
            for each in error.problems:
                yield problem("config", str(each), "nothing is served until it is right")
        else:
            yield from _of_settings(settings)
    skew: tuple[float | None, str] = (None, "")
    if settings is not None and not is_offline:
        found, skew = of_origins(_origins(settings), settings.upstream.ssl_verify)
        yield from found
        if settings.valkey is not None:
            yield from of_valkey(settings.valkey)
    yield from of_clock(*skew)
    yield from of_disk(data_dir)
    yield from of_limits(workers)
    if settings is not None:
        yield from _of_store(settings, data_dir)
        yield from _of_routers(settings, data_dir)


def _of_python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield good("python", f"{version} on {sys.platform}")


def _of_settings(settings: Settings) -> Iterator[Finding]:
    for text in settings.warnings:
        yield warning("config", text, "as `routewright check-config` tells it; it serves all the same")
    if settings.deployments:
        names = {each.model_name for each in settings.deployments}
        yield good("config", f"{len(settings.deployments)} deployments of {len(names)} models")
    else:
        yield problem("config", "no deployment can be used", "set the providers' keys that the warnings name")
    for each in settings.deployments:
        if each.api_key is not None and each.api_key.reveal().strip() != each.api_key.reveal():
            yield problem("keys", f"the credential of {each.model_name} ({each.id}) has space around it",
                          "take it off where the variable is set: the provider will refuse it")  # fmt: skip
    master = settings.master_key
    if master is not None and len(master.reveal()) < SHORT_KEY:
        yield warning("keys", f"the master key has {len(master.reveal())} characters",
                      "it may do everything: take 32 random ones, `openssl rand -hex 16`")  # fmt: skip


def _origins(settings: Settings) -> dict[Origin, list[str]]:
    """Who has to be reached, and for whom."""
    wanted: dict[Origin, list[str]] = {}
    catalog = Catalog(settings, lambda group: True)
    for group in catalog.groups():
        for deployment in group.deployments:
            wanted.setdefault(deployment.origin, []).append(group.name)
    others = [(each.name, each.url) for each in settings.exports if each.kind != "objects"]
    if settings.traces is not None:
        others.append(("otel", settings.traces.url))
    for name, url in others:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        wanted.setdefault((parts.scheme, parts.hostname or "", port), []).append(f"callback {name}")
    return wanted


def _of_store(settings: Settings, data_dir: Path) -> Iterator[Finding]:
    from routewright.store.database import FLOOR, HEAD, Database, current_revision, may_serve, sqlite_url, too_new
    from routewright.store.ledger import read_positions

    is_postgres = settings.database_url is not None
    address = settings.database_url.reveal() if settings.database_url is not None else sqlite_url(data_dir)
    what = "Postgres" if is_postgres else "SQLite"
    if not is_postgres and not Path(address.removeprefix("sqlite:///")).exists():
        yield good("store", "SQLite, made with the first record")
        return
    try:
        database = Database(address)
    except ValueError as error:
        yield problem("store", str(error), "general_settings.database_url takes postgresql://user:password@host/name")
        return
    try:
        revision = database.read(current_revision)
        followed = database.read(read_positions) if revision is not None else {}
        is_too_new = revision is not None and revision > HEAD and not database.read(may_serve)
    except GatewayError as error:
        yield problem("store", f"{what}: {error.message}",
                      "requests of keys that are in memory go on without it; new ones get 503")  # fmt: skip
        return
    finally:
        database.close()
    yield from of_ledger(lag_of(data_dir / JOURNAL_FOLDER, followed), int(time.time() * 1000))
    if revision is None:
        yield good("store", f"{what}: empty; its tables are made at the first start")
    elif is_too_new:
        yield problem("store", f"{what}: {too_new(revision)}", "until then stored keys get 503, and no record is a row")
    elif revision > HEAD:
        yield warning("store", f"{what}: its tables are of version {revision}, this program's are {HEAD}",
                      "a newer version has been here, which has only added to them: this one may go on")  # fmt: skip
    elif revision < FLOOR:
        yield good("store", f"{what}: tables of version {revision} are brought to {HEAD} at the next start")
    else:
        yield good("store", f"{what}: tables of version {revision}")


def _of_routers(settings: Settings, data_dir: Path) -> Iterator[Finding]:
    paths = {router_path(route.router, data_dir / "routers"): route.name for route in settings.routes if route.router}
    if settings.router.artefact_path is not None:
        paths.setdefault(Path(settings.router.artefact_path), "auto")
    if not paths:
        yield good("router", "the packaged one")
    for path, name in paths.items():
        try:
            artefact = read_artefact(path, public_keys=settings.router.public_keys or None)
        except (GatewayError, OSError) as error:
            text = error.message if isinstance(error, GatewayError) else str(error)
            yield problem("router", f"{name}: {path}: {text}",
                          "until then the packaged router serves it; see `routewright inspect FILE`")  # fmt: skip
        else:
            yield good("router", f"{name}: {path.name}, {type(artefact.router).__name__}")
