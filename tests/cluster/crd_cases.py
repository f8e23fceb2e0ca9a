"""Specs that the API server takes, and ones that it refuses with what it says: (name, base, changes[, told])."""

from tests.api.examples import (
    FULL_BACKUP,
    FULL_DATABASE,
    FULL_POLICY,
    FULL_RESTORE,
    FULL_RUN,
    FULL_SCHEDULE,
    FULL_SERVER,
    GONE,
    MINIMAL_BACKUP,
    MINIMAL_DATABASE,
    MINIMAL_POLICY,
    MINIMAL_RESTORE,
    MINIMAL_RUN,
    MINIMAL_SCHEDULE,
    MINIMAL_SERVER,
)

SEVENTEEN_ROLES = [{"name": f"role{n}", "access": "ReadOnly", "secretName": f"secret-{n}"} for n in range(17)]

FULLEST_LOGIN = {
    "connectionLimit": 262_143,
    "parameters": {f"app.{'p' * 56}{n}": "x" for n in range(10, 74)},
    "overrides": [{"table": f"public.{'t' * 100}{n}", "privileges": ["SELECT", "INSERT"]} for n in range(100)],
}
FULLEST_SERVER = {
    "spec.loginNames": [
        {"namespace": f"{'n' * 50}{n}", "names": [f"{n}_{m}_{'l' * 12}" for m in range(100)]} for n in range(500)
    ],
    "spec.adoptable": [
        {"databaseName": f"{n}_{'d' * 55}", "namespace": "n" * 63, "name": "n" * 253} for n in range(500)
    ],
    "spec.allowedNamespaces.selector.matchLabels": {f"example.org/{'k' * 60}{n}": "v" * 63 for n in range(10, 42)},
    "spec.allowedNamespaces.selector.matchExpressions": [
        {"key": f"k{n}", "operator": "In", "values": [f"{m}{'v' * 60}" for m in range(64)]} for n in range(32)
    ],
}
FULLEST_DATABASE = {
    "spec.parameters": {f"app.{'p' * 56}{n}": "x" * 1024 for n in range(10, 74)},
    "spec.schemas": [{"name": f"{n}{'s' * 60}"} for n in range(64)],
    "spec.extensions": [{"name": f"x{n}"} for n in range(64)],
    "spec.roles.app": {"secretName": "s" * 253, "loginName": "l" * 63, **FULLEST_LOGIN},
    "spec.roles.readOnly": {"secretName": "r" * 253, "loginName": "r" * 63, **FULLEST_LOGIN},
    "spec.roles.extra": [
        {
            "name": f"{'x' * 29}{n}",
            "access": "Owner",
            "secretName": f"{'s' * 240}{n}",
            "loginName": f"{'l' * 60}{n}",
            **FULLEST_LOGIN,
        }
        for n in "abcdefghijklmnop"
    ],
    "spec.credentials.secretTemplate": {f"{'k' * 250}{n}": "{host}" * 600 for n in range(64)},
    "spec.credentials.secretLabels": {f"example.org/{'k' * 60}{n}": "v" * 63 for n in range(10, 42)},
    "spec.credentials.secretAnnotations": {f"example.org/{'k' * 60}{n}": "v" * 4096 for n in range(10, 42)},
}

MANY_CONDITIONS = {
    "column": "c" * 63,
    "archiveAfter": "999997d",
    "deleteAfter": "999998d",
    "dropArchiveAfter": "999999d",
    "where": "w" * 2048,
    "allow": [f"{n}{'n' * 60}" for n in range(32)],
}

