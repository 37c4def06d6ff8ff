"""Making and judging routers: fit, add-model, evaluate, compare, replay."""

from __future__ import annotations

import argparse
from pathlib import Path

from routewright.cli.options import Commands, add_data, add_data_dir, add_set, add_supplies, command, in_range, supplies


def add(commands: Commands) -> None:
    _add_fit(commands)
    _add_add_model(commands)
    _add_evaluate(commands)
    _add_compare(commands)
    _add_replay(commands)


def _add_fit(commands: Commands) -> None:
    parser = command(commands, "fit", "Learn a router from recorded scores, and write it as one file.")
    add_data(parser)
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
        supplies(options), options.ray,
    )  # fmt: skip


def _add_add_model(commands: Commands) -> None:
    about = "Take a new model into a router file of kind mf, from some hundred prompts that it was scored on."
    parser = command(commands, "add-model", about)
    parser.add_argument("file", type=Path, help="a router file")
    parser.add_argument("--model", required=True, metavar="NAME", help="the new model, a column of the set")
    add_set(parser)
    add_supplies(parser)
    parser.add_argument("--out", type=Path, required=True, help="the router file to write")
    parser.set_defaults(run=_add_model)


def _add_model(options: argparse.Namespace) -> int:
    from routewright.learning.newcomer import add_model_command

    return add_model_command(
        options.file, options.data, options.set, options.model, options.out, supplies(options)
    )  # fmt: skip


def _add_evaluate(commands: Commands) -> None:
    parser = command(commands, "evaluate", "Fit on train, tune on valid, report on test, beside every baseline.")
    add_data(parser)
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
        supplies(options),
        html_out=options.html,
        plots_folder=options.plots,
        with_prompts=not options.no_prompts,
    )


def _add_compare(commands: Commands) -> None:
    parser = command(commands, "compare", "Tell which of two routers is better on the same test prompts, if any.")
    parser.add_argument("a", metavar="A", help="a router file, a router's name, or NAME@FEATURES")
    parser.add_argument("b", metavar="B", help="likewise")
    add_data(parser)
    parser.add_argument("--leave-out", default="", metavar="MODEL[,MODEL]", help="models to leave out")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.set_defaults(run=_compare)


def _compare(options: argparse.Namespace) -> int:
    from routewright.learning.compare import compare_command

    leave_out = [name for name in options.leave_out.split(",") if name]
    return compare_command(
        options.data, options.set, options.a, options.b, options.features, options.json, options.seed, leave_out,
        supplies(options),
    )  # fmt: skip


def _add_replay(commands: Commands) -> None:
    parser = command(commands, "replay", "Judge routers by what callers said of another one's choices.")
    add_data_dir(parser)
    parser.add_argument("--logged", type=Path, required=True, metavar="FILE", help="the router that chose: a bandit")
    parser.add_argument("--router", type=Path, required=True, nargs="+", metavar="FILE", help="routers to judge")
    parser.add_argument(
        "--cost-weight", type=in_range(0, 1e9, float), default=0.0, help="score given up per US dollar saved"
    )
    parser.add_argument("--seed", type=in_range(0, 2**31), default=0)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=_replay)


def _replay(options: argparse.Namespace) -> int:
    from routewright.learning.replay import replay_command

    folder = options.data_dir / "online"
    return replay_command(
        folder, options.logged, options.router, options.cost_weight, options.seed, as_json=options.json
    )
