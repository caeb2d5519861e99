"""Which strategy a run takes, and whether it fits, before anything large is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch

from kgscale.errors import ResourceError
from kgscale.sampling.neighbor import NeighborStrategy
from kgscale.tasks.assembly import fits
from kgscale.tasks.components import component
from kgscale.tasks.memory import available_bytes
from kgscale.tasks.parts import GraphParts
from kgscale.tasks.plan.auto import AutoStrategy, Settings, fewer, smaller
from kgscale.tasks.plan.estimate import Need
from kgscale.tasks.plan.planner import Assemble, Planner, auto_of
from kgscale.tasks.settings import LINK_TASKS, RunSettings
from kgscale.tasks.show import size as text
from kgscale.training.fit import size_bytes

COMFORT: Final = 0.5
"""Share of the memory up to which ``auto`` takes full batches."""
NARROWEST: Final = 8
"""Shortest vectors that are offered."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """Bytes that a run may take; None where nobody tells."""

    host: int | None
    device: int | None
    asked: bool
    """Whether a setting says so."""

    @classmethod
    def of(cls, settings: RunSettings) -> Room:
        limit = settings.trainer.memory
        host = available_bytes() if limit is None else size_bytes("trainer.memory", limit)
        device = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else None
        return cls(host=host, device=device, asked=limit is not None)

    def share(self, need: Need) -> float:
        """Of the host's or the device's memory, whichever is shorter of it."""
        host = need.host / self.host if self.host else 0.0
        return max(host, need.device / self.device if self.device else 0.0)

    def fits(self, need: Need) -> bool:
        return self.share(need) <= 1

    def __str__(self) -> str:
        host = "an unknown amount" if self.host is None else text(self.host)
        said = f"{host} that trainer.memory allows" if self.asked else f"{host} available"
        return said if self.device is None else f"{said}, {text(self.device)} on the device"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A strategy's settings, what it needs and why it was taken."""

    strategy: Settings
    need: Need | None
    why: str | None
    """Of ``strategy=auto``."""
    room: Room

    def told(self) -> Iterator[str]:
        """A line about the choice, and one about memory, for people."""
        if self.why:
            yield f"strategy=auto takes {name(self.strategy)}: {self.why}."
        if self.need is not None:
            yield f"memory: {_needs(self.need)}, of {self.room}"

    def report(self) -> dict[str, object]:
        """For ``results.json``."""
        need = self.need
        numbers = (
            {}
            if need is None
            else {
                "step_bytes": round(need.step.peak),
                "model_bytes": round(need.model),
                "host_bytes": round(need.host),
                "device_bytes": round(need.device),
            }
        )
        return {"strategy": self.strategy, "why": self.why, **numbers}


def make_plan(assemble: Assemble, settings: RunSettings, parts: GraphParts) -> Plan:
    """Choose if the strategy is ``auto``, and refuse what can't fit.

    Raises:
        ResourceError: names what is needed, what there is, and what would fit.
    """
    planner, room, auto = (
        Planner.of(assemble, settings, parts),
        Room.of(settings),
        auto_of(settings),
    )
    if auto is not None:
        plan = chosen(planner, auto, room)
    else:
        strategy = dict(settings.groups["strategy"])
        plan = Plan(strategy=strategy, need=planner.need(strategy), why=None, room=room)
    if plan.need is not None and not room.fits(plan.need):
        raise ResourceError(_refusal(plan, Offers(planner, assemble, parts), room))
    return plan


def chosen(planner: Planner, auto: AutoStrategy, room: Room) -> Plan:
    """The rule of ``strategy=auto``.

    Full batches, if they take at most ``COMFORT`` of the memory and an epoch of them at most the
    work of one of sampled neighbours. Otherwise neighbour sampling with ``batch_size`` questions
    a step, or half as many until it fits.
    """
    full, sampled = auto.full_batch(), auto.neighbor(planner.layers)
    need = planner.need(full)
    assert need is not None
    times = planner.work(full) / max(planner.work(sampled), 1.0)
    if room.share(need) <= COMFORT and times <= 1:
        why = (
            f"a step on the whole graph needs about {text(need.step.peak)}, and an epoch of them"
            f" {times:.2f} times the work of sampled neighbours"
        )
        return Plan(strategy=full, need=need, why=why, room=room)
    why = (
        f"a step on the whole graph would need about {text(need.step.peak)}"
        if room.share(need) > COMFORT
        else f"an epoch of full batches would be {times:.1f} times the work"
    )
    for strategy in (sampled, *smaller(sampled)):
        need = planner.need(strategy)
        assert need is not None
        if room.fits(need):
            break
    if strategy != sampled:
        why += f", and {sampled['batch_size']} questions a step don't fit"
        why += f" where {strategy['batch_size']} do" if room.fits(need) else ""
    return Plan(strategy=strategy, need=need, why=why, room=room)


