"""An evaluation as one self-contained HTML page: no script, no file beside it, light and dark, for any width.

Every text that comes from data, prompts above all, is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any, Final

from routewright.learning.svg import calibration, cost_quality, router_numbers, series_class, usd, window
from routewright.learning.trial import Example

_SHOWN_CHARACTERS: Final = 280
_SHOWN_MODELS: Final = 12
_COLUMNS: Final = (
    ("quality", "quality", "mean score when cost is nothing", 3),
    ("gain", "against best", "quality minus the best single model's, on the same prompts", 3),
    ("oracle_gap_closed", "gap closed", "share of what the oracle gains over the best single model", 2),
    ("aiq", "AIQ", "mean quality of the curve between the cheapest and the dearest model's cost", 3),
    ("aiq_gain", "AIQ gain", "AIQ minus that of the cheapest mix of single models", 3),
    ("cost_at_best_quality", "cost at best", "cost of reaching the best single model's quality; 1: its own cost", 2),
    ("cost_at_best_quality_valid", "set on valid", "the same with the setting chosen on validation, read on test", 2),
    ("score_at_best_quality_valid", "its score", "the score that this setting reached on test", 3),
    ("cost_at_95", "cost at 95 %", "cost of reaching 95 % of the best single model's quality", 2),
    ("cost_at_95_valid", "set on valid", "the same with the setting chosen on validation, read on test", 2),
    ("score_at_95_valid", "its score", "the score that this setting reached on test", 3),
    ("ece", "ECE", "expected calibration error of the chosen model's score, 15 bins", 3),
    ("brier", "Brier", "mean squared distance of the calibrated score from what came", 3),
    ("decision_us_p50", "µs", "from prompt to choice, median, one thread", 0),
)  # fmt: skip
_STRONG_WEAK: Final = (
    ("apgr", "APGR", "mean recovered gap over all shares of strong calls; random: 0.5", 3),
    ("cpt50", "CPT50", "share of strong calls that recovers half of the gap", 2),
    ("cpt80", "CPT80", "share of strong calls that recovers 80 % of the gap", 2),
)
_ABOUT: Final = {
    "best": "the best single model on train; swept over cost it becomes the cheaper single models",
    "cheapest": "the cheapest single model",
    "random": "any model with equal chance",
    "zero": "the cheapest mix of single models, read on test: what can be had without looking at a prompt",
    "task-mean": "is told each prompt's task, which a caller seldom says",
    "oracle": "knows the recorded scores: the bound",
}


def evaluation_page(report: Mapping[str, Any], examples: Sequence[Example] = ()) -> str:
    """The page of a report; examples: prompts to show, truncated."""
    style = files("routewright.learning").joinpath("page.css").read_text(encoding="utf-8")
    title = f"Routers on {report['set']}"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main>",
        f"<h1>{escape(title)}</h1>",
        _opening(report),
        _curves(report),
        _figures(report),
        _calibration(report),
        _tasks(report),
        _choices(report),
        _examples(examples),
        _method(report),
        "</main></body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


# --- parts --------------------------------------------------------------------------------------------------------


def _opening(report: Mapping[str, Any]) -> str:
    rows = report["rows"]
    best = _best(report)
    out = [
        f"<p>{report['models']} models, {rows['train']:,} prompts to learn from, {rows['valid']:,} to set by, "
        f"{rows['test']:,} to be judged on; features {escape(report['features'])}. The best single model on train, "
        f"<b>{escape(best['model'])}</b>, scores {best['quality']:.3f} on test"
        + (f" at {usd(best['cost_usd'] * 1000)} per 1,000 requests" if best["cost_usd"] else "")
        + ".</p>",
        '<ul class="said">',
    ]
    numbers = router_numbers(report)
    for row in report["results"]:
        if row["kind"] == "router":
            key = f'<i class="key {series_class(numbers[row["router"]])}"></i>'
            out.append(f"<li>{key}{_said(row, best['quality'])}</li>")
    out.append("</ul>")
    return "".join(out)


def _said(row: Mapping[str, Any], best_quality: float) -> str:
    """One router's result in a sentence."""
    low, high = row["gain_low"], row["gain_high"]
    name = f"<b>{escape(row['router'])}</b>"
    if low > 0:
        text = f"{name} scores above the best single model by {row['gain']:.3f} ({low:.3f} to {high:.3f})"
    elif high < 0:
        text = f"{name} scores below the best single model by {-row['gain']:.3f} ({-high:.3f} to {-low:.3f})"
    else:
        text = f"{name} is not told apart from the best single model by score ({_signed(low, 3)} to {_signed(high, 3)})"
    valid = row.get("cost_at_best_quality_valid")
    if valid is not None:
        text += (
            f"; set on validation to match that model, it takes {_percent(valid)} of its cost and scores "
            f"{row['score_at_best_quality_valid']:.3f} against {best_quality:.3f}"
        )
    cost = row.get("cost_at_95")
    if cost is not None:
        text += f"; 95\u00a0% of that quality costs {_percent(cost)}"
    return text + "."


