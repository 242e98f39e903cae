"""A pyproject.toml as `uv lock` reads it: the dependencies of its project, its extras and groups, and of the local projects among them.

They are followed to their ends by `closure`, since nobody has chosen releases yet. A dependency that `[tool.uv.sources]` or a URL binds
elsewhere is no matter of the mirror, and neither is a transitive requirement on the same project: uv goes by the binding for both.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from proxy.audit.inputs.indexes import Index, mirror_among
from proxy.audit.inputs.manifest import Binding, Declared, Manifest
from proxy.audit.inputs.quotations import quotation
from proxy.audit.inputs.toml import read_toml
from proxy.audit.platforms import holds, supported_environments
from proxy.audit.wanted import ELSEWHERE, Bound, LeftOut, Omission, Order, Place, Source, Unreadable, Want
from proxy.core.errors import InvalidProjectName
from proxy.core.page import normalised_name

_OTHERS: tuple[dict[str, str], ...] = (
    {},
    {"implementation_name": "pypy", "platform_python_implementation": "PyPy"},
    {"sys_platform": "freebsd", "platform_system": "FreeBSD"},
)
"""The variables of environments beside the usual ones, for which uv locks too."""

Environments = frozenset[int]


@dataclass(frozen=True, slots=True)
class Asked:
    """A requirement on a project: the numbers of the environments that need it, and of those where it is bound elsewhere."""

    spelling: str
    text: str
    place: Place
    needed: Environments
    bound: Environments = frozenset()
    omissions: tuple[Omission, ...] = ()
    conditional: bool = False


@dataclass(slots=True)
class Dependencies:
    """The needs of projects: `wants` from the mirror, with their requirements as `closure`, and what is `left_out`."""

    wants: list[Want] = field(default_factory=list)
    closure: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    withheld: set[str] = field(default_factory=set)


def read_pyproject(path: Path, upstream: str) -> Order:
    """Return what a pyproject.toml needs of the mirror at `upstream`; raises Unreadable."""
    project = Manifest(path)
    reader = DependencyReader(project, upstream, as_uv_locks=True)
    reader.add_whole(project)
    for folder in project.members() if project.is_workspace else ():
        # A workspace may have its root among its members.
        if folder != project.folder.resolve():
            reader.add_whole(Manifest(folder / "pyproject.toml"))
    found = reader.found()
    left_out = (*found.left_out, *reader.options())
    if not found.wants:
        raise Unreadable(path, _why_empty(project, found.left_out))
    elsewhere = sum(each.omission in ELSEWHERE for each in found.left_out)
    return Order(
        tuple(found.wants),
        (Source("pyproject", str(path), elsewhere, left_out),),
        project.requires_python,
        closure=tuple(found.closure),
        constraints=tuple(reader.root.constraints),
        overrides=tuple(reader.overrides()),
        withheld=frozenset(found.withheld),
        other_indexes=reader.has_other_indexes,
        environments=reader.root.environments,
    )


def _why_empty(project: Manifest, left_out: Sequence[LeftOut]) -> str:
    if any(each.omission is Omission.DYNAMIC for each in left_out):
        return "its dependencies are dynamic, which only a build tells; give the uv.lock, or requirements"
    elsewhere = [each for each in left_out if each.omission not in {Omission.TOOL, Omission.BUILD}]
    if elsewhere:
        return f"nothing of it comes from the mirror: its {len(elsewhere)} dependencies come from elsewhere"
    if project.needs_poetry:
        return "its dependencies are in [tool.poetry], which is not read; give the poetry.lock"
    tables = [each.text for each in left_out if each.omission is Omission.TOOL]
    if tables:
        return f"its dependencies are in {tables[0]}, which is not read; give the lock of that program"
    return "it has no dependencies: none in [project], its extras or its groups"


class DependencyReader:
    """Collects the dependencies of projects, and of the local projects that they lead to, in the workspace of the first of them."""

    def __init__(self, first: Manifest, upstream: str, *, as_uv_locks: bool = False) -> None:
        """Read for `uv lock`, which locks for the environments of the workspace alone, or for what installs on any."""
        self._upstream = upstream
        self.root = _workspace_of(first)
        markers = self.root.environments if as_uv_locks else ()
        self._environments = [
            environment | other
            for environment in supported_environments(first.requires_python, markers)
            for other in _OTHERS
            if not markers or any(holds(Marker(each), environment | other) for each in markers)
        ]
        if not self._environments:
            why = "environments in [tool.uv] admits no platform and Python that is known here; give the uv.lock"
            raise Unreadable(self.root.path, why)
        if any(sum(holds(Marker(each), environment) for each in markers) > 1 for environment in self._environments):
            raise Unreadable(self.root.path, "environments in [tool.uv] overlap, which uv refuses")
        self._members: dict[str, Path] = {}
        for folder in (*(self.root.members() if self.root.is_workspace else ()), self.root.folder):
            member = self.root if folder.resolve() == self.root.folder.resolve() else Manifest(folder / "pyproject.toml")
            if member.name:
                self._members[member.name] = folder
        self._asked: dict[str, list[Asked]] = {}
        self._left_out: list[LeftOut] = []
        self._seen: set[tuple[Path, str]] = set()
        settings, self._find_links, self._no_index = self._settings()
        self._indexes = settings
        self._mirror = mirror_among(self._indexes, upstream)

    @property
    def has_other_indexes(self) -> bool:
        """True if packages without a binding may come from another index or folder than the mirror."""
        return bool(self._find_links or self._other_indexes())

    def add_whole(self, project: Manifest) -> None:
        """Add a project with all of its extras and groups."""
        self._add_dynamic(project)
        self._left_out += [LeftOut(Omission.TOOL, each, project.place(each.partition("[")[2].rstrip("]"))) for each in project.unread()]
        self._left_out += [LeftOut(Omission.BUILD, quotation(each), project.place(each)) for each in project.build_requires]
        for part in ("", *project.extras):
            self._seen.add((project.path.resolve(), part))
        for declared in project.declared():
            self._add(project, declared)

    def add_local(self, folder: Path, extras: Iterable[str]) -> None:
        """Add what installing the project in `folder` with these extras needs."""
        path = folder / "pyproject.toml"
        if not _is_file(path):
            if _is_folder(folder):
                self._left_out.append(LeftOut(Omission.DYNAMIC, f"dependencies of {folder}"))
            return
        project = Manifest(path)
        for part in ("", *map(canonicalize_name, extras)):
            key = (path.resolve(), part)
            if key in self._seen:
                continue
            self._seen.add(key)
            if not part:
                self._add_dynamic(project)
                if not project.is_static:
                    self._left_out.append(LeftOut(Omission.DYNAMIC, f"dependencies of {folder}"))
            for text in project.extras.get(part, ()) if part else project.dependencies:
                self._add(project, Declared(text, extra=part))

    def options(self) -> list[LeftOut]:
        """Return the settings that change where packages come from."""
        names = [f"index {each}" for each in self._other_indexes()] + [f"find-links {quotation(each)}" for each in self._find_links]
        return [LeftOut(Omission.OPTION, each, Place(str(self.root.path), 1)) for each in names]

    def overrides(self) -> list[str]:
        """Return the overrides that choose among the mirror's releases."""
        return [text for text in self.root.overrides if not self._is_bound(text)]

    def found(self) -> Dependencies:
        """Return all that was added, by project."""
        found = Dependencies(left_out=list(self._left_out))
        excluded: set[str] = {canonicalize_name(each) for each in self.root.excluded}
        overridden = {self._parsed(self.root, text)[1] for text in self.root.overrides if self._is_bound(text)}
        found.withheld = excluded | overridden | set(self._members)
        found.withheld |= {
            pattern
            for pattern, index in self.root.others.patterns()
            if index != self._mirror and (pattern, self._mirror) not in set(self.root.others.patterns())
        }
        for name, asked in self._asked.items():
            of_mirror = [each for each in asked if self._is_of_mirror(each, asked)]
            reason = self._reason(name, asked, of_mirror, excluded, overridden)
            if reason is None:
                bounds = tuple(self._bounds(name, of_mirror))
                found.wants.append(Want(name, of_mirror[0].spelling, (), of_mirror[0].place, bounds=bounds))
                found.closure += [each.text for each in of_mirror]
                # Elsewhere it comes from somewhere else.
                parts = {(omission, each.place): None for each in asked if each.bound for omission in each.omissions}
                found.left_out += [LeftOut(omission, name, place) for omission, place in parts]
            else:
                found.left_out.append(LeftOut(reason, name, asked[0].place))
                if reason is not Omission.MARKER:
                    found.withheld.add(name)
        return found

    def _bounds(self, name: str, asked: Iterable[Asked]) -> Iterator[Bound]:
        """Return the requirements on a project as constraints and overrides make them. What these do somewhere alone is not told here."""
        overrides, constraints = self._of(name, self.root.overrides), self._of(name, self.root.constraints)
        if any(each.marker is not None for each in overrides):
            return
        limits = [str(each.specifier) for each in constraints if each.marker is None and each.url is None]
        for each in asked:
            for requirement in overrides or [Requirement(each.text)]:
                specifier = ",".join(filter(None, (str(requirement.specifier), *limits)))
                yield Bound(f"{name}{specifier}", specifier, each.place)

    def _of(self, name: str, texts: Iterable[str]) -> list[Requirement]:
        parsed = [self._parsed(self.root, text) for text in texts]
        return [requirement for requirement, project in parsed if project == name]

    def _reason(
        self, name: str, asked: Sequence[Asked], of_mirror: Sequence[Asked], excluded: set[str], overridden: set[str]
    ) -> Omission | None:
        """Return why the mirror is not asked about a project, None if it is."""
        if name in excluded:
            return Omission.EXCLUDED
        if name in overridden:
            return Omission.URL
        if not of_mirror:
            return next((omission for each in asked for omission in each.omissions), Omission.MARKER)
        return Omission.NO_INDEX if self._no_index else None

    def _is_of_mirror(self, one: Asked, asked: Sequence[Asked]) -> bool:
        """True if some environment takes the project from the mirror for this requirement.

        uv goes by the bindings of any requirement on a project, but for the environments for which the markers of one's own leave a gap,
        and but for extras and groups where some of them exclude each other.
        """
        if one.omissions:
            return bool(one.needed - one.bound)
        others = [each.bound for each in asked if not (each.conditional and self.root.has_conflicts)]
        return bool(one.needed.difference(*others))

    def _add(self, project: Manifest, declared: Declared) -> None:
        requirement, name = self._parsed(project, declared.text)
        if name == project.name:
            self.add_local(project.folder, requirement.extras)
            return
        bindings = self._bindings(project, name, declared, requirement)
        needed = self._where(requirement)
        bound = {
            number
            for each in bindings
            if not self._is_mirror(project, name, each)
            for number in needed
            if holds(each.marker, self._environments[number])
        }
        omissions = tuple(each.omission for each in bindings if not self._is_mirror(project, name, each))
        conditional = any(each.extra or each.group for each in bindings)
        place = project.place(declared.text)
        asked = Asked(requirement.name, str(requirement), place, needed, frozenset(bound), omissions, conditional)
        self._asked.setdefault(name, []).append(asked)
        for each in bindings:
            folder = self._folder(project, name, each)
            if folder is not None:
                self.add_local(folder, requirement.extras)

    def _where(self, requirement: Requirement) -> Environments:
        return frozenset(number for number, each in enumerate(self._environments) if holds(requirement.marker, each))

    def _bindings(self, project: Manifest, name: str, declared: Declared, requirement: Requirement) -> list[Binding]:
        if requirement.url is not None:
            return [Binding(_omission_of(requirement.url), requirement.url, None)]
        found = project.bindings(name, declared)
        if found is None and self._is_member(project):
            found = self.root.bindings(name, declared)
        if not found and name in self._members:
            # uv insists on a source for it. It is never asked about as if it were public.
            return [Binding(Omission.WORKSPACE, "", None)]
        return found or []

    def _is_member(self, project: Manifest) -> bool:
        return project.folder.resolve() in {each.resolve() for each in self._members.values()}

    def _is_mirror(self, project: Manifest, name: str, binding: Binding) -> bool:
        if binding.omission is not Omission.INDEX:
            return False
        indexes = [*project.indexes, *self.root.indexes]
        if binding.index is not None:
            return binding.index == mirror_among([*indexes, binding.index], self._upstream)
        index = next((each for each in indexes if each.name == binding.target), None)
        if index is None:
            why = f"{name!r} in [tool.uv.sources] names the index {quotation(binding.target)!r}, which [[tool.uv.index]] does not define"
            raise Unreadable(project.path, why)
        return index == mirror_among(indexes, self._upstream)

    def _folder(self, project: Manifest, name: str, binding: Binding) -> Path | None:
        if binding.omission is Omission.WORKSPACE:
            return self._members.get(name)
        if binding.omission is not Omission.PATH or not binding.target:
            return None
        path = url2pathname(urlsplit(binding.target).path) if binding.target.lower().startswith("file:") else binding.target
        return project.folder / path

    def _is_bound(self, text: str) -> bool:
        requirement, name = self._parsed(self.root, text)
        bindings = self._bindings(self.root, name, Declared(text), requirement)
        return any(not self._is_mirror(self.root, name, each) for each in bindings)

    def _add_dynamic(self, project: Manifest) -> None:
        texts = [f"{each} of {project.path}" for each in project.dynamic]
        self._left_out += [LeftOut(Omission.DYNAMIC, text, project.place("dynamic")) for text in texts]

    def _settings(self) -> tuple[list[Index], list[str], bool]:
        """Return the indexes, the folders with files, and whether there is no index: of the uv.toml, else of the workspace's root."""
        path = self.root.folder / "uv.toml"
        if not _is_file(path):
            return self.root.indexes, self.root.find_links, self.root.no_index
        content, _ = read_toml(path)
        links = content.get("find-links")
        folders = [each for each in links if isinstance(each, str)] if isinstance(links, list) else []
        return self.root.indexes_of(content), folders, content.get("no-index") is True

    def _other_indexes(self) -> list[Index]:
        return [each for each in self._indexes if not each.explicit and each != self._mirror]

    def _parsed(self, project: Manifest, text: str) -> tuple[Requirement, str]:
        try:
            requirement = Requirement(text)
            return requirement, normalised_name(requirement.name)
        except (InvalidRequirement, InvalidProjectName, RecursionError) as error:
            raise Unreadable(project.path, f"line {project.place(text).line}: {quotation(text)[:120]!r} is no requirement") from error


def _omission_of(url: str) -> Omission:
    scheme = url.partition(":")[0].lower()
    return Omission.GIT if scheme.startswith("git") else Omission.PATH if scheme == "file" else Omission.URL


def _workspace_of(project: Manifest) -> Manifest:
    """Return the root of the workspace that the project belongs to: itself if it is in none."""
    if project.is_workspace:
        return project
    folder = project.folder.resolve()
    for parent in folder.parents:
        path = parent / "pyproject.toml"
        if _is_file(path):
            try:
                root = Manifest(path)
            except Unreadable:
                # It may be anybody's: only what claims this project as its member has to be understood.
                continue
            if root.is_workspace and folder in root.members():
                return root
    return project


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (ValueError, OSError):
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (ValueError, OSError):
        return False