def name(strategy: Settings) -> str:
    """As settings call it: its module's name."""
    return str(strategy["_target_"]).split(".")[-2]


def _needs(need: Need) -> str:
    told = [f"a step needs about {text(need.step.peak)}", f"the model {text(need.model)}"]
    if need.validation > need.step.peak:
        told.append(f"validation {text(need.validation)}")
    if need.preparing > need.step.peak:
        told.append(f"making the strategy {text(need.preparing)}")
    if need.accelerated:
        told.append(f"waiting batches {text(need.host)}")
    return ", ".join(told)


@dataclass(frozen=True)
class Offers:
    """Other settings of a run, from near to far, each in the words of the command line."""

    planner: Planner
    assemble: Assemble
    parts: GraphParts

    def __iter__(self) -> Iterator[tuple[str, Need]]:
        planner, dim = self.planner, self.planner.model.encoder.dim
        yield from _strategies(planner, "")
        while dim // 2 >= NARROWEST:
            dim //= 2
            narrower = planner.narrower(self.assemble, self.parts, dim)
            if narrower is not None:
                yield from _strategies(narrower, f"encoder.dim={dim} ")


def _strategies(planner: Planner, before: str) -> Iterator[tuple[str, Need]]:
    """The strategy itself, with smaller steps, then neighbour sampling where the encoder reads
    edges."""
    own = dict(planner.settings.groups["strategy"])
    auto = auto_of(planner.settings)
    if auto is None:
        yield from _named(planner, own, before)
        auto = AutoStrategy(fanout=planner.settings.task.fanout)
    encoder, _ = component("encoder", planner.settings.groups["encoder"])
    if fits(encoder, NeighborStrategy):
        other = auto.neighbor(planner.layers)
        yield from _named(planner, {**own, **other} if _same(own, other) else other, before)


def _named(planner: Planner, strategy: Settings, before: str) -> Iterator[tuple[str, Need]]:
    """A strategy, then with one size smaller, then with two."""
    links = planner.settings.task.name in LINK_TASKS
    among = list(fewer(strategy)) if links else []
    both = (step for one in among for step in smaller(one))
    for one in (strategy, *among, *smaller(strategy), *both):
        need, said = planner.need(one), f"{before}{words(one, planner.settings)}".strip()
        if need is not None and said:
            yield said, need


def words(strategy: Settings, settings: RunSettings) -> str:
    """What to change of a run's settings for this strategy, as the command line has it."""
    own = settings.groups["strategy"]
    same = _same(own, strategy)
    changed = [
        f"strategy.{key}={value}".replace(" ", "")
        for key, value in strategy.items()
        if key != "_target_" and not (same and own.get(key) == value)
    ]
    return " ".join(changed if same else [f"strategy={name(strategy)}", *changed])


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one["_target_"] == other["_target_"])


def _refusal(plan: Plan, offers: Offers, room: Room) -> str:
    assert plan.need is not None
    refused = (
        f"strategy={name(plan.strategy)} would need about {text(_total(plan.need))}"
        f" ({_needs(plan.need)}), of {room}"
    )
    tried = []
    for said, need in offers:
        if room.fits(need):
            return f"{refused}; {said} would need about {text(_total(need))}"
        tried.append((said, need))
    if not tried:
        return f"{refused}; most of it for {plan.need.largest}"
    said, need = min(tried, key=lambda offer: room.share(offer[1]))
    return (
        f"{refused}; even {said} would need about {text(_total(need))},"
        f" most of it for {need.largest}"
    )


def _total(need: Need) -> float:
    return max(need.host, need.device)
