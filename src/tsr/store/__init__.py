"""The store: every finished stage under its key, in folders that a person can read."""

from tsr.store.describe import Item
from tsr.store.entries import Entry
from tsr.store.errors import (
    Busy,
    Damaged,
    LostClaim,
    Missing,
    NoSuchKey,
    NoSuchSweep,
    NotPlain,
    NotVisible,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreTooNew,
)
from tsr.store.files import write_atomic
from tsr.store.store import Made, Store

__all__ = [
    "Busy",
    "Damaged",
    "Entry",
    "Item",
    "LostClaim",
    "Made",
    "Missing",
    "NoSuchKey",
    "NoSuchSweep",
    "NotPlain",
    "NotVisible",
    "Store",
    "StoreError",
    "StoreFull",
    "StoreReadOnly",
    "StoreTooNew",
    "write_atomic",
]
