"""What Prometheus scrapes. Figures that move by themselves stand here, never in a status."""

from prometheus_client import Counter, Gauge, Histogram

RECONCILES = Counter("servicedb_reconcile_total", "Rounds of work on an object", ["kind", "outcome"])
ERRORS = Counter("servicedb_reconcile_errors_total", "Rounds that ended in a problem", ["kind", "reason"])
SECONDS = Histogram(
    "servicedb_reconcile_duration_seconds",
    "Time of a round",
    ["kind"],
    buckets=(0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
QUEUE_DEPTH = Gauge("servicedb_queue_depth", "Objects that wait for a worker")
STEPS = Counter("servicedb_steps_total", "Steps carried out", ["step"])
DRIFT = Counter("servicedb_drift_repaired_total", "Changes by hand that were taken back", ["server", "step"])
DRIFT_LISTED = Counter("servicedb_drift_listed_total", "Differences that were listed in a status and stand", ["server"])
DEEP_SCANS = Histogram(
    "servicedb_deep_scan_duration_seconds",
    "Time of a look inside a database",
    ["server"],
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
DATABASES = Gauge("servicedb_server_databases", "Databases of this cluster on a server", ["server"])
DELETING = Gauge(
    "servicedb_databases_deleting", "Databases of deleted objects that are dropped when their grace is over", ["server"]
)
DROPS_BLOCKED = Gauge(
    "servicedb_drops_blocked",
    "Databases whose grace is over and that could not be dropped at the last look",
    ["server"],
)
SERVER_UP = Gauge("servicedb_server_up", "Whether the last look at a server succeeded", ["server"])
LOGIN_TESTS = Counter("servicedb_login_tests_total", "Logins tried with the credentials of a Secret", ["outcome"])
CRD_MATCHES = Gauge("servicedb_crd_matches", "Whether a CRD in the cluster is of the operator's release", ["crd"])
WATCH_LAG = Gauge("servicedb_watch_lag_seconds", "How long an object has been newer than the watch has delivered")
