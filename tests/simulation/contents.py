"""Mirrors whose contents change, lag, or differ by who asks."""

from typing import ClassVar

from proxy.core.flows.exchange import Method
from tests.simulation.behaviour import Behaviour, Stage
from tests.simulation.simulated_mirror import Incoming, Outcome, Sketch, Told, refusal
from tests.simulation.world import ALWAYS, JSON_TYPE, NEVER, release


class Lag(Behaviour):
    """A new release appears on its page seconds or minutes before its files are there."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.files: list[str] = []
        for _ in range(rng.randint(1, 2)):
            name = rng.choice(list(stage.world.projects))
            project = stage.world.projects[name]
            version = f"{rng.randint(5, 9)}.{rng.randint(0, 9)}"
            if any(file.version == version for file in project.files):
                continue
            like = project.files[0]
            listed = rng.choice(stage.moments) - rng.random() * 3.0 if rng.random() < 0.7 else rng.random() * stage.end
            new = release(
                rng, name, version, sized=like.size_told is not None, timed=like.upload_time is not None, core_metadata=False, most=6,
                uploaded=listed,
            )  # fmt: skip
            lag = rng.choice((2.0, 10.0, 45.0, 200.0, 1000.0))
            for file in new:
                file.core_metadata = like.core_metadata if file.is_wheel else False
                file.listed_from, file.there_from, file.young = listed, listed + lag * rng.uniform(0.5, 1.0), True
                project.files.append(file)
                self.files.append(f"{file.filename} listed {file.listed_from:.1f} there {file.there_from:.1f}")


class NewRelease(Behaviour):
    """A new release appears with its files."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        rng = stage.rng
        project = rng.choice(list(stage.world.projects.values()))
        like = project.files[0]
        self.project, self.listed = project.name, stage.moment()
        for file in release(
            rng, project.name, "10.0", sized=like.size_told is not None, timed=like.upload_time is not None, core_metadata=False, most=6,
            uploaded=self.listed,
        ):  # fmt: skip
            file.listed_from = self.listed
            project.files.append(file)


class Absences(Behaviour):
    """Some files are deleted in mid-history, though still listed; most are restored later."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.files = []
        group = stage.world.files
        if rng.random() < 0.3:
            project = rng.choice(list(stage.world.projects.values()))
            group = project.files
        gone, back = stage.moment(), stage.moment()
        gone, back = min(gone, back), max(gone, back)
        if rng.random() < 0.3:
            back = NEVER
        for file in rng.sample(group, max(1, round(len(group) * rng.choice((0.1, 0.3, 1.0))))):
            if file.there_from == ALWAYS:
                file.gone_from, file.back_from, file.denied = gone, back, rng.choice((404, 404, 410))
                self.files.append(f"{file.filename} {gone:.1f}-{back:.1f}")


class Dead(Behaviour):
    """Some files are listed and not there for good: a platform as a whole, or some at random."""

    def __init__(self, stage: Stage, count: int | None = None, told: Told | None = None) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.told = rng.choice((404, 404, 404, 403, 410, 451, "page")) if told is None else told
        mark = rng.choice(("macosx", "win", "musllinux", "cp313", "1.0", ""))
        chosen = [file for file in stage.world.files if (mark in file.filename if mark else rng.random() < 0.2)]
        if count is not None:
            chosen = rng.sample(stage.world.projects["amber"].files, count)
        for file in chosen:
            file.there_from, file.denied = NEVER, self.told
        self.files = [file.filename for file in chosen]


class Quarantine(Behaviour):
    """A project is quarantined: its page is empty and says so (PEP 792)."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.project, self.since = stage.rng.choice(list(stage.world.projects)), stage.moment()
        stage.world.projects[self.project].quarantined_from = self.since


class Rights(Behaviour):
    """Some projects or files are seen, or delivered, to one identity only."""

    IDENTITIES: ClassVar[tuple[str, ...]] = ("alice", "bob")

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        rng = stage.rng
        self.private: list[str] = []
        projects = list(stage.world.projects.values())
        if rng.random() < 0.6:
            project = rng.choice(projects[1:] or projects)
            project.seen_by = frozenset({rng.choice(self.IDENTITIES)})
            self.private.append(f"{project.name} for {''.join(project.seen_by)}")
        for file in rng.sample(stage.world.files, min(4, len(stage.world.files))):
            who = frozenset({rng.choice(self.IDENTITIES)})
            if rng.random() < 0.5:
                file.listed_for = who
                self.private.append(f"{file.filename} listed for {''.join(who)}")
            else:
                file.delivered_to = who
                file.denied = rng.choice((403, 404))
                self.private.append(f"{file.filename} delivered to {''.join(who)}")


class SignedLinks(Behaviour):
    """The links of a page are signed anew each time, and each signature is good for some minutes."""

    before_all = True
    after_all = True

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.good_for = stage.rng.choice((900.0, 3600.0))
        self.told = stage.rng.choice((403, 404, 400))

    def before(self, request: Incoming) -> Outcome | None:
        if request.kind == "page":
            return None
        signed = request.query.partition("signed=")[2]
        good = signed.isdecimal() and request.at - int(signed) < self.good_for
        return None if good else refusal(self.told, head=request.ask.method is Method.HEAD)

    def after(self, request: Incoming, outcome: Outcome) -> Outcome:
        project = self.stage.world.projects.get(request.project)
        if request.kind != "page" or project is None or not isinstance(outcome, Sketch) or outcome.status not in {200, 304}:
            return outcome
        body, _ = project.page(request.who, request.at)
        end = b'"' if project.form == "json" else b"#"
        for file in project.files:
            link = f"/files/{file.project}/{file.filename}".encode()
            body = body.replace(link + end, link + b"?signed=%d" % int(request.at) + end)
        headers = {name: value for name, value in outcome.headers.items() if name != "etag"} | {"content-length": str(len(body))}
        headers["content-type"] = JSON_TYPE if project.form == "json" else "text/html"
        return Sketch(200, headers, body)
