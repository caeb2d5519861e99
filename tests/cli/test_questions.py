"""``ask``, questions in ``evaluate``, and ``task=query_answering``."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import kgscale
from kgscale.tasks.questions import QuestionSettings
from tests.cli.conftest import SMALL, STRANGE, Command
from tests.pages import Read

QUESTION = "?x : 'relation 0'('entity 1', ?y) and 'relation 1'(?y, ?x)"


def answers(folder: Path) -> list[dict[str, str]]:
    with (folder / "answers.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_ask(command: Command, trained: Path, tmp_path: Path) -> None:
    own = ("ask", f"run={trained}", QUESTION, "k=5")
    code, out, error = command(*own, f"output={tmp_path / 'new'}")
    assert (code, error) == (0, "")
    assert out.rstrip().endswith(f"written: {tmp_path / 'new' / 'answers.tsv'}")
    new = answers(tmp_path / "new")
    assert [row["rank"] for row in new] == ["1", "2", "3", "4", "5"]
    assert {row["known"] for row in new} == {"False"}
    truths = [float(row["score"]) for row in new]
    assert truths == sorted(truths, reverse=True)
    for row in new:
        because = row["because"]
        assert because.startswith("relation 0(entity 1, ?y=")
        assert because.rpartition(" [")[0].endswith(f"?x={row['entity_name']})")
        assert "relation 1(?y=" in because
    assert command(*own, "known=true", f"output={tmp_path / 'all'}")[0] == 0
    everything = answers(tmp_path / "all")
    count = sum(row["known"] == "True" for row in everything)
    assert ("known=true lists them too" in out) == (count > 0)
    assert {row["score"] for row in everything if row["known"] == "True"} <= {"1.0"}


@pytest.mark.parametrize("key", STRANGE)
def test_any_name_can_be_asked_about(
    command: Command, trained: Path, tmp_path: Path, key: str
) -> None:
    quoted = "'" + key.replace("\\", "\\\\").replace("'", "\\'") + "'"
    question = f"?x : 'relation 0'({quoted}, ?x)"
    code, _, error = command("ask", f"run={trained}", question, f"output={tmp_path}")
    assert (code, error) == (0, "")
    expected = kgscale.load(trained).predict(head=key, relation="relation 0", k=10)
    assert [row["entity"] for row in answers(tmp_path)] == expected["tail"]


WRONG = [
    ([], "ask needs a question"),
    (["?x : 'relation 0'('entity 1' ?x)"], "question, column 30: expected ','"),
    (["?x : 'relation 0'('entity 99', ?x)"], "nearest are 'entity 9'"),
    (["?x : nothing('entity 1', ?x)"], "question, column 6: no relation has the key or name"),
    ([QUESTION, "k=0"], "k needs an int of at least 1"),
    ([QUESTION, "width=0"], "width needs an int of at least 1"),
    ([QUESTION, "negation=0"], "negation needs a number above 0"),
    ([QUESTION, "kown=true"], "did you mean known"),
    (["x"], "'x' is neither a command nor key=value"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_wrong_questions(command: Command, trained: Path, arguments: list[str], words: str) -> None:
    code, _, error = command("ask", f"run={trained}", *arguments)
    assert code == 2
    assert words in error
    assert error.count("\n") == 1


def test_questions_of_a_file(command: Command, trained: Path, tmp_path: Path) -> None:
    run = kgscale.load(trained)
    head, relation, tail = run.store.triples("valid")[0].tolist()
    keys = run.store.entity_keys([head, tail])
    (name,) = run.store.relation_keys([relation])
    text = json.dumps(keys[0])
    row = {"question": f"?x : {json.dumps(name)}({text}, ?x)", "hard": [keys[1]]}
    file = tmp_path / "questions.jsonl"
    file.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    code, out, error = command("evaluate", f"run={trained}", f"questions={file}")
    assert (code, error) == (0, "")
    assert "1p" in out
    found = json.loads((trained / "questions-valid.json").read_text())
    assert found["all"]["1p"]["questions"] == found["one_link"]["1p"]["questions"] == 1
    assert found["file"] == str(file)
    file.write_text(json.dumps({**row, "hard": ["nobody"]}) + "\n")
    code, _, error = command("evaluate", f"run={trained}", f"questions={file}")
    assert code == 3
    assert f"{file}, line 1: no entity of the graph has the key 'nobody'" in error
    assert command("evaluate", f"run={trained}", f"questions={tmp_path / 'no.jsonl'}")[0] == 3


def test_train_is_nothing_to_find(command: Command, trained: Path) -> None:
    code, _, error = command("evaluate", f"run={trained}", "questions=drawn", "split=train")
    assert code == 2
    assert "training has not seen" in error


def test_a_run_of_the_task(command: Command, data: Path, tmp_path: Path) -> None:
    """Trains as for links, then answers drawn questions; a resumed answer is the same."""
    own = ("task=query_answering", "data=triples", f"data.path={data}", f"root={tmp_path}", *SMALL)
    code, out, error = command(*own, "evaluation.questions.count=2", "evaluation.test=true")
    assert (code, error) == (0, "")
    assert "mean without not" in out
    (run,) = (tmp_path / "query_answering").iterdir()
    results = json.loads((run / "results.json").read_text())
    page = Read((run / "report.html").read_text(encoding="utf-8"))
    assert "mean without not" in page["metrics"]
    assert "answers that need links of test" in page["metrics"]
    for split in ("valid", "test"):
        found = results["metrics"]["questions"][split]
        assert found["all"]["positive"]["structures"] == 9
        assert found["all"]["negative"]["structures"] == 5
        assert json.loads((run / f"questions-{split}.json").read_text()) == found
    again = kgscale.load(run)
    assert isinstance(again, kgscale.tasks.runs.LinkRun)
    measured = again.measure_questions("valid", QuestionSettings(count=2))
    assert measured == results["metrics"]["questions"]["valid"]


def test_a_file_is_about_the_last_split(command: Command, data: Path, tmp_path: Path) -> None:
    """Those of the other are drawn: the answers of a file need links of one split."""
    head, relation, tail = (data / "test.tsv").read_text().split("\n")[0].split("\t")
    question = f"?x : {json.dumps(relation)}({json.dumps(head)}, ?x)"
    file = tmp_path / "questions.jsonl"
    file.write_text(json.dumps({"question": question, "hard": [tail]}) + "\n")
    own = ("task=query_answering", "data=triples", f"data.path={data}", f"root={tmp_path}", *SMALL)
    asked = (f"evaluation.questions.file={file}", "evaluation.questions.count=1")
    assert command(*own, *asked, "evaluation.test=true")[0] == 0
    (run,) = (tmp_path / "query_answering").iterdir()
    found = json.loads((run / "results.json").read_text())["metrics"]["questions"]
    assert (found["valid"]["file"], found["valid"]["questions"]) == ("drawn", 14)
    assert (found["test"]["file"], found["test"]["questions"]) == (str(file), 1)
