"""The chart's files: what it has of the manifests is theirs, and what can be set is described."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic.alias_generators import to_camel
from servicedb.settings import Settings

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "helm" / "servicedb"
MANIFESTS: Final = ROOT / "manifests"
COPIES: Final = {
    "aggregated-roles.yaml": MANIFESTS / "operator" / "aggregated-roles.yaml",
    "policy.yaml": MANIFESTS / "operator" / "policy.yaml",
    "rbac.yaml": MANIFESTS / "operator" / "rbac.yaml",
    "all-namespaces.yaml": MANIFESTS / "rbac" / "all-namespaces.yaml",
    "confirm-delete.yaml": MANIFESTS / "components" / "confirm-delete" / "policy.yaml",
    **{f"crds/{file.name}": file for file in (ROOT / "crds").glob("*.yaml")},
}
"""By the name in the chart's folder files: `make crds` copies them."""
SCHEMA: Final = json.loads((CHART / "values.schema.json").read_text())
VALUES: Final = yaml.safe_load((CHART / "values.yaml").read_text())
SET_BY_THE_CHART: Final = {"namespace", "pod"}


def test_the_chart_has_the_manifests_own_text() -> None:
    files = CHART / "files"
    found = {str(file.relative_to(files)): file.read_text() for file in files.rglob("*.yaml")}
    assert found == {name: source.read_text() for name, source in COPIES.items()}, "run `make crds`"


def test_each_setting_of_the_operator_can_be_given_as_a_value() -> None:
    settings = {to_camel(field.name) for field in fields(Settings)} - SET_BY_THE_CHART
    assert set(SCHEMA["properties"]["settings"]["properties"]) == settings


def test_what_the_schema_allows_has_a_default_and_the_other_way_round() -> None:
    free = {"global", "settings"}

    def names(schema: dict[str, Any], prefix: str = "") -> set[str]:
        found = set()
        for name, part in schema["properties"].items():
            if name not in free:
                found |= names(part, f"{prefix}{name}.") if "properties" in part else {f"{prefix}{name}"}
        return found

    def given(values: dict[str, Any], prefix: str = "") -> set[str]:
        found = set()
        for name, value in values.items():
            if name not in free:
                deeper = isinstance(value, dict) and value and name != "resources"
                found |= given(value, f"{prefix}{name}.") if deeper else {f"{prefix}{name}"}
        return found

    assert given(VALUES) == names(SCHEMA)


def test_every_value_is_described_in_the_readme() -> None:
    readme = (CHART / "README.md").read_text()
    assert not [name for name in VALUES if f"`{name}" not in readme]


def test_the_readme_describes_no_other_value() -> None:
    rows = [line for line in (CHART / "README.md").read_text().splitlines() if line.startswith("| `")]
    described = {name.split("`")[0].split(".")[0] for row in rows for name in row.split("|")[1].split("`")[1::2]}
    assert described == set(VALUES)


def test_the_chart_is_of_the_packages_version() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert f'version = "{chart["appVersion"]}"' in project
