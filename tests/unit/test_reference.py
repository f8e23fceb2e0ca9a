"""The reference: what is checked in is what the models say, and all of it."""

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from servicedb.api import common
from servicedb.api.crd import crds
from servicedb.api.schema import VALIDATIONS
from servicedb.cli import main
from servicedb.plan.parameters import ALLOWED
from servicedb.reference import ANNOTATIONS, reference_files

ROOT = Path(__file__).parents[2]
CHECKED_IN = ROOT / "docs" / "reference"
PAGES = [(crd, reference_files()[f"{crd['spec']['names']['singular']}.md"]) for crd in crds()]


def schema_of(crd: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def every(schema: dict[str, Any], path: str) -> list[tuple[str, dict[str, Any]]]:
    """Each field in `schema`, with its path."""
    found = []
    for name, field in schema.get("properties", {}).items():
        found += [(f"{path}.{name}", field), *every(field, f"{path}.{name}")]
    return found + (every(schema["items"], f"{path}[]") if "items" in schema else [])


def test_the_checked_in_files_are_current() -> None:
    there = {file.name: file.read_text() for file in CHECKED_IN.glob("*.md")}
    assert there == reference_files(), "run `make crds`, and commit the files"


def test_the_command_writes_them(tmp_path: Path) -> None:
    CliRunner().invoke(main, ["reference", "--write", str(tmp_path / "new")], catch_exceptions=False)
    assert {file.name: file.read_text() for file in (tmp_path / "new").iterdir()} == reference_files()


@pytest.mark.parametrize(("crd", "page"), PAGES, ids=[crd["spec"]["names"]["singular"] for crd, _ in PAGES])
def test_every_field_has_one_row_with_its_description(crd: dict[str, Any], page: str) -> None:
    rows = [line for line in page.splitlines() if line.startswith(("| `spec.", "| `status."))]
    fields = [field for part in ("spec", "status") for field in every(schema_of(crd)["properties"][part], part)]
    assert [row.split("`")[1] for row in rows] == [path for path, _ in fields]
    for row, (_, field) in zip(rows, fields, strict=True):
        assert field["description"].replace("<", "&lt;").replace("|", "\\|") in row


@pytest.mark.parametrize(("crd", "page"), PAGES, ids=[crd["spec"]["names"]["singular"] for crd, _ in PAGES])
def test_every_rule_is_said(crd: dict[str, Any], page: str) -> None:
    def messages(value: object) -> list[str]:
        match value:
            case dict():
                own = [rule["message"] for rule in value.get(VALIDATIONS, ())]
                return own + [message for part in value.values() for message in messages(part)]
            case list():
                return [message for part in value for message in messages(part)]
        return []

    found = messages(schema_of(crd))
    assert found
    assert [message for message in found if message.replace("<", "&lt;") not in page] == []


@pytest.mark.parametrize(("crd", "page"), PAGES, ids=[crd["spec"]["names"]["singular"] for crd, _ in PAGES])
def test_every_row_of_a_table_has_as_many_cells_as_its_head(crd: dict[str, Any], page: str) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table


def test_every_annotation_is_explained() -> None:
    names = {
        value
        for value in vars(common).values()
        if isinstance(value, str) and value.startswith(f"{common.GROUP}/") and value != common.API_VERSION
    }
    assert set(ANNOTATIONS) == names
    pages = "".join(page for _, page in PAGES)
    assert all(f"| `{name}` |" in pages for name in names)


def test_every_parameter_that_may_be_set_is_listed() -> None:
    page = reference_files()["servicedatabase.md"]
    assert [name for name in ALLOWED if f"`{name}`" not in page] == []
    assert "docs/reference/servicedatabase.md" in (ROOT / "operator/servicedb/plan/parameters.py").read_text()