GOOD = [
    ("the least of a server", MINIMAL_SERVER, {}),
    ("all of a server", FULL_SERVER, {}),
    ("an IPv6 address", MINIMAL_SERVER, {"spec.host": "fd00::17"}),
    ("an IPv4 address", MINIMAL_SERVER, {"spec.host": "10.0.0.17"}),
    ("no TLS", MINIMAL_SERVER, {"spec.tls": {"mode": "Disable"}}),
    ("encrypted only", MINIMAL_SERVER, {"spec.tls": {"mode": "Require"}}),
    ("the system's authorities", MINIMAL_SERVER, {"spec.tls": {"mode": "VerifyFull", "minVersion": "1.3"}}),
    ("a CA without host names", FULL_SERVER, {"spec.tls.mode": "VerifyCA"}),
    ("all namespaces", MINIMAL_SERVER, {"spec.allowedNamespaces": {"from": "All"}}),
    ("named namespaces", MINIMAL_SERVER, {"spec.allowedNamespaces": {"from": "Names", "names": ["kyc", "shop"]}}),
    (
        "namespaces by an expression",
        MINIMAL_SERVER,
        {
            "spec.allowedNamespaces": {
                "from": "Selector",
                "selector": {"matchExpressions": [{"key": "example.org/team", "operator": "Exists"}]},
            }
        },
    ),
    ("names by namespace", MINIMAL_SERVER, {"spec.naming": "NamespaceName"}),
    ("no release unasked", MINIMAL_SERVER, {"spec.deletionGuard.maxReleases": "0%"}),
    ("any release", MINIMAL_SERVER, {"spec.deletionGuard.maxReleases": "100%"}),
    ("a client endpoint with the server's port", MINIMAL_SERVER, {"spec.clientEndpoint": {"host": "pg.example.org"}}),
    ("a name of 63 letters", MINIMAL_SERVER, {"spec.adminDatabase": "x" * 63}),
    ("500 namespaces with login names", MINIMAL_SERVER,
     {"spec.loginNames": [{"namespace": f"team-{n}", "names": [f"user_{n}"]} for n in range(500)]}),
    ("the least of a run", MINIMAL_RUN, {}),
    ("all of a run", FULL_RUN, {}),
    ("files in a run itself", MINIMAL_RUN,
     {"spec.source": {"inline": [{"name": "seeds/dev/V1__x.sql", "content": "SELECT 1;\n"}]}}),
    ("all the way back", MINIMAL_RUN, {"spec.action": "Down", "spec.target": "0"}),
    ("the least of a schedule", MINIMAL_SCHEDULE, {}),
    ("all of a schedule", FULL_SCHEDULE, {}),
    ("databases by labels", MINIMAL_SCHEDULE,
     {"spec.databaseRefs": GONE, "spec.selector": {"matchLabels": {"example.org/team": "kyc"}}}),
    ("a word for a schedule", MINIMAL_SCHEDULE,
     {"spec.schedule": "@hourly", "spec.timeZone": "America/Argentina/Salta"}),
    ("backups on a volume", MINIMAL_SCHEDULE, {"spec.storage": {"volume": {"claimName": "backups", "path": "kyc/a"}}}),
    ("200 databases", MINIMAL_SCHEDULE, {"spec.databaseRefs": [{"name": f"{'d' * 240}{n}"} for n in range(200)]}),
    ("the least of a backup", MINIMAL_BACKUP, {}),
    ("all of a backup", FULL_BACKUP, {}),
    ("a backup of nobody here", FULL_BACKUP, {"spec.databaseRef": GONE}),
    ("the least of a policy", MINIMAL_POLICY, {}),
    ("all of a policy", FULL_POLICY, {}),
    ("archived and deleted at the same age", FULL_POLICY, {"spec.rules.0.archiveAfter": "17520h"}),
    ("the most rules", FULL_POLICY,
     {"spec.rules": [MANY_CONDITIONS | {"table": f"public.{'t' * 100}{n}"} for n in range(32)]}),
    ("the least of a restore", MINIMAL_RESTORE, {}),
    ("all of a restore", FULL_RESTORE, {}),
    ("the least of a database", MINIMAL_DATABASE, {}),
    ("all of a database", FULL_DATABASE, {}),
    ("a database that was made by others", MINIMAL_DATABASE, {"spec.databaseName": 'Old "Orders" (2019)'}),
    ("a database's name of 63 bytes", MINIMAL_DATABASE, {"spec.databaseName": "ü" * 31 + "x"}),
    ("only a plan", MINIMAL_DATABASE, {"spec.mode": "Plan", "spec.suspend": True, "spec.driftPolicy": "Report"}),
    ("an owner", MINIMAL_DATABASE, {"spec.roles.app.access": "Owner"}),
    ("sixteen extra roles", MINIMAL_DATABASE, {"spec.roles.extra": SEVENTEEN_ROLES[:16]}),
    ("a libc locale", MINIMAL_DATABASE, {"spec.localeProvider": "Libc"}),
    ("an ICU locale", MINIMAL_DATABASE, {"spec.localeProvider": "ICU", "spec.locale": "de-u-co-phonebk"}),
    ("a locale alone", MINIMAL_DATABASE, {"spec.locale": "de_DE.utf8@euro"}),
    ("an extension in public", MINIMAL_DATABASE, {"spec.extensions": [{"name": "uuid-ossp", "schema": "public"}]}),
    ("a template of many lines", MINIMAL_DATABASE,
     {"spec.credentials.secretTemplate": {"application.properties": "a={host}\nb={port}\n"}}),
    ("rotation once the overlap is over", MINIMAL_DATABASE,
     {"spec.credentials": {"rotateEvery": "61m", "overlap": "1h"}}),
    ("overlap of a day less a millisecond", MINIMAL_DATABASE,
     {"spec.credentials": {"rotateEvery": "1d", "overlap": "86399s"}}),
    ("no overlap", MINIMAL_DATABASE, {"spec.credentials": {"rotateEvery": "1s", "overlap": "0s"}}),
    ("the longest durations", MINIMAL_DATABASE,
     {"spec.credentials": {"rotateEvery": "999999d", "overlap": "999998d"}}),
    ("deletion at once", MINIMAL_DATABASE, {"spec.deletion": {"policy": "Delete", "gracePeriod": "0s"}}),
    ("a long Secret name", MINIMAL_DATABASE, {"spec.roles.app.secretName": ".".join(["s" * 62] * 4)}),
    ("null, which is the same as left out", MINIMAL_DATABASE,
     {"spec.databaseName": None, "spec.mode": None, "spec.deletion": None, "spec.parameters": {"work_mem": None}}),
    ("as much as a server may hold", FULL_SERVER, FULLEST_SERVER),
    ("as much as a database may hold", FULL_DATABASE, FULLEST_DATABASE),
    ("the most parameters", MINIMAL_DATABASE,
     {"spec.parameters": {f"app.p{n}": "x" * 1024 for n in range(64)}}),
]  # fmt: skip