def _curves(report: Mapping[str, Any]) -> str:
    wide = cost_quality(report, width=860, height=460)
    if not wide:
        return "<h2>Cost against quality</h2><p>No cost is known in this set, so there is no curve to draw.</p>"
    bottom, top = window(report)
    hidden = sum(not bottom <= single["quality"] <= top for single in report["singles"])
    oracle = next((row["quality"] for row in report["results"] if row["router"] == "oracle"), None)
    notes = [
        "Up and left is better. A line is the best that mixing a router's settings can reach; circles are its "
        "dial at 0, 0.25, 0.5, 0.75 and 1; grey points are single models."
    ]
    if hidden:
        notes.append(f"{hidden} of {len(report['singles'])} single models score below the plot.")
    if oracle is not None and oracle > top:
        notes.append(f"The oracle, {oracle:.3f}, lies above the plot.")
    keys = [
        f'<li><i class="key {series_class(number)}"></i>{escape(name)}</li>'
        for name, number in router_numbers(report).items()
    ]
    keys.append('<li><i class="key zero"></i>cheapest mix of single models</li>')
    if "task-mean" in report["details"]:
        keys.append('<li><i class="key task"></i>task-mean</li>')
    keys.append('<li><i class="key best"></i>best single model’s quality</li>')
    return (
        f'<h2>Cost against quality</h2><figure><div class="wide">{wide}</div>'
        f'<div class="narrow">{cost_quality(report, width=380, height=360)}</div>'
        f'<ul class="keys">{"".join(keys)}</ul><figcaption>{" ".join(notes)}</figcaption></figure>'
    )


def _figures(report: Mapping[str, Any]) -> str:
    columns: tuple[tuple[str, str, str, int], ...] = _COLUMNS
    if any("apgr" in row for row in report["results"]):
        columns = (*_STRONG_WEAK, *_COLUMNS)
    head = "".join(f'<th scope="col" title="{escape(about)}">{escape(title)}</th>' for _, title, about, _ in columns)
    body = []
    for row in report["results"]:
        about = _ABOUT.get(row["router"], "") if row["kind"] != "router" else ""
        cells = "".join(_cell(row, key, digits) for key, _, _, digits in columns)
        body.append(
            f'<tr class="{row["kind"]}"><th scope="row" title="{escape(about)}">{escape(row["router"])}</th>'
            f"{cells}</tr>"
        )
    singles = "".join(
        f'<tr><th scope="row">{escape(each["model"])}</th><td>{each["quality"]:.3f}'
        f"<small>{each['quality_low']:.3f}–{each['quality_high']:.3f}</small></td>"
        f"<td>{usd(each['cost_usd'] * 1000)}</td>"
        f"<td>{_share(each['cost_share'])}</td></tr>"
        for each in sorted(report["singles"], key=lambda each: -each["quality"])
    )
    about = "".join(
        f"<dt>{escape(title)}</dt><dd>{escape(text)}</dd>"
        for _, title, text, _ in columns
        if title not in ("set on valid", "its score")
    )
    return (
        '<h2>Figures</h2><div class="scroll" tabindex="0"><table><thead><tr><th scope="col">router</th>'
        f"{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
        "<p>Small figures: 95 % of 1,000 resamples of the test prompts, the same ones for every figure. "
        "Costs are shares of the best single model’s; a curve read on test is optimistic, the setting chosen on "
        "validation is what one would get. – : not reached.</p>"
        f"<details><summary>What the columns mean</summary><dl>{about}</dl></details>"
        '<details><summary>Single models</summary><div class="scroll" tabindex="0"><table><thead><tr>'
        '<th scope="col">model</th><th scope="col">quality</th><th scope="col">per 1,000 requests</th>'
        f'<th scope="col">share of best’s cost</th></tr></thead><tbody>{singles}</tbody></table></div></details>'
    )


