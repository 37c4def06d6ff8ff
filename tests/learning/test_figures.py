from __future__ import annotations

import json

import pytest
from made_up_sets import write_set

from routewright.learning import figures
from routewright.learning.figures import Aim, figures_page, main


@pytest.fixture
def folder(tmp_path):
    write_set(tmp_path, "one", 200)
    write_set(tmp_path, "two", 200, models=("grand", "petit"))
    return tmp_path


def run(folder, routers: str, **more) -> tuple[int, str]:
    out = folder / "figures.md"
    extra = [text for key, value in more.items() for text in (f"--{key}", value) if text is not True]
    status = main(
        ["--data", str(folder), "--out", str(out), "--cache", str(folder / "cells"), "--routers", routers, *extra]
    )
    return status, out.read_text() if out.exists() else ""


def test_the_page_has_every_router_on_every_set_beside_its_baselines(folder):
    status, page = run(folder, "cluster,hybrid")
    assert status == 0
    for word in (
        "## one",
        "## two",
        "| `cluster` | hashed |",
        "| oracle |",
        "| task-mean |",
        "APGR",
        "| `one` | ece |",
    ):
        assert word in page
    rows = [line for line in page.splitlines() if line.startswith("| `cluster`")]
    assert len(rows) == 2
    for line in page.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")
    two = page[page.index("## two") :].splitlines()
    widths = {line.count("|") for line in two if line.startswith("|")}
    assert len(widths) == 1


def test_a_cell_is_measured_once_and_again_when_its_data_changed(folder, capsys):
    run(folder, "cluster")
    first = capsys.readouterr().err
    assert first.count("measured") == 4
    run(folder, "cluster,linear")
    assert capsys.readouterr().err.splitlines() == ["one, hashed, linear: measured", "two, hashed, linear: measured"]
    write_set(folder, "one", 210)
    run(folder, "cluster")
    assert capsys.readouterr().err.splitlines() == [
        "one, no features, baselines: measured",
        "one, hashed, cluster: measured",
    ]
    run(folder, "cluster", fresh=True)
    assert capsys.readouterr().err.count("measured") == 4


def test_a_damaged_cell_is_measured_again(folder, capsys):
    run(folder, "cluster")
    (folder / "cells" / "one.hashed.cluster.json").write_text('{"key":')
    capsys.readouterr()
    assert run(folder, "cluster")[0] == 0
    assert capsys.readouterr().err == "one, hashed, cluster: measured\n"


def test_two_processes_make_the_page_that_one_makes(folder):
    def settled(page: str) -> list[str]:  # the last column is a time
        return [line.rsplit("|", 2)[0] if line.startswith("|") else line for line in page.splitlines()]

    _, alone = run(folder, "cluster", sets="two")
    (folder / "figures.md").unlink()
    _, together = run(folder, "cluster", sets="two", jobs="2", cache=str(folder / "other"))
    assert settled(alone) == settled(together)


def test_a_model_with_many_gaps_is_left_out(folder):
    from routewright.learning.datasets import read_dataset

    write_set(folder, "gaps", 100, missing=0.3)
    assert figures.whole(read_dataset(folder, "gaps")).models == ()
    assert len(figures.whole(read_dataset(folder, "one")).models) == 4


def test_an_aim_is_met_from_its_own_side(folder):
    assert Aim("cost_at_95", 0.2, True).is_met(0.2)
    assert not Aim("apgr", 0.68, False).is_met(0.67)
    run(folder, "cluster", sets="two")
    cells = {}
    for path, key in (("two.baselines", ("", "baselines")), ("two.hashed.cluster", ("hashed", "cluster"))):
        cells["two", *key] = json.loads((folder / "cells" / f"{path}.json").read_text())
    cells["two", "hashed", "cluster"]["row"] |= {"ece": 0.01, "ece_low": 0.005, "ece_high": 0.02}
    assert "| `two` | ece | ≤ 0.03 | 0.010 (0.005–0.020) | `cluster`, hashed | yes, by 1 of 1 |" in figures_page(
        ["two"], cells
    )
    cells["two", "hashed", "cluster"]["row"]["ece"] = 0.04
    assert "| `cluster`, hashed | no |" in figures_page(["two"], cells)


@pytest.mark.parametrize("more", [{"routers": "magic"}, {"features": "magic"}, {"sets": "absent"}])
def test_what_is_not_there_is_named(folder, capsys, more):
    routers = more.pop("routers", "cluster")
    assert run(folder, routers, **more)[0] == 2
    assert next(iter(more.values()), "magic") in capsys.readouterr().err
