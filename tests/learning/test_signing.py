from __future__ import annotations

import json

import pytest
from made_up_sets import write_set

from routewright.cli import main
from routewright.learning.datasets import read_dataset
from routewright.learning.fit import fit_router
from routewright.routing import container
from routewright.routing.artefact import write_artefact


@pytest.fixture
def file(tmp_path):
    write_set(tmp_path, n=120)
    path = tmp_path / "router.safetensors"
    write_artefact(fit_router(read_dataset(tmp_path, "made_up"), "cluster"), path)
    return path


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


def test_a_file_is_signed_and_verified_by_the_command_line(file, tmp_path, capsys):
    key = tmp_path / "key"
    assert run("sign", "--new-key", key) == 0
    public = capsys.readouterr().out.split(": ")[-1].strip()
    assert run("verify", file, "--key", public) == 1
    assert '"signature" is missing' in capsys.readouterr().err
    out = tmp_path / "signed" / "router.safetensors"
    assert run("sign", file, "--key", key, "--out", out) == 0
    assert run("verify", out, "--key", f"{key}.pub") == 0
    assert run("verify", out, "--key", public) == 0
    assert f"signed by {public}" in capsys.readouterr().out
    assert run("verify", file, "--key", public) == 1
    assert run("sign", file, "--key", key) == 0
    assert file.read_bytes() == out.read_bytes()


def test_what_can_not_be_signed_or_checked_is_named(file, tmp_path, capsys):
    key = tmp_path / "key"
    run("sign", "--new-key", key)
    for arguments, word in (
        (("sign", "--new-key", key), "File exists"),
        (("sign", "--new-key", tmp_path / "other", file), "nothing else"),
        (("sign", file), "--key"),
        (("sign", file, "--key", f"{key}.pub"), "must be a PRIVATE KEY, is a PUBLIC KEY"),
        (("sign", key, "--key", key), "refused"),
        (("verify", file, "--key", key), "must be a PUBLIC KEY, is a PRIVATE KEY"),
    ):
        capsys.readouterr()
        assert run(*arguments) == 2
        assert word in capsys.readouterr().err


def test_inspect_shows_what_a_file_holds(file, capsys):
    assert run("inspect", file) == 0
    said = capsys.readouterr().out
    for word in ("loads: yes", "signed: no", "cluster", "jurist", "features.table", "made_up", "passed", "sha256"):
        assert word in said
    assert run("inspect", file, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["refused"] is None
    assert found["header"]["training"]["rows"] > 50
    assert found["arrays"]["features.table"]["type"] == "int8"


def test_inspect_shows_what_it_can_of_a_file_that_would_be_refused(file, capsys):
    contents = container.unpack(file.read_bytes())
    header = contents.header
    header["labels"][0]["name"] = "\x1b[31mred"
    header["labels"][1]["quality"] = 7
    file.write_bytes(container.pack(header, contents.arrays))
    assert run("inspect", file) == 1
    said = capsys.readouterr().out
    assert r"labels[1].quality" in said
    assert "\x1b" not in said
    file.write_bytes(file.read_bytes()[:-3])
    assert run("inspect", file) == 2
    assert "truncated" in capsys.readouterr().err
