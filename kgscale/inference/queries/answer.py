"""Answers to questions of several hops, from the probabilities of single links.

A link's probability is the softmax of the model's scores times how many tails are known (QTO,
Bai et al. 2023, equation 9), 1 if it is a known fact. What has to hold at once is multiplied, of
what may hold the best counts, and of what an intermediate variable may stand for the best too: so
every answer has one chain of entities that it rests on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from kgscale.graph.known import KnownFacts
from kgscale.graph.reciprocal import inverse
from kgscale.inference.queries.edges import Edges
from kgscale.inference.queries.formula import (
    Anchor,
    Anything,
    Both,
    Each,
    Either,
    Hop,
    Node,
    Without,
)

CERTAIN: Final = 0.9999
"""Most that a link has which is not known."""
Truth = Float[Tensor, "question entity"]
"""Between 0 and 1: to what degree each entity answers."""
Probabilities = Callable[
    [Int64[Tensor, " query"], Int64[Tensor, " query"]], Float[Tensor, "query entity"]
]
"""Of all entities as tails of (head, relation): they add up to 1."""


@dataclass(frozen=True, kw_only=True)
class Links:
    """Single links.

    Args:
        probabilities: of a model, for reciprocal relations too.
        facts, edges: what is known, by head and by relation.
        memory: bytes that the links of some heads may take at a time.
    """

    probabilities: Probabilities
    facts: KnownFacts
    edges: Edges
    memory: int = 1 << 28

    @property
    def num_relations(self) -> int:
        return self.facts.adjacency.num_relations

    @property
    def rows(self) -> int:
        """Heads at a time: their scores, softmax and links."""
        return max(1, self.memory // (3 * 4 * self.edges.num_entities))

    def __call__(self, head: Each, relation: Each) -> Truth:
        """Of all entities as tails of each (head, relation)."""
        indptr, tails = self.facts.tails(head, relation)
        count = indptr.diff()
        found = self.probabilities(head, relation)
        found = (found * count.clamp(min=1)[:, None]).clamp(max=CERTAIN)
        found[torch.arange(len(head)).repeat_interleave(count), tails] = 1.0
        return found


@dataclass(frozen=True, slots=True)
class Step:
    """A link that an answer rests on."""

    head: int
    relation: int
    tail: int
    truth: float
    known: bool
    variables: tuple[str, str]
    """What head and tail stand for, "" for what was given."""
    denied: bool = False
    """Whether it must not hold."""


@dataclass(frozen=True, kw_only=True)
class Answerer:
    """Answers questions of one form together.

    Args:
        width: entities of an intermediate variable that are looked at beyond known facts.
        negation: what is not so has the truth ``1 - min(1, negation * truth)``.
    """

    links: Links
    width: int = 64
    negation: float = 3.0

    def __call__(self, node: Node) -> Truth:
        """To what degree each entity answers each question."""
        match node:
            case Anchor():
                found = torch.zeros(len(node.entity), self.links.edges.num_entities)
                return found.scatter(1, node.entity[:, None], 1.0)
            case Anything():
                raise AssertionError("what is open has no answers of its own")
            case Hop():
                return self._hop(node)
            case Without():
                return 1 - (self.negation * self(node.part)).clamp(max=1.0)
            case Both():
                return self._both(node)
            case Either():
                return torch.stack([self(part) for part in node.parts]).amax(dim=0)

    def _hop(self, node: Hop) -> Truth:
        if isinstance(node.source, Anchor):
            heads, relation = node.source.entity, node.relation
            parts = torch.split(torch.arange(len(heads)), self.links.rows)
            return torch.cat([self.links(heads[part], relation[part]) for part in parts])
        if isinstance(node.source, Anything):
            return self._open(node)
        source = self(node.source)
        found = self._known(source, node.relation)
        for question, links in self._predicted(source, node.relation):
            found[question] = torch.maximum(found[question], links)
        return found

    def _known(self, source: Truth, relation: Each) -> Truth:
        """By known links, from every entity of the source."""
        found, edges = torch.zeros_like(source), self.links.edges
        for question, which in enumerate(relation.tolist()):
            within = edges.of_relation(which)
            known = ~edges.held_out[within]
            head, tail = edges.head[within][known], edges.tail[within][known]
            found[question].scatter_reduce_(0, tail, source[question, head], "amax")
        return found

    def _predicted(
        self, source: Truth, relation: Each
    ) -> Iterator[tuple[int, Float[Tensor, " entity"]]]:
        """By all links, from the best entities of each source: what each adds to a question.

        The same link may be asked for by several questions, and is computed once.
        """
        value, head = self._best(source)
        question, place = (value > 0).nonzero(as_tuple=True)
        asked = torch.stack([relation[question], head[question, place]])
        pairs, pair_of = torch.unique(asked, dim=1, return_inverse=True)
        order = pair_of.argsort(stable=True)
        users = pair_of.bincount(minlength=pairs.shape[1]).tolist()
        of_question = iter(question[order].tolist())
        weight = iter(value[question, place][order].tolist())
        for first in range(0, pairs.shape[1], self.links.rows):
            which, heads = pairs[:, first : first + self.links.rows]
            for row, count in zip(self.links(heads, which), users[first:], strict=False):
                for _ in range(count):
                    yield next(of_question), next(weight) * row

    def _best(self, truth: Truth) -> tuple[Float[Tensor, "_ _"], Int64[Tensor, "_ _"]]:
        value, entity = truth.topk(min(self.width, truth.shape[1]), dim=1)
        return value, entity

    def _both(self, node: Both) -> Truth:
        """Open hops come last, since they are only looked at for the best of the others."""
        later = [part for part in node.parts if _is_open(part)]
        sooner = [part for part in node.parts if not _is_open(part)]
        if not sooner or all(isinstance(part, Without) for part in sooner):
            return torch.stack([self(part) for part in node.parts]).prod(dim=0)
        found = torch.stack([self(part) for part in sooner]).prod(dim=0)
        for part in later:
            assert isinstance(part, Hop)
            found = found * self._open(part, found)
        return found

    def _open(self, node: Hop, beside: Truth | None = None) -> Truth:
        """Whether there is any head: by known links or, for the best of ``beside``, the best of
        all; for others it is not asked."""
        edges = self.links.edges
        back = inverse(node.relation, num_relations=self.links.num_relations)
        found = torch.zeros(len(node.relation), edges.num_entities)
        for question, which in enumerate(node.relation.tolist()):
            within = edges.of_relation(which)
            found[question, edges.tail[within][~edges.held_out[within]]] = 1.0
        if beside is None:
            return found
        _, candidate = self._best(beside)
        for question in range(len(found)):
            unsure = candidate[question][found[question, candidate[question]] < 1]
            for first in range(0, len(unsure), self.links.rows):
                some = unsure[first : first + self.links.rows]
                links = self.links(some, back[question].expand(len(some)))
                found[question, some] = links.amax(dim=1)
        return found

    def proof(self, node: Node, answer: int, variable: str) -> list[Step]:
        """The links that an answer to one question rests on, from what was given to the answer.

        Of what must not hold, the links by which it would come closest to it.
        """
        match node:
            case Anchor() | Anything():
                return []
            case Without():
                if not self(node.part)[0, answer] > 0:
                    return []
                found = self.proof(node.part, answer, variable)
                return [replace(step, denied=not step.denied) for step in found]
            case Hop():
                return self._proof_of_hop(node, answer, variable)
            case Both():
                return [step for part in node.parts for step in self.proof(part, answer, variable)]
            case Either():
                truths = torch.stack([self(part)[0, answer] for part in node.parts])
                return self.proof(node.parts[int(truths.argmax())], answer, variable)

    def _proof_of_hop(self, node: Hop, answer: int, variable: str) -> list[Step]:
        head, truth = self._best_head(node, answer)
        known = bool((self._known_heads(node, answer) == head).any())
        step = Step(
            head=head,
            relation=int(node.relation),
            tail=answer,
            truth=truth,
            known=known,
            variables=(node.variable, variable),
        )
        return [*self.proof(node.source, head, node.variable), step]

    def _best_head(self, node: Hop, answer: int) -> tuple[int, float]:
        """The entity of the source from which an answer comes, and how true the link is."""
        links, known = self.links, self._known_heads(node, answer)
        if isinstance(node.source, Anchor):
            head = int(node.source.entity)
            return head, float(links(node.source.entity, node.relation)[0, answer])
        if isinstance(node.source, Anything):
            if len(known):
                return int(known[0]), 1.0
            back = inverse(node.relation, num_relations=links.num_relations)
            truth, head_ = links(torch.tensor([answer]), back).max(dim=1)
            return int(head_), float(truth)
        source = self(node.source)
        value, heads = (found[0] for found in self._best(source))
        link = torch.cat(
            [
                links(part, node.relation.expand(len(part)))[:, answer]
                for part in torch.split(heads, links.rows)
            ]
        )
        heads, value = torch.cat([heads, known]), torch.cat([value, source[0, known]])
        link = torch.cat([link, torch.ones(len(known))])
        best = int((value * link).argmax())
        return int(heads[best]), float(link[best])

    def _known_heads(self, node: Hop, answer: int) -> Int64[Tensor, " head"]:
        back = inverse(node.relation, num_relations=self.links.num_relations)
        return self.links.facts.tails(torch.tensor([answer]), back)[1]


def _is_open(node: Node) -> bool:
    return isinstance(node, Hop) and isinstance(node.source, Anything)
