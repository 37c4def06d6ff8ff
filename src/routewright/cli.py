"""The command line: serve, check-config, demo, fit, add-model, evaluate, inspect, sign, verify, route, usage.

Written with argparse: `serve` is the process that stays, and a richer library costs it 7 MB for as long as it runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

# Routing multiplies small arrays on the loop's own thread; a pool of BLAS threads would cost memory and save nothing.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from routewright import __version__

if TYPE_CHECKING:
    from routewright.routing.features.contract import Supplies

log = logging.getLogger("routewright")
MAX_WORKERS = 256


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="routewright",
        description="An OpenAI-compatible gateway that learns which model to send each request to.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"routewright {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_serve(commands)
    _add_check_config(commands)
    _add_demo(commands)
    _add_route(commands)
    _add_usage(commands)
    _add_export(commands)
    _add_fit(commands)
    _add_add_model(commands)
    _add_evaluate(commands)
    _add_compare(commands)
    _add_replay(commands)
    _add_inspect(commands)
    _add_sign(commands)
    _add_verify(commands)
    _add_import_llmrouter(commands)
    _add_keys(commands)
    _add_import_litellm(commands)
    _add_export_llmrouter(commands)
    return parser


class Commands(Protocol):
    """What `add_subparsers` gives; argparse has no public name for it."""

    def add_parser(self, name: str, **settings: Any) -> argparse.ArgumentParser: ...


def _command(commands: Commands, name: str, about: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=about,
        description=about,
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )


def _in_range(low: float, high: float, kind: Callable[[str], float] = int) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must lie in {low:g}..{high:g}")
        return value

    read.__name__ = "number"
    return read


# --- serve --------------------------------------------------------------------------------------------------------


def _add_serve(commands: Commands) -> None:
    parser = _command(commands, "serve", "Serve the gateway until SIGTERM.")
    _add_config(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for every interface")
    parser.add_argument("--port", type=_in_range(0, 65535), default=4000, help="0 takes a free one")
    parser.add_argument("--workers", "--num_workers", type=_in_range(1, MAX_WORKERS), default=1, help="processes")
    _add_data_dir(parser)
    parser.add_argument(
        "--drain-seconds", type=_in_range(0, 86_400, float), default=30.0,
        help="time that running requests get on SIGTERM",
    )  # fmt: skip
    parser.add_argument("--tls-cert", type=Path, help="PEM file; with --tls-key the port speaks TLS")
    parser.add_argument("--tls-key", type=Path, help="PEM file")
    _add_lenient(parser)
    parser.add_argument("--debug", "--detailed_debug", action="store_true", help="log more")
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    from routewright.app import serve
    from routewright.config import ConfigError, load_settings
    from routewright.config.environment import with_environment
    from routewright.settings import ServerSettings, Settings

    level = logging.DEBUG if options.debug else logging.INFO
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S"
    )
    if (options.tls_cert is None) != (options.tls_key is None):
        _fail("--tls-cert and --tls-key go together")
    if options.config is None:
        _fail("no configuration: give --config FILE (or set CONFIG_FILE_PATH); `routewright demo` runs without one")
    server = ServerSettings(
        host=options.host,
        port=options.port,
        workers=options.workers,
        data_dir=options.data_dir,
        drain_s=options.drain_seconds,
        tls_cert=options.tls_cert,
        tls_key=options.tls_key,
    )

    def load() -> Settings:
        settings = load_settings(options.config, environ=os.environ, lenient=options.lenient_config, server=server)
        return with_environment(settings, os.environ)

    try:
        settings = load()
    except (ConfigError, ValueError) as error:
        _fail(str(error))
    for warning in settings.warnings:
        log.warning(warning)
    try:
        return serve(settings, load)
    except OSError as error:
        _fail(
            f"can't serve on {options.host}:{options.port} with data in {options.data_dir}: {error.strerror or error}"
        )


# --- for people who run it ------------------------------------------------------------------------------------------


def _add_check_config(commands: Commands) -> None:
    about = "Check a configuration without serving it: every fault with file, line and field."
    parser = _command(commands, "check-config", about)
    parser.add_argument("file", type=Path, help="the config.yaml to check")
    _add_data_dir(parser)
    _add_lenient(parser)
    parser.set_defaults(run=_check_config)


def _check_config(options: argparse.Namespace) -> int:
    from routewright.config.check import check_config
    from routewright.explain import placement_lines

    return check_config(
        options.file,
        lenient=options.lenient_config,
        more=lambda settings: placement_lines(settings, options.data_dir),
    )


def _add_demo(commands: Commands) -> None:
    about = "Start the gateway with stand-in models, send sample prompts to `auto`, and stay up for yours."
    parser = _command(commands, "demo", about)
    parser.add_argument("--port", type=_in_range(0, 65535), default=4000, help="0 takes a free one")
    parser.add_argument("--data-dir", type=Path, help="by default a folder that is deleted at the end")
    parser.add_argument("--once", action="store_true", help="end after the sample prompts instead of staying up")
    parser.add_argument("--real", action="store_true", help="use the models of the providers whose keys are set")
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    from routewright.demo.run import run_demo

    return run_demo(port=options.port, data_dir=options.data_dir, once=options.once, real=options.real)


def _add_route(commands: Commands) -> None:
    parser = _command(commands, "route", "Show where a prompt would go and why, without sending it.")
    parser.add_argument("query", help="a prompt")
    _add_config(parser)
    parser.add_argument("--route", default="auto", help="the route to ask")
    parser.add_argument("--quality", type=_in_range(0, 1, float), help="the dial, 0 cheapest to 1 best")
    _add_data_dir(parser)
    parser.set_defaults(run=_route)


def _route(options: argparse.Namespace) -> int:
    from routewright.explain import print_decision

    return print_decision(options.query, options.config, options.route, options.quality, options.data_dir)


def _add_usage(commands: Commands) -> None:
    parser = _command(commands, "usage", "Totals by key and model, from the ledger.")
    _add_data_dir(parser)
    _add_config(parser)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=_usage)


def _usage(options: argparse.Namespace) -> int:
    from routewright.accounts.usage import print_usage

    url = _database_url(options)
    return print_usage(options.data_dir, os.environ, database_url=url, as_json=options.json)


KEY_ACTIONS = ("generate", "update", "delete", "regenerate", "block", "unblock", "info", "list", "aliases")


def _add_keys(commands: Commands) -> None:
    parser = _command(commands, "keys", "Virtual keys in the store, whether a gateway runs on it or not.")
    parser.add_argument("action", choices=KEY_ACTIONS, help="as the calls of /key/...")
    parser.add_argument(
        "words", nargs="*", metavar="KEY|FIELD=VALUE",
        help="keys or hashes; fields as /key/generate has them, such as key_alias=ci models=auto,gpt-4o max_budget=5",
    )  # fmt: skip
    _add_data_dir(parser)
    _add_config(parser)
    parser.set_defaults(run=_keys)


def _keys(options: argparse.Namespace) -> int:
    from routewright.management.commands import keys_command

    return keys_command(options.action, options.words, options.data_dir, _database_url(options))


def _add_import_litellm(commands: Commands) -> None:
    parser = _command(commands, "import-litellm", "Take keys, teams, users and budgets out of a LiteLLM database.")
    parser.add_argument("source", metavar="DATABASE_URL", help="LiteLLM's Postgres; it is only read")
    _add_data_dir(parser)
    _add_config(parser)
    parser.set_defaults(run=_import_litellm)


def _import_litellm(options: argparse.Namespace) -> int:
    from routewright.management.litellm import import_command

    return import_command(options.source, options.data_dir, _database_url(options))


def _add_export(commands: Commands) -> None:
    parser = _command(commands, "export", "Every call of the ledger, as CSV or Parquet.")
    _add_data_dir(parser)
    _add_config(parser)
    parser.add_argument("--out", type=Path, required=True, help="ends with .csv or .parquet")
    parser.add_argument("--from", type=_day, dest="from_ms", default=0, help="first day, 2026-01-31, UTC")
    parser.add_argument("--to", type=_day, dest="to_ms", help="the day after the last one")
    parser.set_defaults(run=_export)


def _day(text: str) -> int:
    """Its first millisecond since 1970."""
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("expected a day such as 2026-01-31") from None
    return int(datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC).timestamp()) * 1000


def _export(options: argparse.Namespace) -> int:
    from routewright.accounts.export import export

    url = _database_url(options)
    return export(
        options.data_dir, os.environ, options.out, from_ms=options.from_ms, to_ms=options.to_ms, database_url=url
    )


def _database_url(options: argparse.Namespace) -> str | None:
    """The configuration's database, where one is named."""
    from routewright.config import ConfigError, load_settings

    if options.config is None:
        return None
    try:
        settings = load_settings(options.config, environ=os.environ)
    except ConfigError as error:
        _fail(str(error))
    return None if settings.database_url is None else settings.database_url.reveal()


