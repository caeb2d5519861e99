"""What a person sees: tables and sentences for the terminal."""

from kgscale.tasks.show.answers import asked, batch, hardness, questions, reasons
from kgscale.tasks.show.audits import (
    audit_ingest,
    audit_pairs,
    audit_relations,
    audit_shape,
    audit_splits,
    audit_verdict,
)
from kgscale.tasks.show.graphs import content, graph
from kgscale.tasks.show.links import (
    coverage,
    evaluation,
    evaluation_content,
    form,
    inductive,
    official,
    outcome,
    predictions,
    rule,
)
from kgscale.tasks.show.lists import (
    cold_items,
    items,
    items_evaluation,
    items_evaluation_content,
    items_outcome,
    pairs_outcome,
)
from kgscale.tasks.show.nodes import (
    labels,
    node_evaluation,
    node_evaluation_content,
    node_outcome,
    number_evaluation,
    number_evaluation_content,
    number_outcome,
    numbers,
)
from kgscale.tasks.show.terminal import busy, console, sentence, short, size
from kgscale.tasks.show.training import probabilities, report

__all__ = [
    "asked",
    "audit_ingest",
    "audit_pairs",
    "audit_relations",
    "audit_shape",
    "audit_splits",
    "audit_verdict",
    "batch",
    "busy",
    "cold_items",
    "console",
    "content",
    "coverage",
    "evaluation",
    "evaluation_content",
    "form",
    "graph",
    "hardness",
    "inductive",
    "items",
    "items_evaluation",
    "items_evaluation_content",
    "items_outcome",
    "labels",
    "node_evaluation",
    "node_evaluation_content",
    "node_outcome",
    "number_evaluation",
    "number_evaluation_content",
    "number_outcome",
    "numbers",
    "official",
    "outcome",
    "pairs_outcome",
    "predictions",
    "probabilities",
    "questions",
    "reasons",
    "report",
    "rule",
    "sentence",
    "short",
    "size",
]
