"""Keys and manifests: what is a backup, and what only looks like one."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.api.common import Unreadable
from servicedb.plan.backups.keys import Group, Key, Place, backup_id
from servicedb.plan.backups.manifest import Manifest, Started, manifest_digest

from tests.backups import NOW, manifest

PLACE = Place(Group("7300000000000000001", 16384), "20261121T225300Z-00c0ffee")
WRITTEN = manifest(PLACE).as_bytes()


def test_a_manifest_reads_back_as_it_was_written():
    written = manifest(PLACE)
    assert Manifest.parse(written.as_bytes(), PLACE.manifest) == written


def test_it_is_json_in_camel_case():
    read = json.loads(WRITTEN)
    assert read["group"] == {"systemIdentifier": "7300000000000000001", "databaseOid": 16384}
    assert read["startedAt"] == "2026-11-21T22:53:00Z"
    assert read["parts"][0]["sizeBytes"] == 100
    assert read["tables"][0]["schema"] == "public"


@given(st.data())
def test_no_byte_of_it_can_change(data):
    at = data.draw(st.integers(0, len(WRITTEN) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != WRITTEN[at]))
    with pytest.raises(Unreadable):
        Manifest.parse(WRITTEN[:at] + bytes([other]) + WRITTEN[at + 1 :], PLACE.manifest)


def test_cut_anywhere_it_is_no_backup():
    for length in range(len(WRITTEN)):
        with pytest.raises(Unreadable, match="cut or altered"):
            Manifest.parse(WRITTEN[:length], PLACE.manifest)


def sealed(**changes: object) -> bytes:
    """A manifest with other fields, and a checksum that is right."""
    fields = json.loads(WRITTEN)
    del fields["checksum"]
    body = json.dumps(fields | changes).encode().removesuffix(b"}")
    return body + f',"checksum":"{manifest_digest(body)}"}}\n'.encode()


PART = json.loads(WRITTEN)["parts"][0]
ELSEWHERE = Place(PLACE.group, "20261120T225300Z-00c0ffee")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        pytest.param({"format": 2}, "format: Input should be 1", id="of a later release"),
        pytest.param({"parts": []}, "parts: Tuple should have at least 1 item", id="no parts"),
        pytest.param(
            {"parts": [PART | {"key": ELSEWHERE.prefix + "schema.zst"}]},
            "part schema does not lie under",
            id="a part of another backup",
        ),
        pytest.param(
            {"parts": [PART | {"key": PLACE.manifest}]},
            "part schema does not lie under",
            id="the manifest as a part",
        ),
        pytest.param(
            {"parts": [PART | {"key": PLACE.prefix + "../schema.zst"}]},
            "part schema does not lie under",
            id="a way out",
        ),
        pytest.param({"parts": [PART, PART]}, "each of them once", id="a part twice"),
        pytest.param(
            {"parts": [PART | {"name": "rest", "key": PLACE.prefix + "rest.zst"}]}, "each of them once", id="no schema"
        ),
        pytest.param({"totals": {"rows": 4, "sizeBytes": 120, "rawBytes": 240}}, "not the sums", id="other totals"),
        pytest.param({"totals": {"rows": True, "sizeBytes": 1, "rawBytes": 1}}, "totals.rows", id="no number"),
        pytest.param({"startedAt": "2026-11-21T22:53:00"}, "startedAt", id="a time of no zone"),
        pytest.param({"id": "yesterday"}, "id: String should match", id="no id"),
    ],
)
def test_what_contradicts_itself_is_no_backup(changes, sentence):
    with pytest.raises(Unreadable, match=rf"manifest {PLACE.manifest} cannot be read: .*{sentence}"):
        Manifest.parse(sealed(**changes), PLACE.manifest)


def test_a_field_of_a_later_release_is_left_alone():
    assert Manifest.parse(sealed(colour="blue"), PLACE.manifest) == manifest(PLACE)


def test_a_manifest_under_the_key_of_another_backup_is_none():
    with pytest.raises(Unreadable, match=f"is that of another backup, {PLACE.manifest}"):
        Manifest.parse(WRITTEN, ELSEWHERE.manifest)


def test_a_start_marker_reads_back_and_beats():
    marker = Started(run="uid", started_at=NOW, beat_at=NOW).at(NOW + timedelta(minutes=1))
    assert Started.parse(marker.as_bytes()) == marker
    assert (marker.started_at, marker.beat_at) == (NOW, NOW + timedelta(minutes=1))
    assert Started.parse(b'{"run": ""}') is None
    assert Started.parse(b"") is None


@pytest.mark.parametrize(
    ("file", "part", "partial"),
    [
        ("manifest.json", False, False),
        ("started.json", False, False),
        ("tombstone.json", False, False),
        ("schema.zst", True, False),
        ("rest", True, False),
        ("data-12.zst.age", True, False),
        ("data-1.age", True, False),
        ("data-1.zst.partial-00c0ffee", False, True),
        ("manifest.json.partial-00c0ffee", False, True),
    ],
)
def test_a_key_tells_which_object_it_is(file, part, partial):
    key = Key.parse(PLACE.prefix + file)
    assert key == Key(PLACE, file)
    assert (key.is_part, key.is_partial) == (part, partial)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "manifest.json",
        f"{PLACE.group}/manifest.json",
        f"{PLACE.prefix}notes.txt",
        f"{PLACE.prefix}notes.txt.partial-00c0ffee",
        f"{PLACE.prefix}data-0.zst",
        f"{PLACE.prefix}data-1.gz",
        f"{PLACE.prefix}deeper/manifest.json",
        f"{PLACE.prefix}manifest.json\n",
        f"/{PLACE.manifest}",
        f"before/{PLACE.manifest}",
        PLACE.manifest.replace("c0ffee", "C0FFEE"),
        PLACE.manifest.replace("7", "\u0667"),
    ],
)
def test_what_is_no_key_of_a_backup_is_left_alone(key):
    assert Key.parse(key) is None


def test_parts_have_keys_by_how_they_are_written():
    assert PLACE.part("schema", compressed=True, encrypted=False) == PLACE.prefix + "schema.zst"
    assert PLACE.part("data-1", compressed=True, encrypted=True) == PLACE.prefix + "data-1.zst.age"
    assert PLACE.part("rest", compressed=False, encrypted=False) == PLACE.prefix + "rest"


def test_ids_sort_by_time():
    assert backup_id(NOW, "00c0ffee") == "20261121T225300Z-00c0ffee"
    later = backup_id(datetime(2027, 1, 1, 1, tzinfo=UTC), "00000000")
    assert Place(PLACE.group, backup_id(NOW, "ffffffff")) < Place(PLACE.group, later)
