"""Which namespaces a DatabaseServer allows."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from servicedb.api.common import Part
from servicedb.api.schema import LIST_SET, Rule, list_map, validations
from servicedb.api.strings import LabelKeyed, LabelValue, Namespace

NamespacesFrom = Literal["All", "Selector", "Names"]


class SelectorExpression(Part):
    """One requirement on a namespace's labels."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            Rule(
                "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
                "In and NotIn need values, Exists and DoesNotExist take none: add or remove the values",
            )
        )
    )

    key: Annotated[str, Field(description="Name of the label.", min_length=1, max_length=317)]
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "DoesNotExist"],
        Field(description="How the label's value relates to the values."),
    ]
    values: Annotated[
        tuple[LabelValue, ...],
        Field(
            description="Values for In and NotIn; none for Exists and DoesNotExist.",
            max_length=64,
            json_schema_extra=LIST_SET,
        ),
    ] = ()


class NamespaceSelector(Part):
    """Which labels a namespace has to carry."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            Rule(
                "(has(self.matchLabels) && self.matchLabels.size() > 0) || "
                "(has(self.matchExpressions) && self.matchExpressions.size() > 0)",
                "an empty selector would allow every namespace: "
                "give matchLabels or matchExpressions, or set spec.allowedNamespaces.from to All",
            )
        )
    )

    match_labels: Annotated[
        dict[str, LabelValue],
        LabelKeyed,
        Field(description="Labels that the namespace has to carry, all of them.", max_length=32),
    ] = Field(default_factory=dict)
    match_expressions: Annotated[
        tuple[SelectorExpression, ...],
        Field(
            description="Requirements on the namespace's labels, all of which have to be met.",
            max_length=32,
            json_schema_extra=list_map("key", "operator"),
        ),
    ] = ()


class AllowedNamespaces(Part):
    """Which namespaces may have databases here."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            Rule(
                "(self.from == 'Selector') == has(self.selector)",
                "spec.allowedNamespaces.selector belongs to from: Selector, and to no other: add it or remove it",
            ),
            Rule(
                "(self.from == 'Names') == has(self.names)",
                "spec.allowedNamespaces.names belongs to from: Names, and to no other: add it or remove it",
            ),
        )
    )

    from_: Annotated[
        NamespacesFrom,
        Field(
            alias="from",
            description="All: every namespace. Selector: those whose labels match selector. Names: those in names.",
        ),
    ]
    selector: Annotated[
        NamespaceSelector | None, Field(description="The labels that allow a namespace, for from: Selector.")
    ] = None
    names: Annotated[
        tuple[Namespace, ...] | None,
        Field(
            description="The namespaces that are allowed, for from: Names.",
            min_length=1,
            max_length=1000,
            json_schema_extra=LIST_SET,
        ),
    ] = None
