"""Debian packages unpacked into a private folder, without changing the system and without being root.

What belongs here: apt with a state folder of its own, and folders that are filled once or not at all.
What is taken from the packages is the caller's business (`pm.store.timescale`, `scripts/bootstrap.py`).
Only the standard library and `pm.errors` may be imported: set-up runs this before anything is installed.

The mirror, its keyring, proxies and credentials are the machine's own apt configuration. Signatures are
always checked, whatever the machine allows; nothing here names an address. A package list is read from
the main archive only, which takes in security updates with each point release.
"""

import fcntl
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pm.errors import StoreError

Say = Callable[[str], None]

_MARK = ".complete"
_TIMEOUT_S = 900
_APT_CONF = """\
Dir::State "{folder}/state";
Dir::State::lists "{folder}/state/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Cache::archives "archives";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
Dir::Etc::sourcelist "{folder}/archive.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
// As root, apt would download as a user that cannot write here
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "3";
// The machine's hooks are about the machine's own lists and packages
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


@dataclass(frozen=True)
class Release:
    """What `/etc/os-release` says: distribution, number (None: testing or unstable) and codename."""

    distribution: str
    number: int | None
    codename: str


@dataclass(frozen=True)
class Archive:
    """One binary archive of the machine's apt configuration, as it stands there."""

    uris: str
    suite: str
    signed_by: str | None

    def stanza(self) -> str:
        """This archive's main component in apt's deb822 form (sources.list(5))."""
        lines = ["Types: deb", f"URIs: {self.uris}", f"Suites: {self.suite}", "Components: main"]
        if self.signed_by:
            lines.append("Signed-By: " + self.signed_by.replace("\n", "\n "))
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Package:
    """What a package list says of one package; `depends` holds the alternatives of each dependency."""

    name: str
    section: str
    size_bytes: int
    depends: tuple[tuple[str, ...], ...]


