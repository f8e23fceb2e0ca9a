"""The Jobs of backups: what they mount, what they are asked, and when they begin."""

import json
from typing import Any

import click
import pytest
from servicedb.api.backup_schedule import BackupSchedule
from servicedb.cli import main
from servicedb.plan.backups import command
from servicedb.plan.backups.location import Use, locations, same_place
from servicedb.plan.backups.pod import (
    DATABASE,
    LONGEST_NAME,
    OWNER_UID,
    SPEC_HASH,
    Owner,
    Task,
    Timing,
    cron_job,
    differs,
    hashed_name,
    job,
)
from servicedb.plan.job_pod import Endpoint

from tests.api.examples import FULL_SCHEDULE, GONE, MINIMAL_SCHEDULE, Manifest, changed

ENDPOINT = Endpoint("pg.example.org", 5432, "onboarding", "verify-full", "-----BEGIN CERTIFICATE-----")
KEY = "7460912309412309412-16384/20260301T020000Z-0123abcd/manifest.json"


def schedule(manifest: Manifest = FULL_SCHEDULE, changes: dict[str, Any] | None = None) -> BackupSchedule:
    return BackupSchedule.parse(changed(manifest, {"metadata.uid": "schedule-1", **(changes or {})}))


def task(of: BackupSchedule, **changes: Any) -> Task:
    places = locations(of.spec, "Write")
    line = command.backup(
        places,
        compression=of.spec.compression,
        parallel=of.spec.parallel,
        encryption=of.spec.encryption,
        as_role="onboarding__owner",
        wait=of.spec.deadline,
        spread=of.spec.spread,
        spread_key="kyc/onboarding",
    )
    fields: dict[str, Any] = {
        "work": "backup",
        "owner": Owner("BackupSchedule", "kyc", "nightly", "schedule-1"),
        "arguments": line,
        "image": "servicedb:1",
        "settings": of.spec.job,
        "deadline": of.spec.deadline,
        "locations": places,
        "login": "onboarding-backup",
        "endpoint": ENDPOINT,
        "notes": {DATABASE: "onboarding"},
    }
    return Task(**(fields | changes))


def pod_of(manifest: Manifest) -> Manifest:
    pod: Manifest = manifest["spec"]["template"]["spec"]
    return pod


def secrets_of(pod: Manifest) -> set[tuple[str, str]]:
    """The Secrets that the pod mounts, with the keys."""
    return {
        (source["secret"]["name"], item["key"])
        for volume in pod["volumes"]
        for source in volume.get("projected", {}).get("sources", ())
        if "secret" in source
        for item in source["secret"]["items"]
    }


def test_a_backup_sees_its_login_and_the_keys_to_write_and_no_others() -> None:
    pod = pod_of(job(task(schedule()), "x"))
    assert {name for name, _ in secrets_of(pod)} == {"onboarding-backup", "backups-write"}
    assert {key for name, key in secrets_of(pod) if name == "onboarding-backup"} == {"user", "password"}


def test_the_private_key_is_mounted_where_it_is_named_and_nowhere_else() -> None:
    assert "backups-identity" not in json.dumps(job(task(schedule()), "x"))
    pod = pod_of(job(task(schedule(), work="verify", identity="backups-identity"), "x"))
    assert ("backups-identity", "identity") in secrets_of(pod)


@pytest.mark.parametrize(
    ("use", "secret"), [("Write", "backups-write"), ("Read", "backups-read"), ("Prune", "backups-prune")]
)
def test_each_use_has_its_own_keys(use: Use, secret: str) -> None:
    of = schedule()
    pod = pod_of(job(task(of, locations=locations(of.spec, use), login=None, endpoint=None), "x"))
    assert {name for name, _ in secrets_of(pod)} == {secret}


def test_where_there_is_one_secret_it_is_used_for_everything() -> None:
    of = schedule(MINIMAL_SCHEDULE)
    uses: tuple[Use, ...] = ("Write", "Read", "Prune")
    for use in uses:
        pod = pod_of(job(task(of, locations=locations(of.spec, use), login=None), "x"))
        assert {name for name, _ in secrets_of(pod)} == {"backups"}


