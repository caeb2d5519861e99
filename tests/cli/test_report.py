"""Every run's page and its model's card, and what happens when they can't be written."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
import yaml

import kgscale
from kgscale.errors import DataError, ResourceError
from kgscale.tasks import training
from kgscale.tasks.report import write
from kgscale.tasks.report.card import OURS
from kgscale.tasks.report.examples import examples
from tests.cli.conftest import SMALL, Command
from tests.pages import Read

SECTIONS = ("learned", "metrics", "relations", "curves", "calibration", "predictions", "reproduce")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reasons take as long as they take: a busy machine changes nothing."""
    monkeypatch.setattr(write, "examples", partial(examples, seconds=math.inf))


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run of one's own."""
    shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    return tmp_path / "run"


@pytest.mark.usefixtures("patient")
def test_a_page_has_all_its_parts(command: Command, run: Path) -> None:
    (run / "report.html").unlink()
    code, out, error = command("report", f"run={run}")
    assert (code, error) == (0, "")
    assert f"written: {run / 'report.html'}" in out
    text = (run / "report.html").read_text(encoding="utf-8")
    page = Read(text)
    results = json.loads((run / "results.json").read_text())
    test, baseline = results["metrics"]["test"], results["metrics"]["baseline"]["popularity"]
    assert all(page[section] for section in SECTIONS)
    assert f"Test MRR {test['mrr']:.3f}" in page["header"]
    assert f"{baseline['mrr']:.3f}" in page["header"]
    assert results["data"]["fingerprint"] in page["learned"]
    for number in (test["hits@10"], baseline["hits@10"], results["metrics"]["valid"]["mrr"]):
        assert f"{number:.4f}" in page["metrics"]
    assert "realistic" not in page["metrics"]
    assert "filtered" in page["metrics"]
    assert all(f"relation {n}" in page["relations"] for n in range(3))
    assert page["curves"].startswith("How it learned Training loss")
    assert "Validation MRR" in page["curves"]
    ece = results["metrics"]["calibration"]["test"]["ece"]
    assert f"{ece:.4f} in the mean" in page["calibration"]
    assert page["predictions"].count("Why ") == 2
    assert "probability" in page["predictions"]
    assert "python -m kgscale explain run=" in page["reproduce"]
    assert "seed: 0" in page["reproduce"]
    assert results["versions"]["torch"] in page["reproduce"]
    # The same run is the same page.
    assert command("report", f"run={run}")[0] == 0
    assert (run / "report.html").read_text(encoding="utf-8") == text


def test_training_leaves_a_page_and_a_card(trained: Path) -> None:
    page = Read((trained / "report.html").read_text(encoding="utf-8"))
    assert all(page[section] for section in SECTIONS)
    _, front, text = (trained / "model" / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    told = yaml.safe_load(front)
    assert told["library_name"] == "kgscale"
    assert "license" not in told
    (result,) = told["model-index"][0]["results"]
    results = json.loads((trained / "results.json").read_text())
    numbers = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert numbers["mrr"] == pytest.approx(results["metrics"]["test"]["mrr"], abs=1e-4)
    assert result["dataset"]["revision"] == results["data"]["fingerprint"]
    for words in ("Intended use", "Training data", "Limits", "How to use it", "filtered"):
        assert words in text
    assert str(trained.parent) not in front + text


def test_what_evaluate_measured_later_is_told(command: Command, run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    test = results["metrics"].pop("test")
    (run / "results.json").write_text(json.dumps(results))
    (run / "evaluation-test.json").unlink()
    assert command("report", f"run={run}")[0] == 0
    assert "Validation MRR" in Read((run / "report.html").read_text())["header"]
    assert command("evaluate", f"run={run}", "split=test")[0] == 0
    assert command("report", f"run={run}")[0] == 0
    assert f"Test MRR {test['mrr']:.3f}" in Read((run / "report.html").read_text())["header"]


def test_a_card_may_be_edited(command: Command, run: Path) -> None:
    """Nothing else may come into a model's folder."""
    (run / "model" / "README.md").write_text("license: mit")
    kgscale.load(run)
    (run / "model" / "README.md").unlink()
    kgscale.load(run)
    (run / "model" / "other.md").write_text("")
    with pytest.raises(DataError, match=r"other\.md is not part of it"):
        kgscale.load(run)


def test_a_card_that_is_its_owners_stays(command: Command, run: Path) -> None:
    card = run / "model" / "README.md"
    written = card.read_text(encoding="utf-8")
    card.write_text(written.replace("# license: say", "license: mit # say"), encoding="utf-8")
    assert f"written: {card}" in " ".join(command("report", f"run={run}")[1].split())
    assert card.read_text(encoding="utf-8") == written
    mine = written.replace(OURS, "")
    card.write_text(mine, encoding="utf-8")
    assert "is your own text" in " ".join(command("report", f"run={run}")[1].split())
    assert card.read_text(encoding="utf-8") == mine


def test_no_time_for_reasons_is_told(run: Path) -> None:
    found = examples(kgscale.load(run), seconds=-1.0)
    assert found.explanations == []
    assert found.columns["head"] == kgscale.load(run).examples(10)["head"] != []
    assert "the command explain takes as long as it needs" in found.note


@pytest.mark.parametrize("failure", [RuntimeError("broken"), ResourceError("full")])
def test_a_failure_leaves_the_run_whole(
    command: Command,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
) -> None:
    def fail(_: object) -> None:
        raise failure

    monkeypatch.setattr(training, "write_report", fail)
    own = ("data=triples", f"data.path={data}", f"root={tmp_path}", *SMALL)
    with pytest.MonkeyPatch.context():
        if isinstance(failure, ResourceError):
            code, out, error = command(*own)
            assert (code, error) == (4, "kgscale: full\n")
            assert "to write that: python -m kgscale report run=" in " ".join(out.split())
        else:
            with pytest.raises(RuntimeError, match="broken"):
                command(*own)
    (run,) = (tmp_path / "link_prediction").iterdir()
    assert json.loads((run / "results.json").read_text())["status"] == "done"
    assert (run / "predictions.tsv").is_file()
    monkeypatch.undo()
    assert command("report", f"run={run}")[0] == 0
    assert (run / "report.html").is_file()


@pytest.mark.parametrize("name", ["results.json", "evaluation-test.json", "calibration.json"])
@pytest.mark.parametrize("content", ["", "[1]", '{"metrics": {"test": 1}, "task": "x"}', "{"])
def test_damaged_files_are_named(command: Command, run: Path, name: str, content: str) -> None:
    before = (run / "report.html").read_bytes()
    (run / name).write_text(content)
    code, _, error = command("report", f"run={run}")
    assert code in ((0, 3) if content.endswith("}") else (3,))
    if code:
        assert str(run) in error
        assert error.count("\n") == 1
        assert (run / "report.html").read_bytes() == before


@pytest.mark.parametrize("answers", [0, -1, 10**400, float("inf")])
def test_numbers_that_training_never_wrote(command: Command, run: Path, answers: float) -> None:
    row = {"answers": answers, "said": 0.5, "right": 0.5}
    (run / "calibration.json").write_text(json.dumps({"reliability": {"calibrated": [row]}}))
    code, _, error = command("report", f"run={run}")
    assert (code, "is not as training or evaluate left it" in error) == (3, True)


def test_a_linked_model_gets_no_card(command: Command, run: Path, tmp_path: Path) -> None:
    (run / "model").rename(tmp_path / "elsewhere")
    (run / "model").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "README.md").unlink()
    code, _, error = command("report", f"run={run}")
    assert code == 2
    assert "is a link" in error
    assert not (tmp_path / "elsewhere" / "README.md").exists()


_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)