def read_release(os_release: Path = Path("/etc/os-release")) -> Release:
    """The Debian release of this machine; StoreError on anything that is not Debian itself."""
    if not os_release.is_file():
        raise StoreError(f"expected a Debian machine, but got none: {os_release} is missing")
    pairs = (line.partition("=") for line in os_release.read_text().splitlines() if "=" in line)
    found = {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
    codename = found.get("VERSION_CODENAME", "")
    if found.get("ID") != "debian" or not codename:
        raise StoreError(f"expected a Debian machine, but got {found.get('PRETTY_NAME') or found.get('ID') or '?'}")
    number = found.get("VERSION_ID", "")
    return Release("debian", int(number) if number.isdigit() else None, codename)


def read_archives(etc_apt: Path, codename: str) -> tuple[Archive, ...]:
    """Archives configured in `etc_apt` that may be Debian's own for `codename`, the likeliest first.

    Taken: enabled binary entries of that suite (or of stable, testing ...) with the component main. Another
    vendor's archive can look the same; whether it is Debian's is read later from its signed Release file.
    """
    found = [archive for archive, parts in _entries(etc_apt) if _is_candidate(archive, parts, codename)]

    def unlikely(archive: Archive) -> tuple[bool, bool, bool]:
        names = archive.uris.rstrip("/")
        keyring = archive.signed_by or "debian-archive"
        return archive.suite != codename, "debian-archive" not in keyring, not names.endswith("/debian")

    return tuple(replace(a, suite=codename) for a in sorted(dict.fromkeys(found), key=unlikely))


def _is_candidate(archive: Archive, parts: Sequence[str], codename: str) -> bool:
    suites = {codename, "stable", "oldstable", "testing", "unstable", "sid"}
    return archive.suite in suites and "main" in parts and not archive.uris.startswith("cdrom:")


def _entries(etc_apt: Path) -> Iterator[tuple[Archive, list[str]]]:
    folder = etc_apt / "sources.list.d"
    lists = [etc_apt / "sources.list", *sorted(folder.glob("*.list"))]
    for path in filter(Path.is_file, lists):
        yield from _one_line_entries(path.read_text(errors="replace"))
    for path in filter(Path.is_file, sorted(folder.glob("*.sources"))):
        yield from _deb822_entries(path.read_text(errors="replace"))


def _one_line_entries(text: str) -> Iterator[tuple[Archive, list[str]]]:
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^]]*)\]\s*)?(\S+)\s+(\S+)\s+([^#]*)", line)
        if match:
            options = [option.partition("=") for option in (match[1] or "").split()]
            signed_by = next((value for key, _, value in options if key.lower() == "signed-by"), None)
            yield Archive(match[2], match[3], signed_by), match[4].split()


def _deb822_entries(text: str) -> Iterator[tuple[Archive, list[str]]]:
    for fields in _stanzas(text):
        off = fields.get("enabled", "yes").lower() in {"no", "false", "off", "0"}
        if off or "deb" not in fields.get("types", "").split() or not fields.get("uris"):
            continue
        for suite in fields.get("suites", "").split():
            archive = Archive(" ".join(fields["uris"].split()), suite, fields.get("signed-by") or None)
            yield archive, fields.get("components", "").split()


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    """Paragraphs of `Field: value` with continuation lines (Debian Policy 5.1), names in lower case."""
    fields: dict[str, str] = {}
    name = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, ""
        elif line[0] in " \t":
            fields[name] = f"{fields.get(name, '')}\n{line.strip()}"
        else:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()


class Apt:
    """apt over one archive, with lists and cache of its own in `folder` and no package counted as installed."""

    def __init__(self, folder: Path, archive: Archive) -> None:
        self.folder = folder
        self.suite = archive.suite
        for part in ("state/lists/partial", "cache/archives/partial"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        (folder / "archive.sources").write_text(archive.stanza())
        (folder / "apt.conf").write_text(_APT_CONF.format(folder=folder))

    def update(self) -> None:
        """Reads the archive's package list; StoreError unless it is signed and Debian's own."""
        self._apt("apt-get", "update")
        released = [p for p in (self.folder / "state/lists").glob("*Release") if p.stat().st_size]
        if not any(re.search(r"(?m)^Origin: Debian$", p.read_text(errors="replace")) for p in released):
            raise StoreError(f"expected Debian's own archive for {self.suite}, but got another origin")

    def names(self, pattern: str) -> tuple[str, ...]:
        """Names of the packages that match the regular expression, sorted."""
        listed = self._apt("apt-cache", "search", "--names-only", pattern).splitlines()
        return tuple(sorted(line.split(" ", 1)[0] for line in listed if line))

    def describe(self, names: Iterable[str]) -> dict[str, Package]:
        """The packages of these names that the list holds; unknown and virtual names are left out."""
        wanted = tuple(names)
        if not wanted:
            return {}
        text = self._apt("apt-cache", "show", "--no-all-versions", *wanted, accept=(0, 100))
        found = (_package(fields) for fields in _stanzas(text) if "package" in fields)
        return {package.name: package for package in found}

    def unpack(self, names: Sequence[str], into: Path, say: Say) -> None:
        """Downloads the packages, checked against the signed list, and unpacks their files below `into`."""
        described = self.describe(names)
        missing = sorted(set(names) - set(described))
        if missing:
            raise StoreError(f"expected the packages {', '.join(missing)} in Debian {self.suite}, but got none")
        size_mb = sum(package.size_bytes for package in described.values()) / 1e6
        say(f"downloading {len(names)} Debian packages of {self.suite} ({size_mb:.0f} MB)")
        debs = self.folder / "debs"
        shutil.rmtree(debs, ignore_errors=True)
        debs.mkdir()
        self._apt("apt-get", "download", *names, cwd=debs)
        into.mkdir(parents=True, exist_ok=True)
        for deb in sorted(debs.glob("*.deb")):
            run(("dpkg-deb", "-x", str(deb), str(into)))
        shutil.rmtree(debs)

    def _apt(self, program: str, *arguments: str, cwd: Path | None = None, accept: Sequence[int] = (0,)) -> str:
        command = (program, "-q", "-c", str(self.folder / "apt.conf"), *arguments)
        return run(command, cwd=cwd, accept=accept, called=f"{program} {arguments[0]} (Debian {self.suite})")


def _package(fields: Mapping[str, str]) -> Package:
    wanted = ",".join(filter(None, (fields.get("pre-depends"), fields.get("depends"))))
    depends = tuple(
        tuple(re.split(r"[\s(:]", name.strip(), maxsplit=1)[0] for name in one.split("|"))
        for one in wanted.split(",")
        if one.strip()
    )
    return Package(fields["package"], fields.get("section", ""), int(fields.get("size", "0")), depends)


def open_apt(folder: Path, *, say: Say, suite: str | None = None, etc: Path = Path("/etc")) -> Apt:
    """apt over the machine's own Debian mirror, its list read; `suite` replaces the machine's (for example "trixie").

    Where the machine's keys do not know `suite` yet, the machine's own release is asked for its current
    `debian-archive-keyring` (signed by keys the machine trusts), and `suite` is checked with that.
    StoreError: not Debian, no apt, no such archive, no network, or a signature that does not hold.
    """
    for program in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(program) is None:
            raise StoreError(f"expected apt and dpkg on this machine, but got no {program}")
    codename = read_release(etc / "os-release").codename
    archives = read_archives(etc / "apt", codename)
    if not archives:
        raise StoreError(f"expected an archive of Debian {codename} in {etc / 'apt'}, but got none")
    refusals = []
    for number, archive in enumerate(archives):
        try:
            return _open_archive(folder / str(number), archive, suite or codename, say)
        except StoreError as refusal:
            refusals.append(str(refusal))
    raise StoreError("\n".join(refusals))


def _open_archive(folder: Path, archive: Archive, suite: str, say: Say) -> Apt:
    say(f"reading the package list of Debian {suite} from this machine's mirror")
    wanted = replace(archive, suite=suite)
    try:
        apt = Apt(folder / suite, wanted)
        apt.update()
    except StoreError as refusal:
        if suite == archive.suite or not re.search(r"NO_PUBKEY|[Mm]issing key", str(refusal)):
            raise
        say(f"this machine's keys do not know {suite} yet: asking {archive.suite} for its current keyring")
        keyring = _current_keyring(folder, archive, say)
        apt = Apt(folder / f"{suite}-keyring", replace(wanted, signed_by=str(keyring)))
        apt.update()
    return apt


def _current_keyring(folder: Path, archive: Archive, say: Say) -> Path:
    own = Apt(folder / archive.suite, archive)
    own.update()
    own.unpack(("debian-archive-keyring",), folder / "keyring", say)
    found = sorted((folder / "keyring" / "usr/share/keyrings").glob("debian-archive-keyring.[gp][gp][gp]"))
    if not found:
        raise StoreError(f"expected a keyring in debian-archive-keyring of {archive.suite}, but got none")
    return found[0]


def library_closure(apt: Apt, names: Iterable[str], *, skip: str = "(?!)") -> tuple[str, ...]:
    """Shared-library packages (section libs) that `names` depend on, directly or through each other, sorted.

    Of alternatives the first that the list holds counts; names that fully match the pattern `skip` are
    left out with what only they need.
    """
    libraries: set[str] = set()
    level = set(names)
    while level:
        groups = [group for package in apt.describe(sorted(level)).values() for group in package.depends]
        known = apt.describe(sorted({name for group in groups for name in group}))
        firsts = [next((known[name] for name in group if name in known), None) for group in groups]
        fresh = {p.name for p in firsts if p and p.section.split("/")[-1] == "libs" and not re.fullmatch(skip, p.name)}
        level = fresh - libraries
        libraries |= fresh
    return tuple(sorted(libraries))


def unpack(packages: Sequence[str], folder: Path, *, say: Say, suite: str | None = None) -> Path:
    """`folder`, holding the files of `packages` (their dependencies not); a second call returns at once."""

    def build(work: Path) -> Path:
        apt = open_apt(work / "apt", say=say, suite=suite)
        apt.unpack(packages, work / "tree", say)
        return work / "tree"

    build_once(folder, f"{suite or ''} {' '.join(packages)}", build)
    return folder


def build_once(folder: Path, mark: str, build: Callable[[Path], Path]) -> bool:
    """Fills `folder` with the tree that `build(work folder)` returns, whole or not at all; False: it was there.

    `mark` says what the folder holds: a folder with another mark is replaced. Two processes at once: one
    builds, the other waits. StoreError where the folder cannot be written.
    """
    if _holds(folder, mark):
        return False
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(f"{folder.name}.lock")):
            if _holds(folder, mark):
                return False
            _build(folder, mark, build)
    except OSError as error:
        raise StoreError(f"expected a folder that can be written at {folder}, but got: {error}") from error
    return True


def _build(folder: Path, mark: str, build: Callable[[Path], Path]) -> None:
    work = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        tree = build(work)
        tree.chmod(0o755)
        (tree / _MARK).write_text(mark)
        (tree / _MARK).chmod(0o644)
        if folder.exists():
            shutil.rmtree(folder)
        tree.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _holds(folder: Path, mark: str) -> bool:
    try:
        return (folder / _MARK).read_text() == mark
    except OSError:
        return False


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(command: Sequence[str], *, cwd: Path | None = None, accept: Sequence[int] = (0,), called: str = "") -> str:
    """What the command prints; StoreError with the end of its complaint on another exit code than `accept`.

    `called` is how the message names the command.
    """
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program, never a shell
            command, cwd=cwd, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StoreError(f"expected {command[0]} to run, but got: {error}") from error
    if done.returncode not in accept:
        said = "; ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-4:])
        name = called or " ".join(command[:3])
        raise StoreError(f"expected {name} to succeed, but got exit code {done.returncode}: {said}")
    return done.stdout
