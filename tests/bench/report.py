"""A benchmark's rows: a ratio against a reference that was measured in the same run, and its limit."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

BUILD = Path(__file__).parents[2] / "build"


@dataclass(frozen=True, slots=True)
class Row:
    """`ratio` is ours / reference. `limit` bounds the ratio: from below where higher is better, else from above."""

    bench: str
    case: str
    ours: float
    reference: float
    unit: str
    better: Literal["higher", "lower"]
    limit: float | None

    @property
    def ratio(self) -> float:
        return self.ours / self.reference if self.reference else float("inf")

    @property
    def held(self) -> bool:
        if self.limit is None:
            return True
        return self.ratio >= self.limit if self.better == "higher" else self.ratio <= self.limit


def publish(rows: Sequence[Row]) -> bool:
    """Print the table, write build/bench.jsonl, a row a case; whether every limit was held."""
    table = Table("bench", "case", "ours", "reference", "unit", "ratio", "limit", "", title="servicedb benchmarks")
    for row in rows:
        limit = "-" if row.limit is None else f"{'>=' if row.better == 'higher' else '<='} {row.limit:g}"
        verdict = "" if row.limit is None else "held" if row.held else "MISSED"
        figures = (f"{row.ours:.4g}", f"{row.reference:.4g}", row.unit, f"{row.ratio:.2f}", limit, verdict)
        table.add_row(row.bench, row.case, *figures)
    Console(width=140).print(table)
    BUILD.mkdir(exist_ok=True)
    lines = [json.dumps({**asdict(row), "ratio": round(row.ratio, 4)}) for row in rows]
    (BUILD / "bench.jsonl").write_text("\n".join(lines) + "\n")
    return all(row.held for row in rows)
