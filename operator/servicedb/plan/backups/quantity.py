"""Amounts as Kubernetes writes them. Source: Kubernetes documentation, "Quantity"."""

from decimal import Decimal
from typing import Final

_UNITS: Final = {
    "m": Decimal("0.001"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
}


def in_bytes(quantity: str) -> int:
    """`quantity`, such as 50Gi, in bytes."""
    number = quantity.rstrip("mkMGi")
    return int(Decimal(number) * _UNITS[quantity[len(number) :]])