# --- for people who fit routers -------------------------------------------------------------------------------------


def _add_fit(commands: Commands) -> None:
    parser = _command(commands, "fit", "Learn a router from recorded scores, and write it as one file.")
    _add_data(parser)
    parser.add_argument("--out", type=Path, required=True, help="the router file to write")
    parser.add_argument("--router", default="ensemble", help="ensemble, knn, mlp, ...")
    parser.add_argument("--force", action="store_true", help="write it as good even if no better than the best model")
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="learn on a Ray cluster; `local` starts one here (extra [scale])"
    )
    parser.set_defaults(run=_fit)


def _fit(options: argparse.Namespace) -> int:
    from routewright.learning.fit import fit_command

    return fit_command(
        options.data, options.set, options.router, options.features, options.out, options.seed, options.force,
        _supplies(options), options.ray,
    )  # fmt: skip


def _add_add_model(commands: Commands) -> None:
    about = "Take a new model into a router file of kind mf, from some hundred prompts that it was scored on."
    parser = _command(commands, "add-model", about)
    parser.add_argument("file", type=Path, help="a router file")
    parser.add_argument("--model", required=True, metavar="NAME", help="the new model, a column of the set")
    _add_set(parser)
    _add_supplies(parser)
    parser.add_argument("--out", type=Path, required=True, help="the router file to write")
    parser.set_defaults(run=_add_model)


