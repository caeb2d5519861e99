"""Stores from the command line; newcomers are answered for by runs of every kind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

import kgscale
from kgscale.tasks.runs import LinkRun, Run
from tests.cli.conftest import SMALL, Command
from tests.cli.test_explain import KINDS, people, train  # noqa: F401


def ingested(out: str, what: str) -> Path:
    """The directory that was told last."""
    lines = [line for line in out.splitlines() if line.startswith(f"{what}: ")]
    return Path(lines[-1].partition(": ")[2])


def goes_on(command: Command, run: Path, tmp_path: Path, *overrides: str) -> tuple[Run, str]:
    code, out, error = command(
        "ingest", f"onto={run}", *overrides, f"root={tmp_path / 'later'}", "threads=1"
    )
    assert (code, error) == (0, "")
    return kgscale.load(ingested(out, "run directory")), out


def test_a_store_is_made_and_described(command: Command, data: Path) -> None:
    code, out, error = command("ingest", f"data.path={data}")
    assert (code, error) == (0, "")
    assert "20 entities, 3 relations" in out
    assert "relation 2" in out
    store = ingested(out, "store")
    assert (store / "manifest.json").is_file()
    # The same is found again; a training finds it too.
    assert ingested(command("ingest", f"data.path={data}")[1], "store") == store


@pytest.mark.parametrize(
    "kind",
    [
        kind
        if kind in ("messages", "maps", "paths")
        else pytest.param(kind, marks=pytest.mark.slow)
        for kind in KINDS
    ],
)
def test_newcomers_get_answers(command: Command, data: Path, tmp_path: Path, kind: str) -> None:
    run = train(command, tmp_path, "data=triples", f"data.path={data}", *KINDS[kind])
    more = tmp_path / "more.tsv"
    facts = ("entity 0", "entity 1"), ("entity 2", "entity 3")
    more.write_text(
        "".join(
            f"{end}\trelation {at}\tnewcomer\n" for at, ends in enumerate(facts) for end in ends
        )
        + "newcomer\trelation 2\tentity 9\n"
    )
    later, out = goes_on(command, run, tmp_path, f"data.path={more}")
    before = kgscale.load(run)
    assert isinstance(later, LinkRun)
    assert isinstance(before, LinkRun)
    assert "1 entity is new" in out
    assert later.store.num_entities == before.store.num_entities + 1
    answers = later.predict(head="newcomer", relation="relation 0", k=3)
    assert len(answers["tail"]) == 3
    known = later.predict(head="newcomer", relation="relation 2", k=25, known=True)
    assert known["known"].count(True) == 1
    assert later.explain(head="newcomer", relation="relation 2", tail="entity 8").reasons
    assert json.loads((later.directory / "results.json").read_text())["status"] == "continued"
    if kind == "vectors":
        keys = before.store.entity_keys(list(range(before.store.num_entities)))
        ids = torch.tensor([later.store.find_entity(key) for key in keys])
        assert torch.equal(later.vectors.entity[ids], before.vectors.entity)


def test_what_was_known_stays_the_same(command: Command, data: Path, tmp_path: Path) -> None:
    run = train(command, tmp_path, "data=triples", f"data.path={data}", *KINDS["messages"])
    again = tmp_path / "again.tsv"
    again.write_text((data / "train.tsv").read_text().splitlines()[0] + "\n")
    later, out = goes_on(command, run, tmp_path, f"data.path={again}")
    assert "0 entities are new" in out
    before = kgscale.load(run)
    assert torch.equal(later.vectors.entity, before.vectors.entity)
    assert later.store.fingerprint == before.store.fingerprint
    # It was not trained.
    for arguments in (["report", f"run={later.directory}"], [f"resume={later.directory}"]):
        code, _, error = command(*arguments)
        assert (code, "not trained" in error, str(run) in error) == (2, True, True)


def test_a_newcomer_beside_a_type_without_learned_vectors(command: Command, tmp_path: Path) -> None:
    """Such a type has features, and no vectors of which there would be a variance."""
    triples = [f"p{n}\thas\tg{(n * k) % 7}\n" for n in range(30) for k in (1, 2, 3)]
    (tmp_path / "t.tsv").write_text("".join(triples))
    keys = {"person": [f"p{n}" for n in range(30)], "gene": [f"g{n}" for n in range(8)]}
    types = [f"{key}\t{kind}\n" for kind, some in keys.items() for key in some]
    (tmp_path / "types.tsv").write_text("".join(types))
    (tmp_path / "f.tsv").write_text("".join(f"p{n}\t{n / 30}\n" for n in range(30)))
    own = f"data.types={tmp_path / 'types.tsv'}"
    features = f"data.features={{person: {tmp_path / 'f.tsv'}}}"
    run = train(command, tmp_path, "data=triples", f"data.path={tmp_path / 't.tsv'}", own, features)
    (tmp_path / "more.tsv").write_text("p1\thas\tg7\np2\thas\tg7\n")
    later, out = goes_on(command, run, tmp_path, f"data.path={tmp_path / 'more.tsv'}", own)
    assert "1 entity is new" in out
    assert later.vectors.entity.isfinite().all()


@pytest.mark.slow
def test_a_newcomer_has_a_label_and_a_number(
    command: Command,
    people: tuple[str, ...],  # noqa: F811
    tmp_path: Path,
) -> None:
    more, types = tmp_path / "more.tsv", tmp_path / "more-types.tsv"
    more.write_text("new\tlives_in\tt2\nnew\tknows\tp4\n")
    types.write_text("new\tperson\n")
    added = f"data.path={more}", f"data.types={types}", f"store.root={tmp_path / 'stores'}"
    labels = f"data.labels={tmp_path / 'speaks.tsv'}"
    run = train(command, tmp_path, "task=node_classification", *people, labels)
    later, _ = goes_on(command, run, tmp_path, *added)
    assert later.predict(entity="new", k=1)["label"] == ["language 2"]
    shutil.rmtree(tmp_path / "outputs")
    numbers = f"data.labels={tmp_path / 'earns.tsv'}", "data.label_numbers=true"
    run = train(command, tmp_path, "task=node_regression", *people, *numbers)
    later, _ = goes_on(command, run, tmp_path, *added, "data.label_numbers=true")
    assert later.predict(entity="new")["value"] == pytest.approx([200], abs=60)


def test_a_newcomer_is_described_as_all_others_were(
    command: Command, data: Path, tmp_path: Path
) -> None:
    """By an age and a trade: one like a known entity in all that is read gets its vector."""

    def told(name: str, *lines: str, uses: str = "numbers: [age], categories: [trade]") -> str:
        (tmp_path / f"{name}.tsv").write_text("key\tage\ttrade\n" + "".join(lines))
        return f"data.features={{path: '{tmp_path / name}.tsv', {uses}}}"

    keys = [f"entity {at}" for at in range(10)]
    features = told("old", *(f"{key}\t{at}\t{'xy'[at % 2]}\n" for at, key in enumerate(keys)))
    model = "encoder=embedding", "inputs.learned=none"
    run = train(command, tmp_path, "data=triples", f"data.path={data}", features, *model, *SMALL)
    more = tmp_path / "more.tsv"
    more.write_text("newcomer\trelation 0\tentity 1\nother\trelation 1\tentity 2\n")
    features = told("new", "newcomer\t4\tx\n", "other\t\tz\n")
    later, out = goes_on(command, run, tmp_path, f"data.path={more}", features)
    assert "2 entities are new" in out
    assert "note: 1 of what new.tsv tells has no column in the store" in " ".join(out.split())
    assert isinstance(later, LinkRun)
    vector = later.vectors.entity
    newcomer, known = (later.store.find_entity(key) for key in ("newcomer", "entity 4"))
    assert torch.equal(vector[newcomer], vector[known])
    assert len(later.predict(head="newcomer", relation="relation 0", k=3)["tail"]) == 3
    features = told("less", "newcomer\t4\tx\n", uses="numbers: [age]")
    code, _, error = command("ingest", f"onto={run}", f"data.path={more}", features)
    assert code == 2
    assert "name the same columns for the same uses" in error
    assert "Traceback" not in error


@pytest.mark.slow
def test_a_new_user_gets_items(command: Command, tmp_path: Path) -> None:
    lines = [f"u{n}\ti{n % 3 + 3 * k}" for n in range(30) for k in range(4) if (n + k) % 5]
    (tmp_path / "likes.tsv").write_text("\n".join(lines) + "\n")
    (tmp_path / "more.tsv").write_text("new\ti1\nnew\ti4\n")
    stores = f"store.root={tmp_path / 'stores'}"
    run = train(
        command,
        tmp_path,
        "task=recommendation",
        f"data.path={tmp_path / 'likes.tsv'}",
        "task.dim=8",
        "strategy=full_batch",
        "trainer.threads=1",
        "trainer.max_epochs=60",
        stores,
    )
    more = "data=interactions", f"data.path={tmp_path / 'more.tsv'}", stores
    later, _ = goes_on(command, run, tmp_path, *more)
    # Users like items whose numbers have the same remainder.
    assert set(later.predict(user="new", k=2)["item"]) == {"item:i7", "item:i10"}


@pytest.mark.parametrize(
    ("lines", "words", "code"),
    [
        ("entity 1\tsings to\tentity 2\n", "the relation 'sings to' came after training", 3),
        # Most lines are known, and come before.
        (
            "entity 1\trelation 0\tentity 2\n" * 9 + "entity 1\tsings to\tentity 2\n",
            "the relation 'sings to' came after training",
            3,
        ),
        ("entity 1\trelation 0\n" * 30, "too few columns", 3),
    ],
)
def test_what_a_model_cannot_know(
    command: Command, trained: Path, tmp_path: Path, lines: str, words: str, code: int
) -> None:
    (tmp_path / "more.tsv").write_text(lines)
    root, stores = tmp_path / "later", tmp_path / "stores"
    more = f"data.path={tmp_path / 'more.tsv'}", f"store.root={stores}"
    found, _, error = command("ingest", f"onto={trained}", *more, f"root={root}")
    assert found == code
    assert words in error
    assert "Traceback" not in error
    assert not list(root.glob("*/*"))
    assert not list(stores.glob("*/manifest.json"))


def test_a_type_that_a_model_has_never_seen(
    command: Command, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / "more.tsv").write_text("dog\trelation 0\tentity 1\n")
    (tmp_path / "types.tsv").write_text("dog\tanimal\n")
    files = f"data.path={tmp_path / 'more.tsv'}", f"data.types={tmp_path / 'types.tsv'}"
    code, _, error = command("ingest", f"onto={trained}", *files, f"root={tmp_path}")
    assert code == 3
    assert "entities of the type 'animal' came after training" in error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("onto=nowhere",), "neither a graph store nor a run"),
        ((), "data.path is not set"),
        (("threads=0", "data.path=x"), "threads needs"),
        (("encoder=rgcn",), "encoder"),
    ],
)
def test_wrong_settings(command: Command, arguments: tuple[str, ...], words: str) -> None:
    code, _, error = command("ingest", *arguments)
    assert code == 2
    assert words in error
