"""What a run costs."""

from __future__ import annotations

import subprocess
import sys
import time

from kgscale.tasks.usage import Usage, cpu_seconds, memory_bytes


def test_phases_add_up() -> None:
    with Usage(interval=0.01) as usage:
        time.sleep(0.05)
        usage.mark("first")
        time.sleep(0.02)
        usage.mark("second")
        report = usage.report()
    seconds = report["seconds"]
    assert seconds["first"] >= 0.05
    assert seconds["first"] + seconds["second"] <= seconds["total"] + 0.01
    assert report["peak_memory_bytes"] > 1 << 20


def test_processor_time_grows_with_work() -> None:
    """At least by what this process itself spends."""
    begin, own = cpu_seconds(), time.process_time()
    while time.process_time() - own < 0.1:
        sum(range(10_000))
    assert cpu_seconds() - begin >= 0.05


def test_children_count() -> None:
    """Their memory while they live."""
    alone = memory_bytes()
    code = "import sys; block = bytearray(60_000_000); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert memory_bytes() > alone + 50_000_000
        child.communicate()