def _add_model(options: argparse.Namespace) -> int:
    from routewright.learning.newcomer import add_model_command

    return add_model_command(
        options.file, options.data, options.set, options.model, options.out, _supplies(options)
    )  # fmt: skip


def _add_evaluate(commands: Commands) -> None:
    parser = _command(commands, "evaluate", "Fit on train, tune on valid, report on test, beside every baseline.")
    _add_data(parser)
    parser.add_argument("--router", default="ensemble,knn", help="names or router files, with commas between")
    parser.add_argument("--leave-out", default="", metavar="MODEL[,MODEL]", help="models to leave out")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--html", type=Path, help="write a page with plots, tables and example prompts here")
    parser.add_argument("--no-prompts", action="store_true", help="leave the example prompts out of the page")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write PNG plots there; needs the extra `train`")
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    from routewright.learning.evaluate import evaluate_command

    routers = [name for name in options.router.split(",") if name]
    leave_out = [name for name in options.leave_out.split(",") if name]
    return evaluate_command(
        options.data,
        options.set,
        routers,
        options.features,
        options.json,
        options.seed,
        leave_out,
        _supplies(options),
        html_out=options.html,
        plots_folder=options.plots,
        with_prompts=not options.no_prompts,
    )


def _add_compare(commands: Commands) -> None:
    parser = _command(commands, "compare", "Tell which of two routers is better on the same test prompts, if any.")
    parser.add_argument("a", metavar="A", help="a router file, a router's name, or NAME@FEATURES")
    parser.add_argument("b", metavar="B", help="likewise")
    _add_data(parser)
    parser.add_argument("--leave-out", default="", metavar="MODEL[,MODEL]", help="models to leave out")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.set_defaults(run=_compare)


def _compare(options: argparse.Namespace) -> int:
    from routewright.learning.compare import compare_command

    leave_out = [name for name in options.leave_out.split(",") if name]
    return compare_command(
        options.data, options.set, options.a, options.b, options.features, options.json, options.seed, leave_out,
        _supplies(options),
    )  # fmt: skip


def _add_replay(commands: Commands) -> None:
    parser = _command(commands, "replay", "Judge routers by what callers said of another one's choices.")
    _add_data_dir(parser)
    parser.add_argument("--logged", type=Path, required=True, metavar="FILE", help="the router that chose: a bandit")
    parser.add_argument("--router", type=Path, required=True, nargs="+", metavar="FILE", help="routers to judge")
    parser.add_argument(
        "--cost-weight", type=_in_range(0, 1e9, float), default=0.0, help="score given up per US dollar saved"
    )
    parser.add_argument("--seed", type=_in_range(0, 2**31), default=0)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=_replay)


def _replay(options: argparse.Namespace) -> int:
    from routewright.learning.replay import replay_command

    folder = options.data_dir / "online"
    return replay_command(
        folder, options.logged, options.router, options.cost_weight, options.seed, as_json=options.json
    )


def _add_inspect(commands: Commands) -> None:
    parser = _command(commands, "inspect", "Show what a router file holds, whether it would load, and who signed it.")
    parser.add_argument("file", type=Path, help="a router file")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    from routewright.learning.inspection import inspect_command

    return inspect_command(options.file, as_json=options.json)


def _add_sign(commands: Commands) -> None:
    parser = _command(commands, "sign", "Sign a router file with an Ed25519 key, or make such a key.")
    parser.add_argument("file", type=Path, nargs="?", help="a router file")
    parser.add_argument("--key", type=Path, help="the private key, a PEM file")
    parser.add_argument("--out", type=Path, help="write the signed file here instead of in place")
    parser.add_argument("--new-key", type=Path, metavar="PATH", help="make a key pair: PATH, and PATH.pub to hand out")
    parser.set_defaults(run=_sign)