def browser(page: Path, home: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
    """What headless Chromium makes of a page, with a log of every request."""
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    own = [f"--user-data-dir={home / 'profile'}", f"--log-net-log={home / 'net.json'}"]
    own += ["--no-first-run", "--disable-background-networking", "--disable-component-update"]
    own += ["--host-resolver-rules=MAP * ~NOTFOUND"]
    return subprocess.run(
        [*command, *own, *options, page.as_uri()],
        capture_output=True,
        check=True,
        timeout=120,
        env={**os.environ, "HOME": str(home)},
    )


def asked_for(page: Path, home: Path) -> set[str]:
    """Addresses that a page asks for, but for those that the browser asks its maker for."""
    browser(page, home, "--dump-dom")
    log = (home / "net.json").read_text(encoding="utf-8")
    found = set(re.findall(r'"url":"((?:https?|wss?|ftp)://[^"]*)"', log))
    own = re.compile(r"https?://[a-z0-9.]+\.(google|googleapis|gstatic|gvt1)\.com/")
    return {url for url in found if not own.match(url)}


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: apt-get install chromium")
@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("width", [1200, 500])
def test_a_screenshot_by_content(command: Command, run: Path, tmp_path: Path, width: int) -> None:
    """What should be seen is seen, with ink where pictures are, and nothing is asked for."""
    import matplotlib.image

    assert command("report", f"run={run}")[0] == 0
    page = run / "report.html"
    dumped = browser(page, tmp_path, "--dump-dom").stdout.decode()
    assert all(Read(dumped)[section] for section in SECTIONS)
    # A page of our own tells where things lie, which the report itself, without scripts, can't.
    measuring = tmp_path / "measuring.html"
    policy = dumped.index("<meta http-equiv"), dumped.index('<meta name="viewport"')
    script = """<script>document.title = JSON.stringify({wide: document.documentElement.scrollWidth,
      places: [...document.querySelectorAll("h1, .verdict, section, figure svg, .why")].map(it => {
      const at = it.getBoundingClientRect();
      return [it.tagName, it.id, at.x, at.y, at.width, at.height]; })})
      </script></body>"""
    measuring.write_text(
        (dumped[: policy[0]] + dumped[policy[1] :]).replace("</body>", script), encoding="utf-8"
    )
    size = f"--window-size={width},6000"
    title = browser(measuring, tmp_path, size, "--dump-dom").stdout.decode()
    found = json.loads(title.partition("<title>")[2].partition("</title>")[0])
    assert found["wide"] <= width
    shot = tmp_path / "shot.png"
    browser(page, tmp_path, size, f"--screenshot={shot}")
    pixels = matplotlib.image.imread(shot)[:, :, :3]
    names = [name for name, *_ in found["places"]]
    assert names.count("SECTION") == len(SECTIONS)
    assert names.count("svg") == 3
    assert names.count("DIV") == 2
    for name, identity, x, y, wide, high in found["places"]:
        part = pixels[round(y) : round(y + high), round(x) : round(x + wide)]
        ink = abs(part - pixels[2, 2]).max(axis=2) > 0.25
        assert wide > 200, (name, identity)
        assert ink.mean() > 0.004, (name, identity)
    assert asked_for(page, tmp_path) == set()
    # What would have been asked for is seen, and is what the policy forbids.
    image, address = '<img src="http://127.0.0.1:9/x.png">', {"http://127.0.0.1:9/x.png"}
    for control, expected in ((measuring, address), (page, set())):
        other = tmp_path / "other.html"
        text = control.read_text(encoding="utf-8")
        other.write_text(text.replace("</body>", f"{image}</body>"), encoding="utf-8")
        assert asked_for(other, tmp_path) == expected
