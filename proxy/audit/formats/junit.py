"""The report as JUnit's XML, which CI systems show as tests: a suite for each project, a case for each finding, one for a sound project."""

import re
from xml.etree import ElementTree as ET

from proxy.audit.curl import curl_line
from proxy.audit.findings import Finding, Level, ProjectReport, Report
from proxy.audit.wanted import OMISSIONS
from proxy.audit.wording import how_many
from proxy.index.explaining import moment

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to write (section 2.2)."""


def junit_of(report: Report) -> str:
    """Gives the report as XML text: errors and warnings are failures, what could not be checked is an error, notes are skipped."""
    root = ET.Element("testsuites", name=_sound(f"mirrormend check {report.mirror}"), time=f"{report.ended - report.began:.3f}")
    for project in report.projects:
        root.append(_suite(project, moment(report.began)))
    whole = _whole(report)
    if len(whole):
        root.append(whole)
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _whole(report: Report) -> ET.Element:
    """Return a suite of what concerns the check as a whole: that it was interrupted, and what it did not look at."""
    cases = []
    if report.interrupted:
        case = ET.Element("testcase", classname="mirrormend", name="the check came to its end")
        ET.SubElement(case, "error", message=f"it was interrupted; {how_many(report.unreached, 'project')} not come to", type="interrupted")
        cases.append(case)
    for source in report.sources:
        for each in source.left_out:
            case = ET.Element("testcase", classname="mirrormend", name=_sound(f"left out: {each.text}"))
            if each in source.incomplete:
                ET.SubElement(case, "error", message=_sound(OMISSIONS[each.omission]), type=each.omission.value)
            else:
                ET.SubElement(case, "skipped", message=_sound(OMISSIONS[each.omission]))
            cases.append(case)
    return _suite_of("the check itself", cases, {})


def _suite(project: ProjectReport, began: str) -> ET.Element:
    cases = [_case(each) for each in project.findings] or [ET.Element("testcase", classname=_sound(project.name), name="sound")]
    return _suite_of(project.name, cases, {"timestamp": began})


def _suite_of(name: str, cases: list[ET.Element], attributes: dict[str, str]) -> ET.Element:
    suite = ET.Element("testsuite", {"name": _sound(name), **attributes, "tests": str(len(cases))})
    for counted, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(counted, str(sum(case.find(tag) is not None for case in cases)))
    suite.extend(cases)
    return suite


def _case(finding: Finding) -> ET.Element:
    name = " ".join(each for each in (finding.fault.value, finding.filename or finding.release) if each)
    case = ET.Element("testcase", classname=_sound(f"{finding.project}.{finding.release}" if finding.release else finding.project))
    case.set("name", _sound(name))
    if finding.place is not None:
        case.set("file", _sound(finding.place.path))
        case.set("line", str(finding.place.line))
    if finding.level is Level.NOTE:
        ET.SubElement(case, "skipped", message=_sound(finding.says))
        return case
    tag = "error" if finding.level is Level.UNCHECKED else "failure"
    told = ET.SubElement(case, tag, message=_sound(finding.says), type=finding.fault.value)
    told.text = _sound("\n".join(_lines(finding)))
    return case


def _lines(finding: Finding) -> list[str]:
    lines = [f"{finding.level.value}: {finding.says}"]
    if finding.effect:
        lines.append(finding.effect.value)
    exchange = finding.exchange
    if exchange is not None:
        answer = exchange.trouble if exchange.status is None else str(exchange.status)
        lines += [f"{exchange.asked} at {moment(exchange.at)}: {answer}", *(f"{name}: {value}" for name, value in exchange.headers.items())]
        lines.append(curl_line(exchange))
    return lines


def _sound(text: str) -> str:
    return _NOT_IN_XML.sub("?", text)
