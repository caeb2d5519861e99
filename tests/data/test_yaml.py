"""The YAML files mirror the constructors they name."""

from __future__ import annotations

import inspect
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from kgscale.data.hpo import HumanPhenotypeOntology
from kgscale.data.interactions import Interactions
from kgscale.data.ogb.benchmarks import BENCHMARKS
from kgscale.data.ogb.source import OgbDataSet
from kgscale.data.papers import Papers
from kgscale.data.rdf import RdfFiles
from kgscale.data.source import Source
from kgscale.data.synthetic import SyntheticGraph
from kgscale.data.triples import TripleFiles
from kgscale.graph.convert.stored import StoredGraph

FILES = {
    "hpo": HumanPhenotypeOntology,
    "interactions": Interactions,
    "papers": Papers,
    "rdf": RdfFiles,
    "store": StoredGraph,
    "synthetic": SyntheticGraph,
    "triples": TripleFiles,
    **{name.replace("-", "_"): OgbDataSet for name in BENCHMARKS},
}
OWN = ("benchmark", "names")
"""What the files of benchmarks don't share."""
CONF = Path(__file__).parents[2] / "conf" / "data"


@pytest.mark.parametrize(("name", "kind"), FILES.items())
def test_same_keys_and_defaults(name: str, kind: type, tmp_path: Path) -> None:
    file = CONF / f"{name}.yaml"
    loaded: Any = OmegaConf.load(file)
    assert loaded.pop("_target_") == f"{kind.__module__}.{kind.__qualname__}"
    settings: Any = OmegaConf.to_container(loaded)
    parameters = inspect.signature(kind).parameters
    assert list(settings) == list(parameters)
    for key, parameter in parameters.items():
        if parameter.default is not inspect.Parameter.empty and key not in OWN:
            default = parameter.default
            assert settings[key] == (list(default) if isinstance(default, tuple) else default)
    if "path" in settings:
        settings["path"] = str(tmp_path)
    if "years" in settings:
        settings["years"] = str(tmp_path)
    source = kind(**settings)
    assert isinstance(source, Source)
    if isinstance(source, OgbDataSet):
        assert source.name.replace("-", "_") == name
    lines = file.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    for before, line in pairwise(lines[1:]):
        assert line.startswith("#") or before.startswith("#"), f"{line} has no comment"


def test_every_file_is_listed() -> None:
    assert {file.stem for file in CONF.glob("*.yaml")} == set(FILES)
