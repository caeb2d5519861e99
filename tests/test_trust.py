"""What comes from elsewhere runs nothing, and what we depend on is what we say."""

from __future__ import annotations

import ast
import re
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kgscale.cli import compose
from kgscale.cli.compose import from_yaml
from kgscale.errors import ConfigError, DataError
from kgscale.tasks.components import GROUPS, component, target
from kgscale.tasks.start import rehearse

CLONE = Path(__file__).resolve().parents[1]
ABC = "abcdefghi"
FLOORS = {
    # Below them, a file that is opened can run code in one way or another.
    "torch": (2, 10),
    "pytorch-lightning": (2, 6, 6),
    "hydra-core": (1, 3, 8),
}
EVIL = (
    "os.system",
    "subprocess.run",
    "builtins.eval",
    "torch.load",
    "torch.optim.optimizer.torch.os.system",
    "kgscale.training.optimizers.torch.os.system",
    "kgscale.models.registry.build_model",
    "kgscale.models.encoders.RGCN",
    "kgscale.models.encoders.rgcn.RGCN.__init__",
    "kgscale.models.encoders.rgcn.RGCN.__class__",
    "hydra.utils.instantiate",
    "hydra.utils.get_method",
    "hydra._internal.utils._locate",
    "kgscale.data.ogb.source.OgbDataSet ",
    "",
    None,
    1,
    ["os.system"],
    {"_target_": "os.system"},
)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("path", EVIL, ids=str)
def test_a_target_is_one_of_ours_by_its_exact_path(group: str, path: Any) -> None:
    for settings in ({"_target_": path}, {"_target_": path, "_args_": ["true"]}, path):
        with pytest.raises(ConfigError, match=rf"{group}\._target_ is one of"):
            component(group, settings)


@pytest.mark.parametrize("group", GROUPS)
def test_arguments_of_hydra_are_no_settings(group: str) -> None:
    kind = GROUPS[group][0]
    for argument in ("_args_", "_partial_", "_recursive_", "_convert_"):
        with pytest.raises(ConfigError, match=argument):
            component(group, {"_target_": target(kind), argument: True})


@pytest.mark.parametrize(
    "given",
    [
        "hydra.searchpath=[file:///]",
        "hydra/launcher=basic",
        "+hydra.callbacks.x._target_=os.system",
        "~hydra.job",
        "hydra.mode=MULTIRUN",
    ],
)
def test_settings_of_hydra_itself_are_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="settings of Hydra itself"):
        compose.settings([given])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (f"seed={10**23}", "seed needs a number below 2"),
        (f"evaluation.memory={1 << 50}", "evaluation.memory is in MiB"),
        (f"strategy.fanout=[{10**20}]", "strategy.fanout needs a number below"),
        (f"trainer.threads={10**9}", "trainer.threads is 4,096 at most"),
        (f"encoder.num_layers={10**5}", "encoder.num_layers needs an int from 0 to 1000"),
        ("encoder=[]", "encoder=.* doesn't exist"),
        ("trainer={}", "trainer=.* doesn't exist"),
    ],
)
def test_numbers_of_no_machine_are_refused(given: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        rehearse(compose.settings([given]))


def test_a_nul_in_a_setting_is_refused() -> None:
    settings = compose.settings(["data=triples", "data.path=x"])
    settings["root"] = "a\0b"
    with pytest.raises(ConfigError, match="root has a NUL character"):
        rehearse(settings)


ALIASES = ["a: &a [x, x]", *(f"{n}: &{n} [{', '.join([f'*{b}'] * 9)}]" for b, n in pairwise(ABC))]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(ALIASES),
        "x: " + "[" * 50_000,
        "x: " + "y" * (2 << 20),
        "x: !!python/object/apply:os.system [true]",
        "x: !!python/name:os.system",
        "[1, 2]",
        "\0",
    ],
)
def test_a_file_of_settings_is_plain(text: str, tmp_path: Path) -> None:
    """It neither makes objects nor grows."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=r"config\.yaml: not readable as settings \("):
        from_yaml(path)


def test_no_version_that_is_known_to_be_unsafe() -> None:
    project = tomllib.loads((CLONE / "pyproject.toml").read_text())["project"]
    wanted = {}
    for text in project["dependencies"]:
        name, equals, version = text.partition(">=")
        assert equals, f"{text} has no lower bound"
        wanted[name] = version
    for name, floor in FLOORS.items():
        least = tuple(int(part) for part in wanted[name].partition(",")[0].split("."))
        assert least >= floor, name
    assert wanted["hydra-core"].endswith(",<1.4")
    extras = [text for texts in project["optional-dependencies"].values() for text in texts]
    for text in (*project["dependencies"], *extras):
        assert not text.startswith("pyg-lib"), "on PyPI, that is nobody we know"
        assert ">=" in text or "==" in text


def test_what_was_tested_is_pinned() -> None:
    project = tomllib.loads((CLONE / "pyproject.toml").read_text())["project"]
    lines = (CLONE / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0].lower() for line in lines if not line.startswith("#")}
    for text in project["dependencies"]:
        assert text.partition(">=")[0] in pinned


def test_the_lock_has_what_was_tested_and_a_hash_of_every_file() -> None:
    """``scripts/lock`` writes it anew."""
    project = tomllib.loads((CLONE / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"]]
    for extra in ("demo", "ogb", "rdf", "tune"):
        wanted += project["optional-dependencies"][extra]
    entries = re.split(r"\n(?=\S)", (CLONE / "requirements.lock").read_text().strip())
    locked = {}
    for entry in entries:
        if not entry.startswith("#"):
            first, *hashes = entry.split(" \\\n")
            locked.update([first.split("==")])
            assert hashes
            assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}", one) for one in hashes)
    assert {re.split("[>=<]", text)[0] for text in wanted} <= locked.keys()
    lines = (CLONE / "constraints.txt").read_text().splitlines()
    pinned = dict(line.lower().split("==") for line in lines if "==" in line)
    for name in locked.keys() & pinned.keys():
        assert locked[name] == pinned[name], name


def calls(file: Path) -> list[tuple[str, dict[str, Any]]]:
    """Every call of a file: its dotted name, and the keywords that are plain values."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            plain = {
                word.arg: word.value.value
                for word in node.keywords
                if word.arg and isinstance(word.value, ast.Constant)
            }
            found.append((ast.unparse(node.func), plain))
    return found


@pytest.mark.parametrize("folder", ["kgscale", "scripts", "tests"])
def test_nothing_is_unpickled(folder: str) -> None:
    files = sorted((CLONE / folder).rglob("*.py"))
    assert files
    for file in files:
        imported = {
            name.name
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Import)
            for name in node.names
        }
        for name, plain in calls(file):
            where = f"{file}: {name}"
            if name == "torch.load":
                assert plain.get("weights_only") is True, where
            if name in ("np.load", "numpy.load"):
                assert plain.get("allow_pickle", False) is False, where
            assert name not in ("eval", "exec"), where
        if folder != "tests":
            assert not imported & {"pickle", "cloudpickle", "dill", "shelve", "joblib"}, file
