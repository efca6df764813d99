"""What this rank can't change -> what no rank changes, of the changes that all ranks make or none.

Nothing is exchanged in the job's own streams: each rank writes its refusals into the store where the ranks met. The
first that has seen those of all, or that has waited too long, proposes what nobody does; the store takes one proposal,
and every rank obeys that one.

Source: torch.distributed, `Store.compare_set`.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from ..process import rank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

PATIENCE_S = 60.0
KEY = "suffice/refused/{}"


def refused_by_any(torch: Any, ids: Sequence[str], refused: Mapping[str, str]) -> dict[str, str]:
    """The reason of each of the changes that some rank goes without; `refused` are this one's."""
    number, ranks = rank(torch)
    if ranks == 1:
        return dict(refused)
    try:
        store = torch.distributed.distributed_c10d._get_default_store()
    except Exception:
        return dict.fromkeys(ids, "the ranks have not met yet, and could not agree on it")
    store.set(KEY.format(number), json.dumps(refused))
    keys = [KEY.format(each) for each in range(ranks)]
    try:
        store.wait(keys, timedelta(seconds=PATIENCE_S))
    except Exception:  # its class differs between the versions of torch
        proposed = dict.fromkeys(ids, "not every rank had begun to train within {:.0f} s".format(PATIENCE_S))
    else:
        proposed = {
            change_id: "on rank {}: {}".format(each, reason)
            for each, key in reversed(list(enumerate(keys)))
            for change_id, reason in json.loads(store.get(key)).items()
        }
    return dict(json.loads(store.compare_set(KEY.format("all"), "", json.dumps(proposed))))