SAME_SECRET = "two of spec.roles have the same secretName: each role needs a Secret of its own, rename one"
SAME_LOGIN = "two of spec.roles have the same loginName: each role needs a login of its own, rename one"
TOO_LONG = "PostgreSQL cuts names after 63 bytes: choose a shorter one"
OVERLAP = (
    "spec.credentials.overlap must be shorter than rotateEvery: "
    "shorten overlap (1h when left out), or rotate less often"
)
SELECTOR = "spec.allowedNamespaces.selector belongs to from: Selector, and to no other: add it or remove it"
NAMES = "spec.allowedNamespaces.names belongs to from: Names, and to no other: add it or remove it"
EMPTY_SELECTOR = "an empty selector would allow every namespace: give matchLabels or matchExpressions"
VALUES = "In and NotIn need values, Exists and DoesNotExist take none: add or remove the values"
UNUSED_CA = "spec.tls.caSecretRef is used by the modes VerifyCA and VerifyFull only"
LABEL_NAME = "a key is not what Kubernetes takes as the name of a label or an annotation"
SETTING_NAME = "a key is not the name of a PostgreSQL setting"
SECRET_KEY = "a key of spec.credentials.secretTemplate is not what a Secret takes as a key"
TAKEN_KEY = "a key of spec.credentials.secretTemplate is one that servicedb writes itself: choose another than type"
TAKEN_ROLE = "are taken: choose another name for the extra role"
LOCALE = "spec.localeProvider ICU or Builtin needs spec.locale: add it, such as en-US or C.UTF-8"
ONE_SOURCE = "spec.source takes exactly one of configMaps, image and inline: leave the others out"
ONE_PLACE = "a storage takes exactly one of s3 and volume: leave the other out"
WHICH_DATABASES = "spec takes exactly one of databaseRefs and selector: leave the other out"
ONE_BACKUP = "spec.source takes either a backupRef, or a key with its storage: leave the other out"
NEEDS_TARGET = "spec.action Down needs a version as spec.target: name the one to go back to, or 0 for none"

