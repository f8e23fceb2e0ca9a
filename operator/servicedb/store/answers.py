"""What a bucket's answers mean, in a sentence without what they hold: that may be somebody's credentials."""

import re
from typing import Final

from servicedb.errors import Problem
from servicedb.store.problems import NoSuchObject, StoreAway, StoreFull, StoreRefused

# The second one is said of a deletion: the answer is 200 then, and has a code for each key.
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,64})</Code>|\(code: ([A-Za-z0-9]{1,64})\)")
_STATUS = re.compile(r"status code: ([1-5][0-9]{2})|error code ([1-5][0-9]{2})")

_FULL: Final = {"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage"}
_CREDENTIALS: Final = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "InvalidSecurity",
    "AccountProblem",
    "NoSuchUser",
}
_REGION: Final = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
_READ_ONLY: Final = {"MethodNotAllowed", "InvalidObjectState", "ReadOnly"}
_CLOCK: Final = {"RequestTimeTooSkewed"}
_AGAIN: Final = {
    "SlowDown",
    "RequestTimeout",
    "InternalError",
    "ServiceUnavailable",
    "OperationAborted",
    "Throttling",
    "NoSuchUpload",  # it was completed, and the answer lost: what was asked again finds none
}


def problem(said: str, key: str, action: str, location: str) -> Problem:
    """The problem of a request: `said` is what obstore says of it, `action` is PUT, GET, LIST or DELETE.

    Source: Amazon S3 documentation, "Error responses".
    """
    code = (found[1] or found[2]) if (found := _CODE.search(said)) else None
    status = int(found[1] or found[2]) if (found := _STATUS.search(said)) else None
    failed = f"{action} of {key} failed" if key else f"{action} failed"
    answer = code or (f"status {status}" if status is not None else None)
    if code in _FULL or status == 507:
        return StoreFull(f"{location} has no space for {key} ({answer}); enlarge it, or keep fewer backups")
    if code == "NoSuchBucket":
        return StoreRefused(f"{location}: there is no such bucket; create it, or correct the location")
    if code in _CREDENTIALS or status == 401:
        return StoreRefused(f"{location} refuses the credentials ({answer}); correct them in their Secret")
    if code in _REGION or (status is not None and 300 <= status < 400):
        return StoreRefused(f"{location} is in another region or at another endpoint ({answer}); correct the location")
    if code in _CLOCK:
        return StoreRefused(f"{location} refuses requests of this time ({answer}); correct this machine's clock")
    if code in _READ_ONLY:
        return StoreRefused(f"{location} can't be written to ({answer}); {failed}: is it read-only?")
    if code in _AGAIN or status in {408, 429} or (status is not None and status >= 500):
        return StoreAway(f"{location} does not answer as it should ({answer}); {failed}")
    if code in {"NoSuchKey", "InvalidRange"} or (code is None and status in {404, 416}):
        return NoSuchObject(key, location)
    if answer is not None:
        return StoreRefused(
            f"{location} refuses to {action} {key} ({answer}); allow it to these credentials, or give others"
        )
    return StoreAway(
        f"{location} is out of reach; {failed}: is its endpoint right, its certificate trusted, and the way there open?"
    )