def _percent(value: float) -> str:
    return f"{100 * value:.0f}\u00a0%"


def _share(value: float | None) -> str:
    return "" if value is None else _percent(value)


def _cell(row: Mapping[str, Any], key: str, digits: int) -> str:
    value = row.get(key)
    if value is None:
        return f"<td>{'–' if key in row else ''}</td>"
    text = _signed if key in ("gain", "aiq_gain") else _plain
    low, high = row.get(f"{key}_low"), row.get(f"{key}_high")
    small = ""
    if low is not None:
        between = " … " if text is _signed or low < 0 or high is None else "–"
        small = f"<small>{text(low, digits)}{between}{'–' if high is None else text(high, digits)}</small>"
    style = ""
    if key == "gain" and row["kind"] == "router" and low is not None and high is not None and (low > 0 or high < 0):
        style = ' class="sure"'
    return f"<td{style}>{text(value, digits)}{small}</td>"


def _signed(value: float, digits: int) -> str:
    """With its sign, but no sign before a zero."""
    text = f"{value:+.{digits}f}"
    return text[1:] if not float(text) else text


def _plain(value: float, digits: int) -> str:
    return f"{value:.{digits}f}"


def _calibration(report: Mapping[str, Any]) -> str:
    if not any(report["details"][name].get("calibration") for name in router_numbers(report)):
        return ""
    return (
        '<h2>Calibration</h2><figure><div class="wide half">'
        f'{calibration(report, width=520, height=420)}</div><div class="narrow">'
        f"{calibration(report, width=380, height=360)}</div><figcaption>Of the model that a router chose when cost is "
        "nothing: the chance it was given, and how often it was right. On the dashed line the two agree; a larger "
        "point stands for more prompts.</figcaption></figure>"
    )


def _tasks(report: Mapping[str, Any]) -> str:
    names = [name for name in router_numbers(report) if report["details"][name].get("tasks")]
    if not names or len(report["details"][names[0]]["tasks"]) < 2:
        return ""
    by_task = {name: {each["task"]: each for each in report["details"][name]["tasks"]} for name in names}
    first = sorted(by_task[names[0]].values(), key=lambda each: (-each["n"], each["task"]))
    head = "".join(f'<th scope="col" colspan="2">{escape(name)}</th>' for name in names)
    sub = '<th scope="col">score</th><th scope="col">cost</th>' * len(names)
    body = []
    for each in first:
        cells = []
        for name in names:
            mine = by_task[name][each["task"]]
            style = ""
            if mine["low"] > 0:
                style = ' class="good"'
            elif mine["high"] < 0:
                style = ' class="bad"'
            share = "" if mine["cost_share"] is None else f"{mine['cost_share']:.0%}"
            cells.append(
                f"<td{style}>{mine['score']:.3f}<small>{_signed(mine['difference'], 3)}</small></td><td>{share}</td>"
            )
        body.append(
            f'<tr><th scope="row">{escape(each["task"] or "(none)")}</th><td>{each["n"]}</td>'
            f"<td>{each['best_single']:.3f}</td>{''.join(cells)}</tr>"
        )
    return (
        '<h2>By task</h2><div class="scroll tall" tabindex="0"><table><thead><tr><th scope="col" rowspan="2">task</th>'
        f'<th scope="col" rowspan="2">prompts</th><th scope="col" rowspan="2">best single</th>{head}</tr>'
        f"<tr>{sub}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
        "<p>At each router’s setting: the one that validation chose to match the best single model’s quality at least "
        "cost (weight 0 where none did). Small: the difference to the best single model; coloured where its 95 % "
        "interval leaves out zero. With many tasks one in twenty is coloured by chance.</p>"
    )