BROKEN_RULES = [
    ("VerifyCA without a CA", MINIMAL_SERVER, {"spec.tls": {"mode": "VerifyCA"}},
     "spec.tls.mode VerifyCA needs spec.tls.caSecretRef: without host names, any certificate"),
    ("a CA that Disable has no use for", FULL_SERVER, {"spec.tls.mode": "Disable"}, UNUSED_CA),
    ("a CA that Require has no use for", FULL_SERVER, {"spec.tls.mode": "Require"}, UNUSED_CA),
    ("Selector without a selector", MINIMAL_SERVER, {"spec.allowedNamespaces": {"from": "Selector"}}, SELECTOR),
    ("a selector with All", FULL_SERVER, {"spec.allowedNamespaces.from": "All"}, SELECTOR),
    ("Names without names", MINIMAL_SERVER, {"spec.allowedNamespaces": {"from": "Names"}}, NAMES),
    ("names with All", MINIMAL_SERVER, {"spec.allowedNamespaces": {"from": "All", "names": ["kyc"]}}, NAMES),
    ("an empty selector", FULL_SERVER, {"spec.allowedNamespaces.selector": {}}, EMPTY_SELECTOR),
    ("a selector of empty parts", FULL_SERVER,
     {"spec.allowedNamespaces.selector": {"matchLabels": {}, "matchExpressions": []}}, EMPTY_SELECTOR),
    ("In without values", FULL_SERVER,
     {"spec.allowedNamespaces.selector.matchExpressions.0.values": GONE}, VALUES),
    ("NotIn with empty values", FULL_SERVER,
     {"spec.allowedNamespaces.selector.matchExpressions.0": {"key": "a", "operator": "NotIn", "values": []}}, VALUES),
    ("Exists with values", FULL_SERVER,
     {"spec.allowedNamespaces.selector.matchExpressions.0.operator": "Exists"}, VALUES),
    ("a label's name with a space", FULL_SERVER,
     {"spec.allowedNamespaces.selector.matchLabels": {"the team": "kyc"}}, LABEL_NAME),
    ("an admin database of 64 bytes", MINIMAL_SERVER, {"spec.adminDatabase": "ü" * 32}, TOO_LONG),
    ("an adoptable database of 64 bytes", FULL_SERVER, {"spec.adoptable.0.databaseName": "ü" * 32}, TOO_LONG),
    ("a login name of 64 bytes", FULL_SERVER, {"spec.loginNames.0.names.0": "ü" * 32}, TOO_LONG),
    ("a database name of 64 bytes", MINIMAL_DATABASE, {"spec.databaseName": "ü" * 32}, TOO_LONG),
    ("a schema of 64 bytes", MINIMAL_DATABASE, {"spec.schemas": [{"name": "ü" * 32}]}, TOO_LONG),
    ("ICU without a locale", MINIMAL_DATABASE, {"spec.localeProvider": "ICU"}, LOCALE),
    ("Builtin without a locale", MINIMAL_DATABASE, {"spec.localeProvider": "Builtin"}, LOCALE),
    ("overlap as long as the rotation", MINIMAL_DATABASE,
     {"spec.credentials": {"rotateEvery": "1d", "overlap": "24h"}}, OVERLAP),
    ("overlap in a larger unit", MINIMAL_DATABASE,
     {"spec.credentials": {"rotateEvery": "999999ms", "overlap": "1d"}}, OVERLAP),
    ("overlap longer by a second", MINIMAL_DATABASE,
     {"spec.credentials": {"rotateEvery": "1m", "overlap": "61s"}}, OVERLAP),
    ("rotation within the default overlap", MINIMAL_DATABASE, {"spec.credentials": {"rotateEvery": "1h"}}, OVERLAP),
    ("rotation without a pause", MINIMAL_DATABASE,
     {"spec.credentials": {"rotateEvery": "0s", "overlap": "0s"}}, OVERLAP),
    ("a parameter with a space", MINIMAL_DATABASE, {"spec.parameters": {"work mem": "4MB"}}, SETTING_NAME),
    ("a parameter with a quote", MINIMAL_DATABASE, {"spec.parameters": {'x" = 1; --': "4MB"}}, SETTING_NAME),
    ("a parameter without a name", MINIMAL_DATABASE, {"spec.parameters": {"": "4MB"}}, SETTING_NAME),
    ("a role's parameter with a space", FULL_DATABASE,
     {"spec.roles.extra.0.parameters": {"work mem": "4MB"}}, SETTING_NAME),
    ("a template key with a slash", MINIMAL_DATABASE,
     {"spec.credentials.secretTemplate": {"a/b": "x"}}, SECRET_KEY),
    ("a template key with a line break", MINIMAL_DATABASE,
     {"spec.credentials.secretTemplate": {"a\n": "x"}}, SECRET_KEY),
    ("a template key of 254 letters", MINIMAL_DATABASE,
     {"spec.credentials.secretTemplate": {"x" * 254: "x"}}, SECRET_KEY),
    ("a template for the password", MINIMAL_DATABASE,
     {"spec.credentials.secretTemplate": {"password": "{host}"}}, TAKEN_KEY),
    ("a template for what is pending", MINIMAL_DATABASE,
     {"spec.credentials.secretTemplate": {"pending-password": "{host}"}}, TAKEN_KEY),
    ("a label's name with two slashes", MINIMAL_DATABASE,
     {"spec.credentials.secretLabels": {"a/b/c": "x"}}, LABEL_NAME),
    ("an annotation's name of 64 letters", MINIMAL_DATABASE,
     {"spec.credentials.secretAnnotations": {"x" * 64: "x"}}, LABEL_NAME),
    *(
        (f"an extra role called {name}", FULL_DATABASE, {"spec.roles.extra.0.name": name}, TAKEN_ROLE)
        for name in ("app", "migrator", "readonly", "owner", "rw", "ro", "backup", "retain", "partition", "restore")
    ),
    *(
        (f"the Secret of app and {role}", FULL_DATABASE,
         {f"spec.roles.{role}.secretName": "onboarding-app"}, SAME_SECRET)
        for role in ("migrator", "readOnly", "extra.0")
    ),
    *(
        (f"the login of app and {role}", FULL_DATABASE, {f"spec.roles.{role}.loginName": "onboarding_user"}, SAME_LOGIN)
        for role in ("migrator", "readOnly", "extra.0")
    ),
    ("deleted before it is archived", FULL_POLICY, {"spec.rules.0.archiveAfter": "731d"},
     "archiveAfter must not be longer than deleteAfter: rows are archived before they are deleted"),
    ("dropped from the archive too soon", FULL_POLICY, {"spec.rules.0.dropArchiveAfter": "730d"},
     "dropArchiveAfter must be longer than deleteAfter"),
    ("dropped from the archive as it comes", FULL_POLICY,
     {"spec.rules.1.deleteAfter": GONE, "spec.rules.1.dropArchiveAfter": "90d"},
     "dropArchiveAfter must be longer than deleteAfter"),
    ("a rule without an age", MINIMAL_POLICY, {"spec.rules.0.deleteAfter": GONE},
     "a rule without archiveAfter and deleteAfter keeps every row: give one of them, or leave the rule out"),
    ("an age for no archive", MINIMAL_POLICY, {"spec.rules.0.archiveAfter": "1d"},
     "a rule with archive: false takes neither archiveAfter nor dropArchiveAfter"),
    ("two statements", FULL_POLICY, {"spec.rules.0.where": "true; DROP TABLE x"},
     "where is one condition: leave the semicolon out"),
    ("some rows of partitions", FULL_POLICY, {"spec.rules.1.where": "true"},
     "partitions go as a whole: leave where out, or partition"),
    ("an archive that is nowhere", MINIMAL_POLICY, {"spec.rules.0.archive": GONE},
     "spec.archive is needed by every rule without archive: false"),
    ("two rules for a table", FULL_POLICY, {"spec.rules.1.table": "public.insight_feedback"}, "Duplicate value"),
    ("two sources", MINIMAL_RUN, {"spec.source.image": {"reference": "x"}}, ONE_SOURCE),
    ("no source", MINIMAL_RUN, {"spec.source": {}}, ONE_SOURCE),
    ("two ways to name tenants", FULL_RUN, {"spec.tenants.list": ["a"]},
     "spec.tenants takes exactly one of pattern, list and query: leave the others out"),
    ("two places in one", FULL_SCHEDULE, {"spec.storage.volume": {"claimName": "x"}}, ONE_PLACE),
    ("no place", MINIMAL_SCHEDULE, {"spec.storage": {}}, ONE_PLACE),
    ("two places in a copy", FULL_SCHEDULE, {"spec.copies.0.volume": {"claimName": "x"}}, ONE_PLACE),
    ("no databases", MINIMAL_SCHEDULE, {"spec.databaseRefs": GONE}, WHICH_DATABASES),
    ("an empty list of databases", MINIMAL_SCHEDULE, {"spec.databaseRefs": []}, WHICH_DATABASES),
    ("databases by name and by labels", MINIMAL_SCHEDULE,
     {"spec.selector": {"matchLabels": {"a": "b"}}}, WHICH_DATABASES),
    ("a retention that keeps nothing", MINIMAL_SCHEDULE, {"spec.retention": {"minimum": 3}},
     "spec.retention without a rule would keep next to nothing: give keepLast"),
    ("nothing to verify with", FULL_SCHEDULE, {"spec.encryption.identitySecretRef": GONE},
     "spec.verify needs spec.encryption.identitySecretRef: what is encrypted can't be restored without it"),
    ("a backup of nothing", MINIMAL_BACKUP, {"spec.databaseRef": GONE},
     "spec needs a databaseRef to back up, or the key of a backup that there is: add one of them"),
    ("a backup to nowhere", MINIMAL_BACKUP, {"spec.scheduleRef": GONE},
     "spec needs a storage, or a scheduleRef that has one: add one of them"),
    ("an encryption of its own in the schedule's storage", MINIMAL_BACKUP,
     {"spec.encryption": FULL_SCHEDULE["spec"]["encryption"]}, "spec.encryption belongs to spec.storage"),
    ("two backups in one", FULL_RESTORE, {"spec.source.backupRef": {"name": "x"}}, ONE_BACKUP),
    ("a key without its storage", FULL_RESTORE, {"spec.source.storage": GONE}, ONE_BACKUP),
    ("no backup", MINIMAL_RESTORE, {"spec.source": {}}, ONE_BACKUP),
    ("back to nowhere", MINIMAL_RUN, {"spec.action": "Down"}, NEEDS_TARGET),
    ("back to the latest", MINIMAL_RUN, {"spec.action": "Down", "spec.target": "Latest"}, NEEDS_TARGET),
    ("seeds of no environment", MINIMAL_RUN, {"spec.action": "ClearSeeds"},
     "spec.action Seed and ClearSeeds need spec.seeds: name the environment"),
    ("a history in no table", FULL_RUN, {"spec.adoptHistory.table": GONE},
     "spec.adoptHistory.format Table needs table and versionColumn: say where the versions stand"),
    ("columns of a tool that has its own", FULL_RUN, {"spec.adoptHistory": {"format": "Goose", "nameColumn": "n"}},
     "spec.adoptHistory.versionColumn and nameColumn are for format Table: other tools' columns are known"),
    ("the Secret of two extra roles", FULL_DATABASE,
     {"spec.roles.extra": [SEVENTEEN_ROLES[0], SEVENTEEN_ROLES[1] | {"secretName": "secret-0"}]}, SAME_SECRET),
    ("the Secret of migrator and readOnly", MINIMAL_DATABASE,
     {"spec.roles.migrator": {"secretName": "x"}, "spec.roles.readOnly": {"secretName": "x"}}, SAME_SECRET),
]  # fmt: skip


