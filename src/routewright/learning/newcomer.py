"""Taking a new model into a router file, from some hundred prompts that it was scored on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console

from routewright.errors import ArtefactRefused
from routewright.learning.datasets import Dataset, DatasetError, read_dataset
from routewright.routing.artefact import Artefact, Label, read_artefact, write_artefact
from routewright.routing.features.contract import NO_SUPPLIES, Supplies
from routewright.routing.mf import MFRouter

FEW_PROMPTS: Final = 50
"""Below this many a new model's level is known to no better than some six points of score."""


def add_model(artefact: Artefact, dataset: Dataset, model: str, *, created: str = "") -> Artefact:
    """The artefact with one label more, learned from the set's `train` rows that have a score of this model.

    Where the set has scores of models that the artefact knows by the same name, they sharpen the newcomer's. Nobody
    else's ratings change. The dial's sample is of these rows from here on; gate, calibration and metrics are the old
    fit's.

    Raises ValueError when the router is of a kind that takes in no new model, knows this one already, or the set has no
    score of it.
    """
    router = artefact.router
    if not isinstance(router, MFRouter):
        raise ValueError(f'a router of kind "{router.name}" takes in no new model; fit one of kind "{MFRouter.name}"')
    known = [label.name for label in artefact.labels]
    if model in known:
        raise ValueError(f'the router knows "{model}" already')
    if model not in dataset.models:
        raise ValueError(f'the set has no model "{model}"; it has {", ".join(dataset.models)}')
    column = dataset.models.index(model)
    rows = dataset.rows("train")
    rows = rows[~np.isnan(dataset.quality[rows, column])]
    if not len(rows):
        raise ValueError(f'the set has no score of "{model}" on its train rows')
    X = artefact.features.transform([dataset.prompts[row] for row in rows])
    others = np.full((len(rows), len(known)), np.nan, dtype=np.float32)
    for place, name in enumerate(known):
        if name in dataset.models:
            others[:, place] = dataset.quality[rows, dataset.models.index(name)]
    grown = router.add_model(X, dataset.quality[rows, column], dataset.cost_usd[rows, column], others)
    rated = grown.predict_quality(X)
    usd_in, usd_out = dataset.prices[column]
    label = Label(
        name=model,
        quality=round(float(rated[:, -1].mean()), 6),
        output_tokens=round(dataset.usual_output_tokens(rows)[column], 2),
        input_usd_per_token=None if usd_in is None else usd_in / 1e6,
        output_usd_per_token=None if usd_out is None else usd_out / 1e6,
    )
    lengths = artefact.lengths
    if lengths is not None:
        lengths = type(lengths).from_state(
            lengths.state() | {"shares": np.append(lengths.shares_, lengths.shares_.mean()).astype(np.float32)},
            n_features=X.shape[1],
            n_models=len(known) + 1,
        )
    training = dict(artefact.training)
    training["added"] = [*training.get("added", []), {"model": model, "rows": len(rows), "sha256": dataset.sha256}]
    return replace(
        artefact,
        router=grown,
        labels=(*artefact.labels, label),
        sample_scores=rated.astype(np.float16),
        sample_prompt_tokens=dataset.prompt_tokens[rows],
        sample_wordiness=None if lengths is None else lengths.wordiness(X).astype(np.float16),
        lengths=lengths,
        training=training,
        created=created or datetime.now(UTC).isoformat(timespec="seconds"),
        sha256="",
        path="",
        signed_by="",
    )


def add_model_command(
    file: Path, data: Path, set_name: str, model: str, out: Path, supplies: Supplies = NO_SUPPLIES
) -> int:
    """`routewright add-model`: add, write, read back, and say what came out. Returns the exit status."""
    console, errors = Console(), Console(stderr=True)
    try:
        artefact = read_artefact(file, force=True, supplies=supplies)
        grown = add_model(artefact, read_dataset(Path(data), set_name), model)
        digest = write_artefact(grown, Path(out))
        read_artefact(out, force=True, supplies=supplies)
    except (ArtefactRefused, DatasetError, ValueError, OSError) as error:
        errors.print(f"[red]not added:[/red] {error}", highlight=False)
        return 2
    n = grown.training["added"][-1]["rows"]
    label = grown.labels[-1]
    console.print(f"{out}: {model} is model {len(grown.labels)}, sha256 {digest[:12]}", highlight=False)
    console.print(f"its expected score on the {n} prompts it was scored on: {label.quality:.3f}", highlight=False)
    if n < FEW_PROMPTS:
        errors.print(f"[yellow]few prompts:[/yellow] {n} scored ones; a hundred place it better")
    return 0
