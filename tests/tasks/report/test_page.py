"""A page shows names as they are, whatever is in them, and asks for nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

import yaml
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from kgscale.errors import printable
from kgscale.inference.reasons import Reason, Way
from kgscale.inference.reasons.ways import PathStep
from kgscale.tasks.explanation import Explanation
from kgscale.tasks.report.card import _identifier, _md, front_matter
from kgscale.tasks.report.examples import Examples
from kgscale.tasks.report.page import Curves, Page, render
from kgscale.tasks.report.tables import LONGEST, Relation, Table, clip
from kgscale.tasks.report.words import TASKS, Verdict
from tests.pages import Read

HOSTILE = (
    "</bdi></style><script src=//evil>alert(1)</script>&amp;\u202e{{ 7*7 }}\x00\n'\"" + "x" * 5000
)
names = st.one_of(
    st.just(HOSTILE),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    st.text("<>&\"'/{}%#- \n", max_size=40),
)


def page(name: str) -> Page:
    """With a name at every place where one can stand."""
    steps = (PathStep(0, 0, 1),)
    explanation = Explanation(
        asked=name,
        about=(0,),
        score=1.0,
        reasons=[Reason(Way(steps, (0,)), 0.5)],
        told=[name],
        keys=[name],
        names=[[name, f"{name} →", name]],
    )
    table = Table(title=name, header=[name, "n"], right=[False, True], rows=[[clip(name), "1"]])
    relation = Relation(name=clip(name), queries="1", figures=["1"] * 4, mrr=0.5, kept="")
    return Page(
        name=clip(name),
        task=TASKS["link_prediction"],
        verdict=Verdict(name, True),
        learned=[("Graph", name)],
        tables=[table],
        details=[table],
        remarks=[name],
        relations=[relation],
        split="test",
        curves=[Curves(title=name, picture=Markup("<svg></svg>"))],
        reliability=None,
        probabilities=[name],
        predictions=table,
        examples=Examples(columns={"head": [name]}, explanations=[explanation], note="n" + name),
        commands=[("Train", name)],
        effort=[("Time", name)],
        versions=[("torch", name)],
        settings=f"a: {name}",
    )


@given(names)
def test_names_are_text_and_nothing_else(name: str) -> None:
    found, plain = Read(render(page(name))), Read(render(page("plain")))
    assert found.tags == plain.tags
    shown = printable(clip(name))
    assert found.cells[0] == shown
    assert set(found.cells) <= {
        shown, printable(name), "1", printable(clip(f"{name} →")),
    }  # fmt: skip
    assert not any(letter in text for text in found.cells for letter in "\x00\u202e\n")
    assert len(found.cells[0]) <= LONGEST * len(r"\U0001ffff")


def test_nothing_is_loaded_and_nothing_runs() -> None:
    text = render(page(HOSTILE))
    read = Read(text)
    assert {"script", "link", "img", "iframe", "object", "embed", "base"}.isdisjoint(read.tags)
    loading = {"src", "href", "srcset", "style", "action", "data", "xlink:href", "background"}
    assert loading.isdisjoint(name for _, name, _ in read.attributes)
    assert not any(name.startswith("on") for _, name, _ in read.attributes)
    style = re.search("<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    (policy,) = (value for tag, _, value in read.attributes if value.startswith("default-src"))
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def test_relations_that_are_many_are_folded() -> None:
    some = [
        Relation(name=f"r{n:02}", queries="1", figures=["1"] * 4, mrr=n / 30, kept="")
        for n in range(30)
    ]
    read = Read(render(replace(page("x"), relations=some)))
    first, _, folded = read["relations"].partition("All 30 relations of test")
    assert [f"r{n:02}" for n in range(30) if f"r{n:02}" in first] == [
        *(f"r{n:02}" for n in range(5)), *(f"r{n:02}" for n in range(25, 30)),
    ]  # fmt: skip
    assert all(f"r{n:02}" in folded for n in range(30))


def results(name: str) -> dict[str, object]:
    return {
        "task": "link_prediction",
        "data": {"name": name, "fingerprint": "f" * 64},
        "encoder": "CompGCN",
        "decoder": "ComplEx",
        "monitor": "mrr",
        "protocol": "filtered",
        "metrics": {"test": {"mrr": 0.34567, "hits@10": 0.5, "queries": 20.0, "tie_rate": 0.1}},
    }


@given(names)
def test_front_matter_is_yaml_whatever_the_data_are_called(name: str) -> None:
    found = front_matter(results(name))
    text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=1000)
    assert yaml.safe_load(text) == found
    assert "\n---" not in text
    (dataset,) = found["datasets"]
    assert re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?", dataset)
    (index,) = found["model-index"]
    (result,) = index["results"]
    told = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert told == {"mrr": 0.3457, "hits@10": 0.5}


def test_identifiers_by_hand() -> None:
    assert _identifier("my data, small") == "my-data-small"
    assert _identifier("../..") == "own-data"
    assert _identifier("fb15k-237") == "fb15k-237"


@given(names)
def test_markdown_shows_a_name_as_it_is(name: str) -> None:
    found = _md(name)
    assert "\n" not in found
    assert re.sub(r"\\([\\`*_\[\]<>&|#~!])", r"\1", found) == clip(printable(name))
    assert not re.search(r"(?<!\\)(?:\\\\)*[<>\[\]|`]", found)
