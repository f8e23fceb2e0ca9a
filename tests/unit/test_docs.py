"""The documentation says what the code says."""

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "operator" / "servicedb"
PROBLEMS = {"Retryable", "Busy", "Terminal", "NeedsDecision"}


def reasons_in_code() -> set[str]:
    """The first argument of every Problem that is raised, and the reasons of refused connections."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(reason)), *_]) if name in PROBLEMS:
                    found.add(reason)
    connections = (PACKAGE / "postgres" / "connections.py").read_text()
    found |= set(re.findall(r'^    \("[^"]+", "([A-Z]\w+)", ', connections, re.MULTILINE))
    return found


def test_the_code_has_the_reasons_that_this_test_looks_for():
    assert {"Conflict", "ServerUnreachable", "CertificateRejected", "LockBusy"} <= reasons_in_code()


@pytest.mark.parametrize("reason", sorted(reasons_in_code()))
def test_every_reason_is_explained(reason):
    rows = [line.split("|")[1] for line in (ROOT / "docs" / "conditions.md").read_text().splitlines() if "|" in line]
    assert any(reason in re.findall(r"\w+", row) for row in rows if row.strip())


def test_every_setting_is_explained():
    from servicedb.settings import Settings

    text = (ROOT / "docs" / "install.md").read_text()
    missing = [name for name in Settings.__slots__ if f"SERVICEDB_{name.upper()}" not in text]
    assert not missing


def test_every_link_between_documents_leads_somewhere():
    broken = []
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        text = re.sub(r"`[^`\n]*`", "", path.read_text()) if path.exists() else ""  # brackets in code are no link
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
            if "://" not in target and not (path.parent / target).exists():
                broken.append(f"{path.name}: {target}")
    assert not broken


def test_every_right_of_the_operators_is_explained_and_no_other():
    rules = [
        (", ".join(rule["resources"]), ", ".join(rule["verbs"]))
        for document in yaml.safe_load_all((ROOT / "manifests" / "operator" / "rbac.yaml").read_text())
        for rule in document.get("rules", ())
    ]
    section = (
        (ROOT / "docs" / "security.md").read_text().partition("## What the operator may do")[2].partition("\n## ")[0]
    )
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in section.splitlines() if line.startswith("| ")]
    assert [(what.partition(", in ")[0], verbs) for what, verbs in rows[1:]] == rules
