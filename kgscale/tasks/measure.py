"""What a step costs, measured: memory and time of training steps in a process of their own.

``python -m kgscale.tasks.measure --settings FILE --json OUT`` reads a run's composed settings
(JSON) and writes a :class:`StepCost`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from kgscale.batch import number_asked
from kgscale.errors import ConfigError, DataError, KgscaleError, ResourceError
from kgscale.tasks.memory import Memory, anonymous_bytes, release, release_at_once
from kgscale.tasks.parts import GraphParts
from kgscale.tasks.plan.choose import Plan
from kgscale.tasks.plan.planner import auto_of
from kgscale.tasks.settings import RunSettings
from kgscale.tasks.start import TASKS, threads
from kgscale.tasks.steps import Steps, batch_bytes
from kgscale.tasks.training import prepared

WARM_UP: Final = 3
STEPS: Final = 5
PATIENCE: Final = 30.0
"""Seconds after which no more steps are begun."""


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """What a training step took, sampling and the gathering of features included."""

    triples: int
    """Of the train graph."""
    memory: int
    """Bytes at the peak of a step beyond what stays between steps, the largest of all steps."""
    sampling: int
    """The same while the batch was made."""
    batch: int
    """Bytes of the largest batch."""
    held: int
    """Bytes that stay between steps beyond those of the imported program: parameters, optimiser
    state, what the strategy keeps. Mapped files are not in it."""
    seconds: float
    """Median of a step."""
    seeds: float
    """Questions of a step: entities to label, or distinct (head, relation). This and the next
    two are means over steps."""
    entities: float
    """Of a batch."""
    edges: float
    """Messages of a step: edges of the batch, summed over layers."""

    @property
    def edges_per_seed(self) -> float:
        return self.edges / max(self.seeds, 1.0)

    @property
    def seconds_per_1000_seeds(self) -> float:
        return 1000 * self.seconds / max(self.seeds, 1.0)


def measure_step(settings: Mapping[str, Any]) -> StepCost:
    """Measure a few steps of a run's composed settings, in a process of their own.

    They run on the processor, whatever the trainer says, and one after the other: what batches
    made ahead take comes on top.

    Raises:
        KgscaleError: what the run itself would raise.
    """
    with tempfile.TemporaryDirectory(prefix="kgscale-") as name:
        given, found = Path(name) / "settings.json", Path(name) / "cost.json"
        given.write_text(json.dumps(settings), encoding="utf-8")
        command = ["-m", __name__, "--settings", str(given), "--json", str(found)]
        ended = subprocess.run(
            [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        if ended.returncode:
            said = ended.stderr.strip().rpartition("\n")[2]
            raise failure("the steps to measure", ended.returncode, said)
        return StepCost(**json.loads(found.read_text(encoding="utf-8")))


def plan_step(settings: Mapping[str, Any]) -> Plan:
    """What is expected of the same settings, whatever the memory: its ``need.step.peak`` is the
    estimate of what :func:`measure_step` calls ``memory``."""
    checked = RunSettings.of(settings)
    task, store = TASKS[checked.task.name], prepared(checked)
    task.check(store)
    unbounded = replace(checked, trainer=replace(checked.trainer, memory="1000TB"))
    return task.plan_of(unbounded, GraphParts.of(store, unbounded.inputs.arguments()))


def failure(what: str, code: int, said: str) -> KgscaleError:
    """What a process that ended with a code other than 0 would have raised here."""
    kinds = {kind.exit_code: kind for kind in (ConfigError, DataError, ResourceError)}
    if code < 0:
        return ResourceError(
            f"{what} were killed by signal {-code}, most likely for lack of memory; a smaller"
            " strategy.batch_size needs less"
        )
    return kinds.get(code, KgscaleError)(said)


def measure_here(settings: Mapping[str, Any]) -> StepCost:
    """Measure in this process, whose memory should be given back at once (``release_at_once``)."""
    checked = RunSettings.of(settings)
    store = prepared(checked)
    TASKS[checked.task.name].check(store)
    release()
    before = anonymous_bytes()
    if auto_of(checked) is not None:
        checked = checked.with_group("strategy", plan_step(settings).strategy)
    with threads(checked.trainer.threads):
        steps = Steps(checked, GraphParts.of(store, checked.inputs.arguments()))
        for _ in _patiently(WARM_UP):
            steps.step(steps.batch())
        with Memory() as memory:
            found = [_measured(steps, memory, before) for _ in _patiently(STEPS)]
    return StepCost(
        **{
            name: max(getattr(cost, name) for cost in found)
            for name in ("triples", "memory", "sampling", "batch", "held")
        },
        seconds=statistics.median(cost.seconds for cost in found),
        **{
            name: statistics.mean(getattr(cost, name) for cost in found)
            for name in ("seeds", "entities", "edges")
        },
    )


def _patiently(steps: int) -> Iterator[int]:
    """So many steps, or fewer where these take long; two at least."""
    end = time.monotonic() + PATIENCE
    for step in range(steps):
        if step < 2 or time.monotonic() < end:
            yield step


def _measured(steps: Steps, memory: Memory, before: int) -> StepCost:
    """One step."""
    memory.restart()
    begin = time.perf_counter()
    batch = steps.batch()
    memory.look()
    sampling = memory.peak
    steps.step(batch)
    seconds = time.perf_counter() - begin
    size, query, edges = batch_bytes(batch), batch.query, sum(batch.hop_edges)
    entities, seeds = batch.num_entities, number_asked(query)
    peak = memory.peak
    del batch, query
    release()
    base = anonymous_bytes() - steps.gradient_bytes
    return StepCost(
        triples=len(steps.parts.graph.source) // 2,
        memory=max(0, peak - base),
        sampling=max(0, sampling - base),
        batch=size,
        held=max(0, base - before),
        seconds=seconds,
        seeds=float(seeds),
        entities=float(entities),
        edges=float(edges),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--settings", type=Path, required=True, metavar="FILE")
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    options = parser.parse_args()
    release_at_once()
    try:
        cost = measure_here(json.loads(options.settings.read_text(encoding="utf-8")))
    except KgscaleError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    options.json.write_text(json.dumps(asdict(cost), indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
