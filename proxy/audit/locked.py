"""What a lock says that the mirror's page contradicts.

Rules for this file: pure.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from proxy.audit.findings import Exchange, Fault, Finding, Level
from proxy.audit.matrix import allowed_files
from proxy.audit.wanted import Bound, LockedFile, Pin, Want
from proxy.core.page import File, Page, parsed_version
from proxy.core.platform import platform_of
from proxy.core.twins import named


@dataclass(frozen=True, slots=True)
class Pinned:
    """A pin, and the files of its release on the page that it allows."""

    pin: Pin
    spelling: str
    files: Sequence[File]


def pinned_on(page: Page, want: Want) -> list[Pinned]:
    """Gives for each pin what the page lists for it: no file where the page has no such release, or none that the lock allows."""
    found = []
    for pin in want.pins:
        version = parsed_version(pin.version)
        # The same release may be spelled 2 here and 2.0 there (version specifiers, version matching).
        meant = (each for each in page.releases if each.spelling == pin.version or (version is not None and each.version == version))
        release = next(meant, None)
        files = () if release is None else release.files
        found.append(Pinned(pin, pin.version if release is None else release.spelling, allowed_files(pin, files)))
    return found


def lock_findings(page: Page, pinned: Sequence[Pinned], exchange: Exchange) -> Iterator[Finding]:
    """Gives what the pins name and the page lacks, or says otherwise."""
    spelled = {release.spelling for release in page.releases}
    listed = page.by_filename
    for each in pinned:
        if each.spelling not in spelled:
            yield _finding(Fault.RELEASE_ABSENT, page, each, "", "the mirror lists no file of this release", exchange=exchange)
            continue
        if not each.files and each.pin.hashes:
            yield _finding(
                Fault.HASH_DIFFERS, page, each, "", "no file of this release has a hash that the requirement allows", exchange=exchange
            )
        for locked in each.pin.files:
            # Of several files of one name, the one that the lock means.
            file = named(page, locked.filename, locked.hashes.get("sha256", "")) or listed.get(locked.filename)
            if file is None:
                yield _finding(
                    Fault.FILE_NOT_LISTED, page, each, locked.filename, "the lock names it and the mirror lists it not", exchange=exchange
                )
            else:
                yield from _differences(page, each, locked, file, exchange)


def unmet_findings(page: Page, bounds: Iterable[Bound], exchange: Exchange) -> Iterator[Finding]:
    """Return the requirements on the project that no release of the page meets, or none but yanked ones.

    Pre-releases count: clients take them where nothing else meets a requirement. A page without releases is told as such.
    """
    for bound in bounds if page.releases else ():
        meeting = [each for each in page.releases if each.version is not None and _meets(each.version, bound.specifier)]
        if not meeting and bound.specifier:
            says = f"no listed release meets {bound.text}"
        elif meeting and not _names_one(bound.specifier) and all(file.yanked for each in meeting for file in each.files):
            says = f"only yanked releases meet {bound.text}; clients take these for == alone"
        else:
            continue
        yield Finding(
            Level.ERROR, Fault.RELEASE_ABSENT, page.project, says, cause=Fault.RELEASE_ABSENT.value, exchange=exchange, place=bound.place
        )


def _meets(version: Version, specifier: str) -> bool:
    return SpecifierSet(specifier).contains(version, prereleases=True)


def _names_one(specifier: str) -> bool:
    return any(each.operator in {"==", "==="} and not each.version.endswith(".*") for each in SpecifierSet(specifier))


def _differences(page: Page, pinned: Pinned, locked: LockedFile, file: File, exchange: Exchange) -> Iterator[Finding]:
    for name, digest in locked.hashes.items():
        other = file.hashes.get(name)
        if other is not None and other.lower() != digest.lower():
            says = f"its {name} is {other[:16]}… on the page and {digest[:16]}… in the lock"
            yield _finding(Fault.HASH_DIFFERS, page, pinned, file.filename, says, exchange=exchange)
    if locked.size is not None and file.size is not None and locked.size != file.size:
        says = f"it has {file.size} bytes by the page and {locked.size} by the lock"
        yield _finding(Fault.SIZE_DIFFERS, page, pinned, file.filename, says, exchange=exchange)


def _finding(fault: Fault, page: Page, pinned: Pinned, filename: str, says: str, *, exchange: Exchange) -> Finding:
    platform = platform_of(File(filename, "")) if filename else ""
    return Finding(
        Level.ERROR,
        fault,
        page.project,
        says,
        pinned.spelling,
        filename,
        platform,
        fault.value,
        exchange=exchange,
        place=pinned.pin.place,
    )
