"""The oracle: it knows the truth of a world, looks at every page as it is served, and says which promise was broken.

The promises, by the kind under which a broken one is told:

- lost: No file that is delivered to someone who asks alone is missing from a page. Where chance decides (random denials, nodes), this is
  counted instead, and hardly ever happens.
- not-back: A file that was really absent is back within eleven minutes and a view, one whose name is new within eighty seconds and a view.
- page-empty, page-refused: No page that the mirror gives is turned empty or refused, also not for long after an outage.
- page-gone: No stored page is lost to an outage: it is served meanwhile, also after a restart.
- stale: No page is served stale for longer than the mirror is in trouble.
- quarantine: A project that the mirror marks as quarantined is no longer served (PEP 792).
- metadata-foreign, metadata-refused: Metadata that is not the file's own is not kept beyond a passing failure, and the file's own is had.
- file-unknown, file-refused: A file that a page listed lately, or that the mirror lists, can be had.
- rights, added: No identity sees what only another may see, and nobody sees what nobody listed.
- dead-listed: A file that is really dead leaves its page within a bounded number of views some minutes apart.
- price: The requests about files are bounded.
- miscounted: The proxy counts each of them for a reason, or as a client's own.
- slow, endless: No page takes longer than clients wait.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from proxy.core.errors import UpstreamStatus
from proxy.telemetry.price import Price
from tests.simulation.behaviour import Behaviour
from tests.simulation.outages import ClockJumps
from tests.simulation.world import ALWAYS, NEVER, SimFile, SimProject, World

FRESH = 125.0
"""Seconds after which a page has to show what the mirror's page shows: those for which it is fresh, and a few."""

BACK_WITHIN = 660.0
"""Seconds after which a file that was really absent is due again; the view after the next one shows it."""

YOUNG_BACK_WITHIN = 80.0
"""The same for a file whose name is new."""

RECOVERED_WITHIN = 35.0
"""Seconds after a mirror's recovery by which a page that was refused is had."""

LONGEST_WAIT = 9.0
"""Seconds that a client waits for a page at most: the deadline of the settings, and what the machine takes."""

PRICE_OF_A_FILE, PRICE_OF_A_VIEW, PRICE_OF_A_PROOF = 6, 4, 40
"""The bound of the price: so many requests about each listed file, so many more for each view of its page, and for each view of a page,
however small, those that it takes to prove a denial.
"""

FETCHABLE_FOR = 3600.0
"""Seconds for which a file that a page listed can be had although a newer page lacks it."""

PRIVATE_FOR = 600.0
"""Seconds after its last use for which what a client's own token showed is kept."""

_CONTROL_APART = 100.0


@dataclass
class Tally:
    """The counts of one history: `drops` of healthy files where chance decides, in so many `file_views`."""

    violations: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    drops: list[str] = field(default_factory=list)
    file_views: int = 0
    views: int = 0
    longest: float = 0.0
    price: int = 0
    dead_at_first: int = 0
    listed_at_first: int = 0


