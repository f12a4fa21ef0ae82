"""What a run's record says of its terms, and the terms made of that again."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from consilience.elicitation.called import called
from consilience.errors import InputError
from consilience.objective.coherence import default_terms, find_term
from consilience.objective.term import Terms


def terms_from(record: Mapping[str, Any]) -> Terms:
    """The terms of a record, name → (weight, what its function is called).

    InputError where one is not what goes by its name today.
    """
    made = {}
    for name, (weight, function) in record.items():
        made[name] = find_term(name).at(weight)
        if called(made[name].function) != function:
            raise InputError(f"the term {name!r} was {function}, which its name does not give")
    return made


def terms_of_run(record: Mapping[str, Any]) -> Terms:
    """The terms that a run was solved by; the default ones where its record cannot give them back.

    A warning says so then: functions of the user's own are not in a store.
    """
    try:
        return terms_from(record["terms"])
    except InputError as error:
        warnings.warn(
            f"{error}; solved by the default terms, where no `terms` are given", stacklevel=4
        )
        return default_terms()
