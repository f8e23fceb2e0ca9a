"""Generated objects of our kinds, drawn from the schemas of the CRDs, that keep to the rules in CEL, too."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from servicedb.api.crd import crds
from servicedb.api.credentials import SECRET_KEYS
from servicedb.api.roles import RESERVED
from servicedb.api.strings import Duration

from tests.api.examples import Manifest

_SPECS = {
    crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for crd in crds()
}

_LABELS = st.from_regex(r"([a-z]{1,9}\.[a-z]{2,3}/)?[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?", fullmatch=True)
_KEYS = {
    "parameters": st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,62}", fullmatch=True),
    "secretTemplate": st.from_regex(r"[-._a-zA-Z0-9]{1,253}", fullmatch=True).filter(
        lambda key: key not in SECRET_KEYS
    ),
    "secretLabels": _LABELS,
    "secretAnnotations": _LABELS,
    "matchLabels": _LABELS,
    "nodeSelector": _LABELS,
}


def server_manifests() -> SearchStrategy[Manifest]:
    return (
        _values(_SPECS["DatabaseServer"], "spec")
        .map(_consistent_server)
        .map(lambda spec: _manifest("DatabaseServer", {"name": "generated"}, spec))
    )


def database_manifests() -> SearchStrategy[Manifest]:
    return (
        _values(_SPECS["ServiceDatabase"], "spec")
        .map(_consistent_database)
        .map(lambda spec: _manifest("ServiceDatabase", {"name": "generated", "namespace": "default"}, spec))
    )


def run_manifests() -> SearchStrategy[Manifest]:
    return (
        _values(_SPECS["MigrationRun"], "spec")
        .map(_consistent_run)
        .map(lambda spec: _manifest("MigrationRun", {"name": "generated", "namespace": "default"}, spec))
    )


def schedule_manifests() -> SearchStrategy[Manifest]:
    return (
        _values(_SPECS["BackupSchedule"], "spec")
        .map(_consistent_schedule)
        .map(lambda spec: _manifest("BackupSchedule", {"name": "generated", "namespace": "default"}, spec))
    )


def backup_manifests() -> SearchStrategy[Manifest]:
    return (
        _values(_SPECS["DatabaseBackup"], "spec")
        .map(_consistent_backup)
        .map(lambda spec: _manifest("DatabaseBackup", {"name": "generated", "namespace": "default"}, spec))
    )


def restore_manifests() -> SearchStrategy[Manifest]:
    return (
        _values(_SPECS["DatabaseRestore"], "spec")
        .map(_consistent_restore)
        .map(lambda spec: _manifest("DatabaseRestore", {"name": "generated", "namespace": "default"}, spec))
    )


def policy_manifests() -> SearchStrategy[Manifest]:
    return (
        _values(_SPECS["RetentionPolicy"], "spec")
        .map(_consistent_policy)
        .map(lambda spec: _manifest("RetentionPolicy", {"name": "generated", "namespace": "default"}, spec))
    )


def _manifest(kind: str, metadata: dict[str, Any], spec: Any) -> Manifest:
    return {"apiVersion": "servicedb.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def _values(schema: dict[str, Any], name: str) -> SearchStrategy[Any]:
    match schema["type"]:
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "string":
            return _strings(schema)
        case "array":
            items = _values(schema["items"], name)
            keys = schema.get("x-kubernetes-list-map-keys")
            return st.lists(
                items,
                min_size=schema.get("minItems", 0),
                max_size=min(4, schema["maxItems"]),
                unique_by=(lambda item: tuple(item[key] for key in keys)) if keys else lambda item: item,
            )
        case "object" if "properties" in schema:
            parts = {part: _values(field, part) for part, field in schema["properties"].items()}
            required = {part: values for part, values in parts.items() if part in schema.get("required", ())}
            return st.fixed_dictionaries(
                required, optional={part: values for part, values in parts.items() if part not in required}
            )
        case _:
            values = _values(schema["additionalProperties"], name)
            return st.dictionaries(_KEYS[name], values, min_size=schema.get("minProperties", 0), max_size=4)


def _strings(schema: dict[str, Any]) -> SearchStrategy[str]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    shortest, longest = schema.get("minLength", 0), schema["maxLength"]
    if "pattern" in schema and not schema["pattern"].startswith("^[^"):
        drawn = st.from_regex(schema["pattern"].removesuffix("$"), fullmatch=True)
    else:
        drawn = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=shortest, max_size=min(longest, 80))
    return drawn.filter(lambda text: shortest <= len(text) <= longest and _fits(text, schema))


def _fits(text: str, schema: dict[str, Any]) -> bool:
    """The two rules in CEL that stand on strings: names of at most 63 bytes, and those that are taken."""
    return text not in RESERVED and ("x-kubernetes-validations" not in schema or len(text.encode()) <= 63)


def _consistent_server(spec: dict[str, Any]) -> dict[str, Any]:
    tls = spec.get("tls", {})
    if tls.get("mode", "VerifyFull") in {"Disable", "Require"}:
        tls.pop("caSecretRef", None)
    elif tls.get("mode") == "VerifyCA":
        tls.setdefault("caSecretRef", {"namespace": "servicedb-system", "name": "ca"})
    if allowed := spec.get("allowedNamespaces"):
        selector = allowed.pop("selector", None) or {}
        names = allowed.pop("names", ["kyc"])
        if allowed["from"] == "Names":
            allowed["names"] = names
        elif allowed["from"] == "Selector":
            for expression in selector.get("matchExpressions", ()):
                if expression["operator"] in {"Exists", "DoesNotExist"}:
                    expression.pop("values", None)
                elif not expression.get("values"):
                    expression["values"] = ["x"]
            some = selector.get("matchExpressions") or selector.get("matchLabels")
            allowed["selector"] = selector if some else {"matchLabels": {"team": "kyc"}}
    return spec


def _consistent_database(spec: dict[str, Any]) -> dict[str, Any]:
    if spec.get("localeProvider") in {"ICU", "Builtin"}:
        spec.setdefault("locale", "C.UTF-8")
    roles = spec["roles"]
    logins = [roles[name] for name in ("app", "migrator", "readOnly") if name in roles] + roles.get("extra", [])
    for field in ("secretName", "loginName"):
        seen: set[str] = set()
        for number, login in enumerate(logins):
            if login.get(field) in seen:
                login[field] = f"another{number}"
            seen.add(login.get(field, ""))
    credentials = spec.get("credentials", {})
    if "rotateEvery" in credentials:
        overlap = Duration(credentials.get("overlap", "1h")).timedelta
        if overlap >= Duration(credentials["rotateEvery"]).timedelta:
            credentials |= {"rotateEvery": "2d", "overlap": "1d"}
    return spec


def _consistent_run(spec: dict[str, Any]) -> dict[str, Any]:
    _keep_one(spec["source"], ("configMaps", "image", "inline"), [{"name": "migrations"}])
    if tenants := spec.get("tenants"):
        _keep_one(tenants, ("pattern", "list", "query"), "tenant_%")
    elif "tenants" in spec:
        del spec["tenants"]
    if spec.get("action") == "Down" and spec.get("target", "Latest") == "Latest":
        spec["target"] = "0"
    if spec.get("action") in {"Seed", "ClearSeeds"}:
        spec.setdefault("seeds", {"environment": "dev"})
    if (adopted := spec.get("adoptHistory", {})).get("format") == "Table":
        adopted |= {"table": "versions", "versionColumn": "version"}
    else:
        for column in ("versionColumn", "nameColumn"):
            adopted.pop(column, None)
    return spec


def _consistent_schedule(spec: dict[str, Any]) -> dict[str, Any]:
    if spec.get("databaseRefs"):
        spec.pop("selector", None)
    elif "selector" not in spec:
        spec["databaseRefs"] = [{"name": "onboarding"}]
    for place in (spec["storage"], *spec.get("copies", ())):
        _keep_one(place, ("s3", "volume"), {"bucket": "backups"})
    rules = ("keepLast", "keepWithin", "keepDaily", "keepWeekly", "keepMonthly")
    if "retention" in spec and not any(rule in spec["retention"] for rule in rules):
        spec["retention"]["keepLast"] = 1
    if "verify" in spec and "encryption" in spec:
        spec["encryption"].setdefault("identitySecretRef", {"name": "identity"})
    return spec


def _consistent_backup(spec: dict[str, Any]) -> dict[str, Any]:
    if "key" not in spec:
        spec.setdefault("databaseRef", {"name": "onboarding"})
    if "storage" in spec:
        _keep_one(spec["storage"], ("s3", "volume"), {"bucket": "backups"})
    else:
        spec.setdefault("scheduleRef", {"name": "nightly"})
        spec.pop("encryption", None)
    return spec


def _consistent_restore(spec: dict[str, Any]) -> dict[str, Any]:
    source = spec["source"]
    if "key" in source and "storage" in source:
        source.pop("backupRef", None)
        _keep_one(source["storage"], ("s3", "volume"), {"bucket": "backups"})
    else:
        spec["source"] = {"backupRef": source.get("backupRef", {"name": "nightly"})}
    return spec


def _consistent_policy(spec: dict[str, Any]) -> dict[str, Any]:
    for rule in spec["rules"]:
        if rule.get("archive") is False:
            rule.pop("archiveAfter", None)
            rule.pop("dropArchiveAfter", None)
        if "archiveAfter" not in rule and "deleteAfter" not in rule:
            rule["deleteAfter"] = "1d"
        ages = [Duration(rule[name]).timedelta for name in ("archiveAfter", "deleteAfter") if name in rule]
        if ages[0] > ages[-1]:
            del rule["deleteAfter"]
        if "dropArchiveAfter" in rule and Duration(rule["dropArchiveAfter"]).timedelta <= max(ages):
            del rule["dropArchiveAfter"]
        if "where" in rule:
            rule["where"] = rule["where"].replace(";", ",")
            rule.pop("partition", None)
    if any(rule.get("archive") is not False for rule in spec["rules"]):
        spec.setdefault("archive", {"storage": {}})
    for place in (spec["archive"]["storage"], *spec["archive"].get("copies", ())) if "archive" in spec else ():
        _keep_one(place, ("s3", "volume"), {"bucket": "archives"})
    return spec


def _keep_one(part: dict[str, Any], choices: tuple[str, ...], otherwise: Any) -> None:
    """Of `choices` leave the first that `part` has; where it has none, the first is `otherwise`."""
    there = [choice for choice in choices if choice in part]
    for choice in there[1:]:
        del part[choice]
    if not there:
        part[choices[0]] = otherwise
