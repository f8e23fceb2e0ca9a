"""`python -m tests.bench [name ...]`: run the benchmarks, print their table, write build/bench.jsonl."""

import sys
from collections.abc import Callable, Iterator

from tests.bench import backups, dump, idle, migrate, provision, retain, scale
from tests.bench.report import Row, publish

_BENCHES: dict[str, Callable[[], Iterator[Row]]] = {
    "provision": provision.rows,
    "idle": idle.rows,
    "scale": scale.rows,
    "migrate": migrate.rows,
    "backups": backups.rows,
    "dump": dump.rows,
    "retain": retain.rows,
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in _BENCHES]
    if unknown:
        print(f"there is no benchmark {unknown[0]}; there are {', '.join(_BENCHES)}", file=sys.stderr)
        return 2
    rows = []
    for name in names or _BENCHES:
        print(f"{name} ...", flush=True)
        rows += list(_BENCHES[name]())
    return 0 if publish(rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
