"""Locations, and what a bucket's answers mean."""

import pytest
from servicedb.store.answers import problem
from servicedb.store.location import bucket, open_store
from servicedb.store.problems import NoSuchObject, StoreAway, StoreFull, StoreRefused
from servicedb.store.s3 import Bucket

SECRET = "wJalrXUtnFEMI"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://backups", Bucket("backups")),
        ("s3://backups/", Bucket("backups")),
        ("s3://backups/a/b/", Bucket("backups", "a/b")),
        ("s3://backups/a?region=eu-central-1", Bucket("backups", "a", region="eu-central-1")),
        (
            "s3://backups/a?endpoint=https%3A%2F%2Fs3.example.com%3A9000&pathStyle=false",
            Bucket("backups", "a", "https://s3.example.com:9000", path_style=False),
        ),
        ("s3://backups?endpoint=http://[::1]:9000", Bucket("backups", "", "http://[::1]:9000", path_style=True)),
        ("s3://backups?pathStyle=true", Bucket("backups", path_style=True)),
    ],
)
def test_an_s3_location_names_a_bucket(url, expected):
    assert bucket(url) == expected


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("s3://", "name of its bucket"),
        ("s3://Up", "name of its bucket"),
        (f"s3://key:{SECRET}@backups", "name of its bucket"),
        ("s3://backups/a/../b", "prefix"),
        ("s3://backups/a//b", "prefix"),
        ("s3://backups/ä", "prefix"),
        ("s3://backups?endpoint=s3.example.com", "endpoint"),
        ("s3://backups?endpoint=ftp://s3.example.com", "endpoint"),
        (f"s3://backups?endpoint=https://key:{SECRET}@s3.example.com", "endpoint"),
        ("s3://backups?endpoint=https://s3.example.com?x=y", "endpoint"),
        ("s3://backups?region=", "region"),
        ("s3://backups?pathStyle=yes", "pathStyle"),
        (f"s3://backups?secret={SECRET}", "secret is no option"),
        ("s3://backups#here", "fragment"),
        ("file://host/path", "is no location"),
        ("file:relative", "is no location"),
        ("file:///a/../b", "is no location"),
        ("file:///a?b", "is no location"),
        ("gs://backups", "is no location"),
        ("/var/backups", "is no location"),
        (f"https://key:{SECRET}@s3.example.com", "is no location"),
        ("", "is no location"),
    ],
)
def test_what_is_no_location_is_refused_without_what_may_be_a_secret(url, sentence):
    with pytest.raises(StoreRefused, match=sentence) as refused:
        open_store(url)
    assert SECRET not in str(refused.value)


def answer(status: int, code: str | None) -> str:
    body = f"<Error><Code>{code}</Code><Message>{SECRET}</Message></Error>" if code else ""
    return f"Generic S3 error: Error performing PUT https://... - Server returned non-2xx status code: {status}: {body}"


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NoSuchKey", NoSuchObject),
        (404, None, NoSuchObject),
        (416, "InvalidRange", NoSuchObject),
        (404, "NoSuchBucket", StoreRefused),
        (404, "XAdminUserNotFound", StoreRefused),
        (403, "InvalidAccessKeyId", StoreRefused),
        (403, "SignatureDoesNotMatch", StoreRefused),
        (403, "AccessDenied", StoreRefused),
        (403, None, StoreRefused),
        (403, "RequestTimeTooSkewed", StoreRefused),
        (400, "ExpiredToken", StoreRefused),
        (400, "InvalidBucketName", StoreRefused),
        (301, "PermanentRedirect", StoreRefused),
        (405, "MethodNotAllowed", StoreRefused),
        (403, "QuotaExceeded", StoreFull),
        (507, "XMinioStorageFull", StoreFull),
        (507, None, StoreFull),
        (503, "SlowDown", StoreAway),
        (500, "InternalError", StoreAway),
        (502, None, StoreAway),
        (429, None, StoreAway),
        (400, "RequestTimeout", StoreAway),
        (404, "NoSuchUpload", StoreAway),
    ],
)
def test_an_answer_is_classed_and_what_it_holds_is_not_told(status, code, kind):
    found = problem(answer(status, code), "a/b", "PUT", "s3://backups")
    assert type(found) is kind
    assert "s3://backups" in str(found)
    assert SECRET not in str(found)


def test_no_answer_at_all_is_a_store_that_is_away():
    found = problem(f"Generic S3 error: HTTP error: error sending request {SECRET}", "", "LIST", "s3://backups")
    assert type(found) is StoreAway
    assert str(found).startswith("s3://backups is out of reach; LIST failed")
    assert SECRET not in str(found)


def test_a_deletion_that_is_refused_is_told_by_its_code():
    found = problem(
        "DeleteObjects request failed for key a: Access Denied. (code: AccessDenied)", "a", "DELETE", "s3://b"
    )
    assert type(found) is StoreRefused
    assert "refuses to DELETE a (AccessDenied)" in str(found)
