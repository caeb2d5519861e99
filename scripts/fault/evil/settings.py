"""Settings that name what is not ours, grow, or mean nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from fault.child import triples
from fault.evil.what import MARK, Evil, train
from fault.readers import finished

TARGETS = (
    "os.system",
    "subprocess.Popen",
    "builtins.exec",
    "torch.load",
    "torch.optim.optimizer.torch.os.system",
    "kgscale.training.optimizers.torch.os.system",
    "kgscale.models.encoders.rgcn.RGCN.__init__.__globals__",
    "hydra.utils.call",
    "hydra.utils.get_method",
    "hydra._internal.utils._locate",
)


def settings_of_others(folder: Path, url: str) -> Iterator[Evil]:
    """On the command line, in the files of a run, and where studies take settings."""
    data = f"data.path={triples(folder / 'data')}"
    mark = folder / MARK
    for target in TARGETS:
        for group in ("encoder", "optimizer", "data", "strategy"):
            given = [f"{group}._target_={target}", f"+{group}._args_=[touch {mark}]"]
            yield Evil(f"{group}={target}", train(folder, "data=triples", data, *given), group)
        own = f"compare.own={{neighbor: {{_target_: {target}}}}}"
        compare = ["compare", *train(folder, "data=triples", data, own)[1:]]
        yield Evil(f"compare with {target}", compare, "_target_")
        settings = (finished() / "config.yaml").read_text()
        at = settings.index("_target_: kgscale.models.encoders")
        rest = settings[at:].partition("\n")[2]
        yield resumed(folder, f"{settings[:at]}_target_: {target}\n{rest}", target, target)
    extra = folder / "conf" / "encoder"
    extra.mkdir(parents=True)
    (extra / "evil.yaml").write_text("_target_: os.system\n")
    for given in (
        f"hydra.searchpath=[file://{folder / 'conf'}]",
        "hydra/launcher=basic",
        "+hydra.callbacks.x._target_=os.system",
        "hydra.launcher._target_=os.system",
        "hydra.sweeper._target_=os.system",
        "hydra.job_logging.handlers.x={class: os.system}",
        f"hydra.run.dir={folder}",
        "hydra.mode=MULTIRUN",
        "+hydra.x=1",
        "~hydra.job",
        "--config-dir=/",
        "--config-path=/",
        "--config-name=evil",
    ):
        yield Evil(given, train(folder, "data=triples", data, given), given)
    for given, named in NUMBERS.items():
        yield Evil(given, train(folder, "data=triples", data, given), named)
    doubled = " ".join(f"'+x{n}={f'${{x{n - 1}}}' * 8}'" for n in range(1, 11))
    for name, text in {
        "references to references": f"# python -m kgscale +x0=aaaa {doubled}\nseed: 0\n",
        "many lists": "x: [" + "[]," * 340_000 + "[]]",
        "an object of YAML": f'x: !!python/object/apply:os.system ["touch {mark}"]\n',
        "a name of YAML": "x: !!python/name:os.system\n",
        "nine levels of aliases": aliases(),
        "an interpolation": "seed: ${oc.env:HOME}\nroot: ${oc.decode:${oc.env:HOME}}\n",
        "brackets without end": "x: " + "[" * 50_000,
        "no text": "\0\1\2",
    }.items():
        # Nothing is asked of the surroundings: what is left lacks most of a run's settings.
        named = "there is no setting" if name == "an interpolation" else "config.yaml"
        yield resumed(folder, text, name, named)
    good = (finished() / "config.yaml").read_text()
    for name, old, new, named in (
        ("a NUL in a path", "path: ", 'path: "/a\\0b" #', "data.path"),
        ("a seed of 10^23", "seed: 0", f"seed: {10**23}", "seed"),
        ("a list for a group in its first line", "# python -m kgscale ",
         "# python -m kgscale encoder=[] ", "encoder"),
        ("Hydra's own in its first line", "# python -m kgscale ",
         "# python -m kgscale hydra.searchpath=[file:///] ", "hydra"),
    ):  # fmt: skip
        assert old in good
        yield resumed(folder, good.replace(old, new, 1), name, named)


NUMBERS = {
    f"seed={10**23}": "seed",
    f"evaluation.memory={10**30}": "evaluation.memory",
    f"evaluation.memory={1 << 62}": "evaluation.memory",
    f"strategy.fanout=[{10**20}]": "strategy.fanout",
    f"trainer.threads={10**9}": "trainer.threads",
    f"trainer.workers={10**9}": "trainer.workers",
    f"encoder.num_layers={10**5}": "encoder.num_layers",
    "encoder=[]": "encoder",
    "trainer={}": "trainer",
    "data.path=/dev/zero": "/dev/zero",
    "data.features=/dev/zero": "/dev/zero",
}
"""Settings that no machine can mean, and what is named."""


def resumed(folder: Path, settings: str, name: str, named: str) -> Evil:
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(finished(), run)
    (run / "config.yaml").write_text(settings)
    return Evil(f"a run's settings with {name}", [f"resume={run}", "trainer.max_epochs=2"], named)


def aliases() -> str:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    for before, now in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{now}: &{now} [{','.join([f'*{before}'] * 9)}]")
    return "\n".join(lines) + "\n"