def _sign(options: argparse.Namespace) -> int:
    from routewright.learning.signing import sign_command

    return sign_command(options.file, options.key, options.new_key, options.out)


def _add_verify(commands: Commands) -> None:
    parser = _command(commands, "verify", "Check that a router file is sound and signed by a key you know.")
    parser.add_argument("file", type=Path, help="a router file")
    parser.add_argument("--key", required=True, action="append", help="a public key: PEM file or base64; may repeat")
    parser.set_defaults(run=_verify)


def _verify(options: argparse.Namespace) -> int:
    from routewright.learning.signing import verify_command

    return verify_command(options.file, options.key)


def _add_import_llmrouter(commands: Commands) -> None:
    parser = _command(commands, "import-llmrouter", "Make a set of LLMRouter's data, to fit a router on.")
    parser.add_argument("config", type=Path, nargs="?", help="a configuration of LLMRouter, YAML")
    parser.add_argument("--llm-data", type=Path, help="candidates, JSON; in place of the configuration's")
    parser.add_argument("--routing-train", type=Path, help="routing records, JSON lines; likewise")
    parser.add_argument("--routing-test", type=Path, help="routing records, JSON lines; likewise")
    parser.add_argument("--root", type=Path, help="folder that the configuration's paths start from")
    parser.add_argument("--out", type=Path, required=True, help="the folder of sets to write to")
    parser.add_argument("--set", required=True, metavar="NAME", help="what the set is to be called")
    parser.set_defaults(run=_import_llmrouter)


def _import_llmrouter(options: argparse.Namespace) -> int:
    from routewright.learning.llmrouter_commands import import_command

    return import_command(
        options.config, options.llm_data, options.routing_train, options.routing_test, options.root, options.out,
        options.set,
    )  # fmt: skip


def _add_export_llmrouter(commands: Commands) -> None:
    parser = _command(commands, "export-llmrouter", "Write a set as LLMRouter's files.")
    parser.add_argument("--data", type=Path, required=True, help="a folder in the layout of CONTRIBUTING.md")
    parser.add_argument("--set", required=True, metavar="NAME", help="the set's name in that folder")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to")
    parser.set_defaults(run=_export_llmrouter)


def _export_llmrouter(options: argparse.Namespace) -> int:
    from routewright.learning.llmrouter_commands import export_command

    return export_command(options.data, options.set, options.out)


# --- options that several commands share ----------------------------------------------------------------------------


def _add_config(parser: argparse.ArgumentParser) -> None:
    named = os.environ.get("CONFIG_FILE_PATH")
    parser.add_argument(
        "--config", "-c", type=Path, default=Path(named) if named else None,
        help="a LiteLLM config.yaml, with our sections",
    )  # fmt: skip


def _add_data_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-dir", type=Path, default=Path(".data"), help="journal and fitted routers")


def _add_lenient(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lenient-config", action="store_true", help="warn of unknown keys instead of stopping")


def _add_data(parser: argparse.ArgumentParser) -> None:
    _add_set(parser)
    parser.add_argument(
        "--features", default="hashed",
        help="how prompts become vectors: hashed, wordllama, minilm, remote, or several joined by +",
    )  # fmt: skip
    _add_supplies(parser)
    parser.add_argument("--seed", type=int, default=0, help="of everything left to chance")


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="a folder in the layout of CONTRIBUTING.md")
    parser.add_argument("--set", required=True, metavar="NAME", help="the set's name in that folder")


def _add_supplies(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, help='where the section "embeddings" stands, for remote')
    parser.add_argument(
        "--base-model", type=Path, metavar="DIR", help="the encoder that routerdc and causallm begin with"
    )
    parser.add_argument(
        "--encodings", type=Path, metavar="DIR", help="keep here what an encoder made of the prompts, for the next time"
    )


def _supplies(options: argparse.Namespace) -> Supplies:
    from routewright.config import ConfigError, load_settings
    from routewright.routing.features.contract import Supplies

    supplies = Supplies(encodings=options.encodings, base_model=options.base_model)
    if options.config is None:
        return supplies
    try:
        settings = load_settings(options.config, environ=os.environ)
    except (ConfigError, ValueError) as error:
        _fail(str(error))
    return dataclasses.replace(supplies, embeddings=settings.router.embeddings)


def _fail(message: str) -> NoReturn:
    print(f"routewright: {message}", file=sys.stderr)
    raise SystemExit(2)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The `routewright` command; ends the process with its status."""
    options = _parser().parse_args(arguments)
    raise SystemExit(options.run(options))