def test_without_a_secret_the_pods_own_identity_is_used() -> None:
    of = schedule(MINIMAL_SCHEDULE, {"spec.storage.s3.writeSecretRef": GONE})
    (place,) = locations(of.spec, "Write")
    assert (place.credentials, place.volume) == (None, None)


def test_nothing_secret_stands_in_the_manifest_and_the_address_is_the_servers() -> None:
    manifest = job(task(schedule()), "x")
    annotations = manifest["spec"]["template"]["metadata"]["annotations"]
    assert annotations["connection.servicedb.io/host"] == "pg.example.org"
    assert "--secret=/run/servicedb/credentials" in pod_of(manifest)["containers"][0]["args"]


def test_the_pod_is_restricted_and_has_no_token() -> None:
    pod = pod_of(job(task(schedule()), "x"))
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert "env" not in container


def test_a_volume_is_only_read_by_what_only_reads() -> None:
    of = schedule(MINIMAL_SCHEDULE, {"spec.storage": {"volume": {"claimName": "backups", "path": "kyc"}}})
    uses: tuple[tuple[Use, bool], ...] = (("Write", False), ("Read", True), ("Prune", False))
    for use, read_only in uses:
        (place,) = locations(of.spec, use)
        assert place.url == "file:///run/servicedb/stores/0"
        assert place.mount is not None
        assert place.mount["subPath"] == "kyc"
        assert place.mount["readOnly"] is read_only


def test_the_address_of_a_bucket_says_all_that_is_needed() -> None:
    (place, _) = locations(schedule().spec, "Write")
    assert place.url == (
        "s3://backups/kyc/onboarding?endpoint=https://s3.example.org:9000&region=eu-central-1&pathStyle=true"
    )


def test_a_place_is_the_same_whatever_the_keys() -> None:
    one = schedule().spec.storage
    other = schedule(changes={"spec.storage.s3.readSecretRef.name": "others"}).spec.storage
    moved = schedule(changes={"spec.storage.s3.prefix": "elsewhere"}).spec.storage
    assert same_place(one, other)
    assert not same_place(one, moved)