def _choices(report: Mapping[str, Any]) -> str:
    out = []
    models = [single["model"] for single in report["singles"]]
    for number, name in enumerate(router_numbers(report)):
        table = report["details"][name].get("choices")
        if not table:
            continue
        used = [sum(row) + sum(other[i] for other in table) for i, row in enumerate(table)]
        shown = sorted(sorted(range(len(models)), key=lambda i: (-used[i], i))[:_SHOWN_MODELS])
        rest = [i for i in range(len(models)) if i not in shown]
        columns = [[i] for i in shown] + ([rest] if rest else []) + [[len(models)]]
        titles = [models[i] for i in shown] + (["others"] if rest else []) + ["none right"]
        most = max(max(row) for row in table) or 1
        body = []
        for group, title in zip([[i] for i in shown] + ([rest] if rest else []), titles, strict=False):
            counts = [sum(table[i][k] for i in group for k in column) for column in columns]
            if not sum(counts):
                continue
            cells = "".join(_count(count, most, column == group) for count, column in zip(counts, columns, strict=True))
            body.append(f'<tr><th scope="row">{escape(title)}</th><td class="sum">{sum(counts)}</td>{cells}</tr>')
        head = "".join(f'<th scope="col"><span>{escape(title)}</span></th>' for title in titles)
        out.append(
            f"<details{' open' if number == 0 else ''}><summary>{escape(name)}</summary>"
            '<div class="scroll" tabindex="0"><table class="counts"><thead><tr><th scope="col">chosen</th>'
            f'<th scope="col"><span>all</span></th>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
            "</details>"
        )
    if not out:
        return ""
    return (
        "<h2>Choices</h2><p>Rows: the model chosen at the router’s setting; columns: the cheapest model that was "
        "right (score of at least 0.5). Framed cells are the oracle’s choice.</p>" + "".join(out)
    )


def _count(count: int, most: int, is_right: bool) -> str:
    shade = 0 if not count else min(9, 1 + int(9 * (count / most) ** 0.5))
    style = f"h{shade}" + (" right" if is_right else "")
    return f'<td class="{style}">{count or ""}</td>'


def _examples(examples: Sequence[Example]) -> str:
    if not examples:
        return ""
    words = {
        "gained": "right where the best single model was wrong",
        "saved": "right as the best single model, for less",
        "lost": "wrong where the best single model was right",
    }
    out = ["<h2>Examples</h2>"]
    for router in dict.fromkeys(example.router for example in examples):
        out.append(f"<h3>{escape(router)}</h3>")
        for kind, about in words.items():
            chosen = [example for example in examples if example.router == router and example.kind == kind]
            if not chosen:
                continue
            out.append(f"<details><summary>{escape(about)}</summary>")
            for example in chosen:
                text = " ".join(example.text.split())
                if len(text) > _SHOWN_CHARACTERS:
                    text = text[:_SHOWN_CHARACTERS] + " …"
                out.append(
                    f'<blockquote><p dir="auto">{escape(text)}</p><footer>{escape(example.task or "no task")}: '
                    f"<b>{escape(example.chosen)}</b>, expected {example.chance:.2f}, scored {example.score:g}; best "
                    f"single model {example.best_score:g}; {usd(example.cost_usd * 1000)} against "
                    f"{usd(example.best_cost_usd * 1000)} per 1,000 such requests</footer></blockquote>"
                )
            out.append("</details>")
    return "".join(out)


def _method(report: Mapping[str, Any]) -> str:
    return (
        "<h2>How it was measured</h2><p>Fitted on the train split; calibration and settings chosen on validation; "
        "every figure read on the test split. A score that was not recorded counts as its model’s mean on train. "
        "The oracle and the cheapest mix read the test split and are bounds, not routers. "
        f"Seed {report['seed']}; data SHA-256 <code>{escape(report['sha256'])}</code>.</p>"
    )


def _best(report: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(each for each in report["singles"] if each["model"] == report["best_single"])
    return found
