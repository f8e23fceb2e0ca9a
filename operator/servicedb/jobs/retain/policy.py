"""The policy that a run follows: a RetentionPolicy, or only its spec, as YAML or JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from servicedb.api.common import Unreadable
from servicedb.api.retention_policy import RetentionPolicy, RetentionPolicySpec
from servicedb.errors import Terminal


def read_policy(file: Path) -> str:
    """What `file` holds. Raises Terminal where it can't be read."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Terminal("InvalidPolicy", f"the policy in {file} can't be read: {error}") from error


def policy_spec(text: str) -> RetentionPolicySpec:
    """The spec in `text`. Raises Terminal where it is none.

    A spec alone may leave out what only the operator needs: which object the database is of, and when to run.
    """
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise Terminal("InvalidPolicy", f"the policy is neither YAML nor JSON{where}") from error
    if not isinstance(found, Mapping):
        raise Terminal("InvalidPolicy", "the policy is no RetentionPolicy, and no spec of one")
    spec: Any = found.get("spec") if found.get("kind") == "RetentionPolicy" else found
    if not isinstance(spec, Mapping):
        raise Terminal("InvalidPolicy", "the RetentionPolicy has no spec")
    whole = {"databaseRef": {"name": "database"}, "schedule": "@daily", **spec}
    try:
        return RetentionPolicy.parse({"metadata": {"namespace": "default", "name": "policy"}, "spec": whole}).spec
    except Unreadable as error:
        raise Terminal("InvalidPolicy", str(error)) from error