class Oracle:
    """Judges what clients get. All times are the loop's seconds.

    `costly` says that a probe costs this kind of mirror a download, so that hardly anything is asked ahead of clients.
    """

    def __init__(self, world: World, behaviours: Sequence[Behaviour], *, costly: bool) -> None:
        self.tally = Tally()
        self._world = world
        self._behaviours = behaviours
        self._costly = costly
        self._slow = frozenset[str]().union(*(each.slow_pages for each in behaviours))
        self._exact = all(each.exact for each in behaviours)
        self._calm = self._exact and not any(each.slack for each in behaviours)
        self._slack = sum(each.slack for each in behaviours)
        jumps = [-seconds for each in behaviours if isinstance(each, ClockJumps) for _, seconds in each.jumps]
        self._skew = sum(each for each in jumps if 0 < each <= 3600)
        self._seen: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
        self._known_at: dict[tuple[str, str], float] = {}
        self._views: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._missing: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._viewed: Counter[str] = Counter()
        self._noticed = ALWAYS
        self._asked_last = ALWAYS
        self._denied_to_client: dict[str, float] = {}

    def restarted(self) -> None:
        """Note that the proxy restarted: what belongs to a client's own token is forgotten."""
        patchy = {file.filename for file in self._world.files if file.patchy}
        for seen in self._seen.values():
            for filename in patchy & seen.keys():
                del seen[filename]
        for private in [key for key in self._known_at if key[0]]:
            del self._known_at[private]

    def troubled(self, since: float, until: float) -> bool:
        """Return whether the mirror was in trouble between these moments."""
        return any(each.trouble(since, until) for each in self._behaviours)

    def refused(self, name: str, who: str, began: float, ended: float, error: Exception) -> None:
        """Judge a page that was not given."""
        self._took(name, began, ended)
        project = self._world.projects.get(name)
        if project is None or not project.shows(who):
            return
        told = set().union(*(each.pages_may_fail(began - RECOVERED_WITHIN, ended) for each in self._behaviours))
        status = error.status if isinstance(error, UpstreamStatus) else None
        if not told:
            word = "turned into 404" if status == 404 else "refused without need"
            self.broken(ended, "page-refused", f"project {name} is {word} for {who or 'all'}: {error!s}")
        elif not who and self._known(("", name), ended) and not told & {401, 403}:
            others = self._others(("", name), ended)
            if others or not told & {404, "empty page"}:
                self.broken(
                    ended, "page-gone", f"the known page of {name} is not served during an outage ({sorted(map(str, told))}): {error!s}"
                )
        elif told & {401, 403}:
            self._known_at.pop((who, name), None)

    def served(self, name: str, who: str, began: float, ended: float, names: Collection[str], *, stale: bool) -> None:
        """Judge a page that was served; `stale` says that it was for want of a newer one."""
        self._took(name, began, ended)
        project, listed = self._world.projects.get(name), set(names)
        if project is None:
            self.broken(ended, "added", f"{name} is served, which the mirror never had")
        elif not project.shows(who):
            kind = "rights" if listed else "added"
            # An empty page is what the mirror itself gave to everybody.
            if listed or not any("empty page" in each.pages_may_fail(float("-inf"), ended) for each in self._behaviours):
                self.broken(ended, kind, f"{who or 'everybody'} is shown {name}, which only others may see")
        elif ended >= project.quarantined_from:
            if not stale or name not in self._slow:
                self._judge_quarantined(project, began, ended, listed)
        else:
            self._judge_stale(name, who, began, ended, stale=stale)
            self._nothing_foreign(project, who, ended, listed)
            self._judge_page(project, who, began, ended, listed)

    def _judge_quarantined(self, project: SimProject, began: float, ended: float, listed: set[str]) -> None:
        since = project.quarantined_from
        if listed and began > since + FRESH + self._skew and not self._pages_failed(since, ended):
            self.broken(ended, "quarantine", f"files of {project.name} are still listed {ended - since:.0f} s after its quarantine")

    def _judge_stale(self, name: str, who: str, began: float, ended: float, *, stale: bool) -> None:
        # Once any page was asked for after an outage, the proxy can know that it is over.
        if stale and name not in self._slow and not self._pages_failed(min(began, self._noticed), ended):
            self.broken(ended, "stale", f"the page of {name} is served stale to {who or 'all'} although the mirror gives it")

    def _judge_page(self, project: SimProject, who: str, began: float, ended: float, listed: set[str]) -> None:
        key = who, project.name
        required = [file for file in project.files if self._required(file, who, began, ended, key)]
        gone = [file for file in required if file.filename not in listed]
        self.tally.file_views += len(required)
        if required and not listed:
            if not self._may_be_empty(key, began, ended):
                self.broken(ended, "page-empty", f"the page of {project.name} is turned empty for {who or 'all'}")
            return
        if gone:
            self._judge_missing(gone, key, began, ended)
        if not who:
            self._judge_dead(project, began, ended, listed)
        self._missing[key] = {file.filename for file in gone}
        self._seen[key].update(dict.fromkeys(listed, ended))
        self._known_at[key] = ended
        if not self.troubled(began - 60.0, ended):
            views = self._views[key]
            if not views or began - views[-1] >= 5.0:
                views.append(began)

    def _known(self, key: tuple[str, str], now: float) -> bool:
        """Return whether the proxy has the page from before; what a client's own token showed is kept for minutes."""
        since = self._known_at.get(key)
        return since is not None and (not key[0] or now - since < PRIVATE_FOR)

    def _others(self, key: tuple[str, str], now: float) -> list[tuple[str, str]]:
        """Return the other pages that the proxy has for this identity."""
        return [other for other in self._known_at if other[0] == key[0] and other != key and self._known(other, now)]

    def _may_be_empty(self, key: tuple[str, str], began: float, ended: float) -> bool:
        """Return whether an empty page is the mirror's own, which nothing contradicts: neither an earlier one nor another project's."""
        if not any("empty page" in each.pages_may_fail(began - FRESH, ended) for each in self._behaviours):
            return False
        others = self._others(key, ended)
        repeated = any("empty page" in each.pages_may_fail(began - 600.0, began - 60.0) for each in self._behaviours)
        return not self._known(key, ended) or (not others and repeated)

    def _judge_missing(self, gone: list[SimFile], key: tuple[str, str], began: float, ended: float) -> None:
        new = [file for file in gone if file.filename not in self._missing[key]]
        if not self._exact:
            self.tally.drops += [file.filename for file in new]
            return
        absent = [file for file in gone if file.whole_since(key[0], began) != ALWAYS]
        for kind, files, words in (
            ("not-back", absent, "are not back although they are delivered again"),
            ("lost", [file for file in new if file not in absent], "are lost"),
        ):
            if files:
                shown = ", ".join(file.filename for file in files[:4])
                self.broken(ended, kind, f"{len(files)} healthy files of {key[1]} {words} for {key[0] or 'all'}: {shown}")

    def _required(self, file: SimFile, who: str, began: float, ended: float, key: tuple[str, str]) -> bool:
        """Return whether the file has to be on the page that was asked for and served at these moments."""
        if file.patchy or not file.lists(who, began) or not file.lists(who, ended):
            return False
        if file.listed_from != ALWAYS and file.filename not in self._seen[key]:
            late = began - file.listed_from >= FRESH + self._skew and not self._pages_failed(file.listed_from, ended)
            if not late or file.project in self._slow:
                return False
        since = file.whole_since(who, began)
        if since is None or file.whole_since(who, ended) != since:
            return False
        if since == ALWAYS or self._costly or file.failing is not None:
            # What was denied stays away while no answer can be had.
            return since == ALWAYS
        due = since + (YOUNG_BACK_WITHIN if file.young and since == file.there_from else BACK_WITHIN) + self._skew
        return sum(each >= due for each in self._views[key]) >= 1 + self._slack

    def _pages_failed(self, since: float, until: float) -> bool:
        return any(each.pages_may_fail(since - RECOVERED_WITHIN, until) for each in self._behaviours)

    def _nothing_foreign(self, project: SimProject, who: str, ended: float, listed: set[str]) -> None:
        truth = {file.filename: file for file in project.files}
        for filename in listed:
            file = truth.get(filename)
            if file is None or file.listed_from > ended:
                self.broken(ended, "added", f"{filename} is listed, which the mirror never listed")
            elif file.listed_for is not None and who not in file.listed_for:
                self.broken(ended, "rights", f"{who or 'everybody'} sees {filename}, which only others may see")

    def _judge_dead(self, project: SimProject, began: float, ended: float, listed: set[str]) -> None:
        """Judge whether what is really dead has left the page, which all share, after so many views some minutes apart."""
        needed = [each.control for each in self._behaviours]
        files = project.listed("", ended)
        if self._costly or None in needed or not any(file.there("", ended) and file.failing is None for file in files):
            return
        views_needed = max([3, *(each for each in needed if each is not None)])
        first = not self._views["", project.name]
        for file in files:
            since = self._dead_since(file)
            if since is None:
                continue
            if first and since == 0.0:
                self.tally.dead_at_first += 1
                self.tally.listed_at_first += file.filename in listed
            if file.filename in listed:
                alone = not any(other.version == file.version and other.there("", ended) for other in files)
                if self._apart(("", project.name), since) >= views_needed + alone and not self.troubled(began - 900.0, ended):
                    words = f"is still listed, though it is really gone ({file.denied}) since {since:.0f} s"
                    self.broken(ended, "dead-listed", f"{file.filename} {words}")

    def denied_to_client(self, file: SimFile, now: float) -> None:
        """Note that a client asked for a file that is gone, and that the proxy saw the denial."""
        if not self.troubled(now - 60.0, now):
            self._denied_to_client.setdefault(file.filename, now)

    def _dead_since(self, file: SimFile) -> float | None:
        """Return since when the proxy could have known that the file is gone for good, None where it could not."""
        if file.delivered_to is not None:
            # A file that another identity gets, from a page with the same bytes, counts as deliverable for all.
            return None
        if file.dead:
            return 0.0
        # What was once delivered is not asked about again for a week, unless a client finds it gone.
        return self._denied_to_client.get(file.filename) if file.gone_from != NEVER and file.back_from == NEVER else None

    def _apart(self, key: tuple[str, str], since: float) -> int:
        """Return how many views some minutes apart there have been, the one that is judged not counted."""
        count, before = 0, ALWAYS
        for view in self._views[key]:
            if view >= since and view - before >= _CONTROL_APART:
                count, before = count + 1, view
        return count

    def broken(self, at: float, kind: str, words: str) -> None:
        """Note a promise that was broken, and of which kind it is."""
        self.tally.kinds[kind] += 1
        self.tally.violations.append(f"{at:12.3f}  BROKEN ({kind}): {words}")

    def expected(self, file: SimFile, who: str, began: float, ended: float) -> bool:
        """Return whether the proxy must know a file that was asked for then: the mirror lists it, or did so on the last page."""
        project = self._world.projects[file.project]
        if not project.shows(who) or ended >= project.quarantined_from or not file.lists(who, began - 3.0):
            return False
        return not self._pages_failed(began, ended) and (not file.patchy or self.seen(file, who, began))

    def well(self, project: str, began: float, ended: float) -> bool:
        """Return whether the mirror was well then, and gives the page of this project in time."""
        return self._calm and project not in self._slow and not self.troubled(began - 60.0, ended)

    def seen(self, file: SimFile, who: str, now: float) -> bool:
        """Return whether this identity was shown the file on a page lately, since the proxy started."""
        shown = self._seen[who, file.project].get(file.filename, ALWAYS)
        return now - shown < (PRIVATE_FOR if who else FETCHABLE_FOR)

    def price(self, asked: int) -> None:
        """Judge what the proxy asked about files in the whole history: so many requests."""
        self.tally.price = sum(
            len(project.files) * (PRICE_OF_A_FILE + PRICE_OF_A_VIEW * self._viewed[name]) + PRICE_OF_A_PROOF * self._viewed[name]
            for name, project in self._world.projects.items()
        )
        if asked > self.tally.price:
            self.broken(ALWAYS, "price", f"{asked} requests about files, where {self.tally.price} had to do")

    def counted(self, asked: int, price: Price) -> None:
        """Judge how the proxy counted the requests about files of the whole history, of which the mirror got so many."""
        reasons = {reason.value: count for reason, count in price.requests.items() if count}
        if sum(reasons.values()) + price.relayed != asked:
            self.broken(ALWAYS, "miscounted", f"{asked} requests about files, counted as {reasons} and {price.relayed} of clients")

    def _took(self, name: str, began: float, ended: float) -> None:
        self.tally.views += 1
        self._viewed[name] += 1
        if began - self._asked_last >= 5.0:
            self._noticed, self._asked_last = self._asked_last, began
        self.tally.longest = max(self.tally.longest, ended - began)
        if ended - began > LONGEST_WAIT:
            self.broken(ended, "slow", f"the page of {name} took {ended - began:.1f} s")