def test_no_two_jobs_of_a_cron_job_are_at_work_together() -> None:
    spec = cron_job(task(schedule()), "x", timing())["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert (spec["timeZone"], spec["startingDeadlineSeconds"]) == ("Europe/Berlin", 600)
    assert spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 4 * 3600
    assert spec["jobTemplate"]["metadata"]["labels"][OWNER_UID] == "schedule-1"


def test_a_cron_job_is_another_one_when_anything_of_it_is() -> None:
    def digest(of: BackupSchedule) -> str:
        return str(cron_job(task(of), "x", timing(of))["metadata"]["annotations"][SPEC_HASH])

    same = digest(schedule())
    assert digest(schedule(changes={"metadata.labels": {"team": "kyc"}})) == same
    for path, value in (("spec.suspend", True), ("spec.schedule", "@daily"), ("spec.parallel", 4)):
        assert digest(schedule(changes={path: value})) != same


@pytest.mark.parametrize(
    "by_hand",
    [
        pytest.param({"spec.suspend": True}, id="suspended"),
        pytest.param({"spec.schedule": "0 0 1 1 *"}, id="once a year"),
        pytest.param({"spec.timeZone": "Asia/Tokyo"}, id="elsewhere"),
        pytest.param({"spec.jobTemplate.spec.suspend": True}, id="jobs that never begin"),
        pytest.param({"spec.jobTemplate.spec.activeDeadlineSeconds": 1}, id="jobs that never end"),
    ],
)
def test_a_cron_job_that_was_changed_by_hand_is_found_so(by_hand: dict[str, Any]) -> None:
    wanted = cron_job(task(schedule()), "x", timing())
    filled_in = {"spec.jobTemplate.spec.completionMode": "NonIndexed", "status": {}}
    assert not differs(changed(wanted, filled_in), wanted)
    assert differs(changed(wanted, by_hand), wanted)


def test_a_cron_job_that_runs_something_else_is_found_so() -> None:
    wanted = cron_job(task(schedule()), "x", timing())
    live = json.loads(json.dumps(wanted))
    live["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"] = ["--help"]
    assert differs(live, wanted)


def timing(of: BackupSchedule | None = None) -> Timing:
    spec = (of or schedule()).spec
    return Timing(spec.schedule, spec.time_zone, spec.starting_deadline, spec.suspend)


@pytest.mark.parametrize("stem", ["orders", "o" * 253, "a.b.c", "x" * 40 + "-" * 5])
def test_names_are_short_enough_for_a_cron_job_and_differ_by_what_they_are_made_from(stem: str) -> None:
    name = hashed_name(stem, "uid", "cron")
    assert len(name) <= LONGEST_NAME
    assert name != hashed_name(stem, "uid", "run")
    assert "." not in name
    assert "--" not in name


def test_a_backup_is_asked_for_all_that_the_schedule_says() -> None:
    line = task(schedule()).arguments
    assert line[0] == "backup"
    assert {
        "--compression=3",
        "--parallel=2",
        "--spread=600",
        "--spread-key=kyc/onboarding",
        "--as-role=onboarding__owner",
        f"--recipient={'age1' + 'q' * 58}",
        "--copy-credentials=/run/servicedb/stores/1",
    } <= set(line)


def test_pruning_is_told_what_to_keep_and_what_is_not_to_be_touched() -> None:
    spec = schedule().spec
    assert spec.retention is not None
    line = command.prune(
        locations(spec, "Prune")[0],
        spec.retention,
        time_zone=spec.time_zone,
        verified=[KEY],
        pinned=[KEY],
        live=["pod-1:1"],
    )
    assert {
        "--keep-last=7",
        f"--keep-within={30 * 86400}",
        "--keep-daily=30",
        "--keep-weekly=8",
        "--keep-monthly=12",
        "--minimum=1",
        "--max-prunes=10",
        "--time-zone=Etc/UTC",
        f"--verified={KEY}",
        f"--pinned={KEY}",
        "--live=pod-1:1",
    } <= set(line)


def test_rules_that_are_left_out_are_not_said() -> None:
    spec = schedule(MINIMAL_SCHEDULE, {"spec.retention": {"keepLast": 2}}).spec
    assert spec.retention is not None
    line = command.prune(
        locations(spec, "Prune")[0], spec.retention, time_zone="Europe/Berlin", verified=(), pinned=(), live=()
    )
    assert [word for word in line if "daily" in word or "within" in word] == []
    assert "--time-zone=Europe/Berlin" in line


def lines() -> list[tuple[str, ...]]:
    spec = schedule().spec
    place = locations(spec, "Read")[0]
    assert spec.retention is not None
    return [
        task(schedule()).arguments,
        task(schedule(MINIMAL_SCHEDULE)).arguments,
        command.catalogue(place, None),
        command.catalogue(place, KEY),
        command.verify(place, KEY, parallel=2, identity=True, as_role="scratch__owner", assertions=True),
        command.restore(
            place,
            KEY,
            run="an-uid",
            parallel=2,
            identity=True,
            as_role="onboarding__owner",
            schemas=["public"],
            tables=["public.applications"],
            roles=[("old__app", "new__app")],
        ),
        command.delete(place, [KEY], verified=[KEY], pinned=[KEY]),
        command.prune(
            place,
            spec.retention,
            time_zone="Etc/UTC",
            verified=[KEY],
            pinned=[KEY],
            live=["pod-1:1"],
        ),
    ]


@pytest.mark.parametrize("line", lines(), ids=lambda line: line[0])
def test_the_commands_understand_every_line(line: tuple[str, ...]) -> None:
    one = main.get_command(click.Context(main), line[0])
    assert one is not None
    context = one.make_context(line[0], list(line[1:]))
    assert not context.args
