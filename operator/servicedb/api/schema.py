"""What a CRD's schema knows and pydantic has no word for: rules in CEL, list types, printer columns."""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic.config import JsonDict

VALIDATIONS = "x-kubernetes-validations"


@dataclass(frozen=True, slots=True)
class Rule:
    """One CEL rule; `message` is the sentence a user reads: what is wrong and what to do.

    `message_expression` is the same sentence with values in it; `message` is said where that fails.
    """

    rule: str
    message: str
    message_expression: str | None = None

    def as_schema(self) -> JsonDict:
        schema: JsonDict = {"rule": self.rule, "message": self.message}
        if self.message_expression is not None:
            schema["messageExpression"] = self.message_expression
        return schema


def validations(*rules: Rule) -> JsonDict:
    """`rules` as extra schema of a model or a field."""
    return {VALIDATIONS: [rule.as_schema() for rule in rules]}


def immutable(field: str, message: str) -> Rule:
    """`field` never changes, not from unset to set and not back.

    It belongs on the object that holds `field`: a rule on an optional field itself is never asked
    when the field comes or goes.
    """
    here, before = f"self.{field}", f"oldSelf.{field}"
    return Rule(f"has({here}) == has({before}) && (!has({here}) || {here} == {before})", message)


def list_map(*keys: str) -> JsonDict:
    """A list of objects that is merged by `keys`, each of which may stand in it once."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


LIST_SET: JsonDict = {"x-kubernetes-list-type": "set"}
LIST_ATOMIC: JsonDict = {"x-kubernetes-list-type": "atomic"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`; a wide one is shown with `-o wide` only."""

    name: str
    path: str
    description: str
    type: Literal["string", "integer", "boolean", "date"] = "string"
    wide: bool = False

    def as_schema(self) -> dict[str, Any]:
        column: dict[str, Any] = {
            "name": self.name,
            "type": self.type,
            "jsonPath": self.path,
            "description": self.description,
        }
        return column | {"priority": 1} if self.wide else column


READY = Column("Ready", '.status.conditions[?(@.type=="Ready")].status', "True, False or Unknown")
STATUS = Column("Status", '.status.conditions[?(@.type=="Ready")].reason', "Why Ready is what it is")
MESSAGE = Column(
    "Message", '.status.conditions[?(@.type=="Ready")].message', "What is wrong, and what to do", wide=True
)
AGE = Column("Age", ".metadata.creationTimestamp", "Time since the object was made", "date")


@dataclass(frozen=True, slots=True)
class Resource:
    """How the API server serves a kind."""

    kind: str
    plural: str
    short_name: str
    namespaced: bool
    description: str
    columns: tuple[Column, ...]
    selectable_fields: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def singular(self) -> str:
        return self.kind.lower()
