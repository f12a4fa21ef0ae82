"""The factor graph of a run with what its rows are: ids, texts and labels as the user has them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from consilience.results.result import Found
from consilience.solvers.factor_graph import to_networkx

if TYPE_CHECKING:
    import networkx

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML may hold, whatever stands for them."""


def evidence_graph(found: Found) -> networkx.Graph:
    """The graph of `to_networkx`, its examples with the user's `id`, `text`, `group`, `name`.

    `name` is the class of the label, `open` whether it is open, and `corrected` whether the user
    said it. Characters that GraphML cannot hold are shown as U+FFFD, so that
    `networkx.write_graphml` writes what every reader of XML takes. MissingExtra without networkx.
    """
    graph = to_networkx(found.evidence, found.solution, found.terms)
    data, labels = found.dataset, found.labels
    opened, names = labels["open"].to_list(), labels["name"].to_list()
    for i, example in enumerate(data.examples):
        said = {"id": data.own_id(example.id), "text": example.text, "group": example.group or ""}
        said["name"] = names[i] if isinstance(names[i], str) else ""
        shown = {key: _NOT_XML.sub("\ufffd", value) for key, value in said.items()}
        marks = {"open": bool(opened[i]), "corrected": example.id in found.corrections}
        graph.add_node(example.id, **shown, **marks)
    return graph
