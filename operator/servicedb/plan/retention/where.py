"""What the `where` of a rule may be: one condition on one row."""

from servicedb.plan.migrations.lexer import tokens

_SUBSELECT = frozenset({"select", "with", "values", "table"})
_REFUSED = {
    "semicolon": "a semicolon",
    "comment": "a comment",
    "block": "a comment",
    "dollar": "a string in dollars",
    "backslash": "a backslash",
    "unended": "a string or quoted name without its end",
    "parameter": "a parameter",
}


def where_fault(text: str) -> str | None:
    """Why `text` can't be a rule's condition, as the end of a sentence; None where it can.

    It is put into parentheses and run with the rights of a login that may delete from the tables of the policy, so
    nothing in it may end them, and nothing may look into another table.
    """
    depth = words = 0
    for kind, token in tokens(text.encode()):
        if kind in _REFUSED:
            return f"where holds {_REFUSED[kind]}; write one condition without it"
        if kind == "word" and token.lower() in _SUBSELECT:
            return f"where holds {token.upper()}: a sub-select is not possible; name columns of the row alone"
        depth += {"open": 1, "close": -1}.get(kind, 0)
        words += kind not in {"space", "open", "close"}
        if depth < 0:
            break
    if depth != 0:
        return "the parentheses of where don't match; write one condition"
    return None if words else "where is empty; leave it out, or write a condition"