BAD_VALUES = [
    *(
        (f"host {host!r}", MINIMAL_SERVER, {"spec.host": host}, "spec.host")
        for host in ("a,b", "/var/run/postgresql", "a b", "a:5432,b", "-a", "a=b", "", "ä", "user@host", "a\\b")
    ),
    *(
        (f"duration {text!r}", MINIMAL_DATABASE, {"spec.deletion.gracePeriod": text}, "spec.deletion.gracePeriod")
        for text in ("7", "7w", "01d", "-1d", "1h30m", "1.5h", " 1h", "1h ", "1h\n", "1H", "1000000s", "", "d", "1e3s")
    ),
    *(
        (f"share {text!r}", MINIMAL_SERVER, {"spec.deletionGuard.maxReleases": text}, "spec.deletionGuard.maxReleases")
        for text in ("10", "101%", "-1%", "1.5%", "%", "010%", "10%%")
    ),
    *(
        (f"namespace {name!r}", FULL_SERVER, {"spec.adoptable.0.namespace": name}, "spec.adoptable[0].namespace")
        for name in ("Kyc", "kyc.", "-kyc", "kyc_a", "k/c", "x" * 64)
    ),
    *(
        (f"Secret name {name!r}", MINIMAL_DATABASE, {"spec.roles.app.secretName": name}, "spec.roles.app.secretName")
        for name in ("Onboarding", "a_b", "a..b", ".a", "a.", "-a", "a/b", "../b", "x" * 254)
    ),
    *(
        (f"extra role {name!r}", FULL_DATABASE, {"spec.roles.extra.0.name": name}, "spec.roles.extra[0].name")
        for name in ("Analytics", "an_alytics", "1a", "a-b", "ä", "x" * 33)
    ),
    *(
        (f"database name {name!r}", MINIMAL_DATABASE, {"spec.databaseName": name}, "spec.databaseName")
        for name in ("a\x00b", "a\nb", "a\tb", "a\x7fb", "a\x85b", "", "x" * 64)
    ),
    *(
        (f"environment {word!r}", MINIMAL_DATABASE, {"spec.environment": word}, "spec.environment")
        for word in ("in production", "'; --", "", "-x")
    ),
    *(
        (f"locale {text!r}", MINIMAL_DATABASE, {"spec.locale": text}, "spec.locale")
        for text in ("C'", "de DE", "C\n", "")
    ),
    *(
        (f"CA file {path!r}", MINIMAL_DATABASE, {"spec.credentials.caFile": path}, "spec.credentials.caFile")
        for path in ("ca.crt", "", "/etc/\n")
    ),
    ("an unknown encoding", MINIMAL_DATABASE, {"spec.encoding": "UTF-8"}, "spec.encoding"),
    ("a parameter's value of two lines", MINIMAL_DATABASE, {"spec.parameters": {"a": "1\n2"}}, "spec.parameters.a"),
    ("seventeen extra roles", MINIMAL_DATABASE, {"spec.roles.extra": SEVENTEEN_ROLES}, "spec.roles.extra"),
    ("no roles", MINIMAL_DATABASE, {"spec.roles": GONE}, "spec.roles"),
    *(
        (f"target {target!r}", MINIMAL_RUN, {"spec.target": target}, "spec.target")
        for target in ("latest", "v1", "1.", "../1", "")
    ),
    *(
        (f"inline file {name!r}", MINIMAL_RUN,
         {"spec.source": {"inline": [{"name": name, "content": ""}]}}, "spec.source.inline[0].name")
        for name in ("/etc/x.sql", "a//b.sql", "a b.sql", "")
    ),
    *(
        (f"an image {image!r}", FULL_RUN, {"spec.source.image.reference": image}, "spec.source.image.reference")
        for image in ("a b", "-a", "a/B", "a@sha256:1", "a:b:c")
    ),
    *(
        (f"an image's folder {path!r}", FULL_RUN, {"spec.source.image.path": path}, "spec.source.image.path")
        for path in ("/", "a", "/a/../b", "/a/", "/.a")
    ),
    *(
        (f"a folder {path!r} of the source", MINIMAL_RUN, {"spec.source.configMaps.0.path": path},
         "spec.source.configMaps[0].path")
        for path in ("/a", "../a", "a/../b", "a/", ".a")
    ),
    ("a decision without a digest", FULL_RUN, {"spec.decisions.0.digest": "sha256:1"}, "spec.decisions[0].digest"),
    *(
        (f"schedule {line!r}", MINIMAL_SCHEDULE, {"spec.schedule": line}, "spec.schedule")
        for line in ("", "0 2 * *", "0 2 * * * *", "@every 1h", "TZ=UTC 0 2 * * *", "0 2 * * *\n", "0  2 * * *",
                     "$(id) * * * *")
    ),
    *(
        (f"time zone {zone!r}", MINIMAL_SCHEDULE, {"spec.timeZone": zone}, "spec.timeZone")
        for zone in ("", "../../etc/passwd", "Europe/", "/Europe", "Europe Berlin", "UTC\n")
    ),
    *(
        (f"prefix {prefix!r}", MINIMAL_SCHEDULE, {"spec.storage.s3.prefix": prefix}, "spec.storage.s3.prefix")
        for prefix in ("/a", "a/", "a//b", "..", "a/../b", ".hidden", "a b", "a?endpoint=http://evil", "a#b", "a%2e")
    ),
    *(
        (f"endpoint {url!r}", MINIMAL_SCHEDULE, {"spec.storage.s3.endpoint": url}, "spec.storage.s3.endpoint")
        for url in ("s3.example.org", "ftp://x", "https://user:pw@x", "https://x/path", "https://x?y=z", "file:///etc")
    ),
    *(
        (f"bucket {name!r}", MINIMAL_SCHEDULE, {"spec.storage.s3.bucket": name}, "spec.storage.s3.bucket")
        for name in ("ab", "Backups", "a/b", "a b", "-ab", "x" * 64)
    ),
    *(
        (f"path {path!r} on a volume", MINIMAL_SCHEDULE,
         {"spec.storage": {"volume": {"claimName": "x", "path": path}}}, "spec.storage.volume.path")
        for path in ("..", "/etc", "a/../../b", "a/.x")
    ),
    *(
        (f"recipient {text!r}", FULL_SCHEDULE, {"spec.encryption.ageRecipients": [text]}, "ageRecipients[0]")
        for text in ("", "age1", "AGE-SECRET-KEY-1" + "Q" * 43, "age1" + "b" * 58, "age1" + "q" * 58 + "\n")
    ),
    *(
        (f"key {key!r}", FULL_BACKUP, {"spec.key": key}, "spec.key")
        for key in ("", "x", "../manifest.json", "1-1/20260301T020000Z-0123abcd/schema.zst",
                    "1-1/20260301T020000Z-0123ABCD/manifest.json", "/1-1/20260301T020000Z-0123abcd/manifest.json")
    ),
    ("201 databases", MINIMAL_SCHEDULE,
     {"spec.databaseRefs": [{"name": f"d{n}"} for n in range(201)]}, "spec.databaseRefs"),
    ("no labels to select by", MINIMAL_SCHEDULE,
     {"spec.databaseRefs": GONE, "spec.selector": {"matchLabels": {}}}, "spec.selector.matchLabels"),
    ("no app", MINIMAL_DATABASE, {"spec.roles": {"migrator": {"secretName": "x"}}}, "spec.roles.app"),
    ("no server", MINIMAL_DATABASE, {"spec.serverRef": GONE}, "spec.serverRef"),
    ("a server in a namespace", MINIMAL_DATABASE, {"spec.serverRef.namespace": "x"}, "spec.serverRef.namespace"),
    ("no spec", MINIMAL_DATABASE, {"spec": GONE}, "spec: Required value"),
    ("no spec of a server", MINIMAL_SERVER, {"spec": GONE}, "spec: Required value"),
    ("an admin Secret without a namespace", MINIMAL_SERVER,
     {"spec.adminSecretRef.namespace": GONE}, "spec.adminSecretRef.namespace"),
    ("names of no namespace", MINIMAL_SERVER,
     {"spec.allowedNamespaces": {"from": "Names", "names": []}}, "spec.allowedNamespaces.names"),
]  # fmt: skip
