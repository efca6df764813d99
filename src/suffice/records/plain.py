"""A record -> plain JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any


def as_json(record: Any) -> Any:
    """A record, or a collection of records, as what `json.dumps` takes; fields that are None are left out."""
    if isinstance(record, Enum):
        return record.value
    if is_dataclass(record) and not isinstance(record, type):
        pairs = ((f.name, getattr(record, f.name)) for f in fields(record))
        return {name: as_json(value) for name, value in pairs if value is not None}
    if isinstance(record, Mapping):
        return {key: as_json(value) for key, value in record.items()}
    if isinstance(record, Sequence) and not isinstance(record, str):
        return [as_json(value) for value in record]
    return record
