"""The report as JSON; `docs/check-report.schema.json` is its schema, `docs/check.md` tells what it means."""

from typing import Any

import msgspec

from proxy.audit.curl import curl_line
from proxy.audit.findings import Exchange, Finding, Level, ProjectReport, Report
from proxy.audit.matrix import Cell, Matrix
from proxy.audit.platforms import PLATFORMS
from proxy.audit.wanted import Place, Source
from proxy.index.explaining import moment

SCHEMA = 1
"""The number of the schema; it grows when a reader of the old one could misread the new one."""


def json_of(report: Report) -> str:
    """Return the report as JSON text."""
    return msgspec.json.format(msgspec.json.encode(as_data(report)), indent=2).decode()


def as_data(report: Report) -> dict[str, Any]:
    """Gives the report as what JSON can hold."""
    projects = report.projects
    return {
        "schema": SCHEMA,
        "mirrormend": report.version,
        "mirror": {"url": report.mirror, "kind": report.kind},
        "sources": [_source(each) for each in report.sources],
        "began": moment(report.began),
        "ended": moment(report.ended),
        "interrupted": report.interrupted,
        "exit_status": report.exit_status,
        "totals": {
            "projects": len(projects),
            "unreached": report.unreached,
            "requests": report.requests,
            "price": {cost.reason.value: {"requests": cost.requests, "files": cost.files} for cost in report.price},
            "files": sum(each.files for each in projects),
            "deliverable": sum(each.deliverable for each in projects),
            "undeliverable": sum(each.undeliverable for each in projects),
            "unknown": sum(each.unknown for each in projects),
            "unasked": sum(each.unasked for each in projects),
            "findings": {level.value: report.by_level[level] for level in Level},
        },
        "projects": [_project(each) for each in projects],
        "platforms": None if report.matrix is None else _matrix(report.matrix),
    }


def _source(source: Source) -> dict[str, Any]:
    return {
        "kind": source.kind,
        "path": source.path or None,
        "elsewhere": source.elsewhere,
        "left_out": [{"why": each.omission.value, "text": each.text, "place": _place(each.place)} for each in source.left_out],
        "complete": not source.incomplete,
    }


def _project(project: ProjectReport) -> dict[str, Any]:
    return {
        "name": project.name,
        "url": project.url,
        "checked": project.checked,
        "whole": project.whole,
        "form": project.form or None,
        "content_type": project.content_type or None,
        "listed": project.listed,
        "files": project.files,
        "deliverable": project.deliverable,
        "undeliverable": project.undeliverable,
        "unknown": project.unknown,
        "unasked": project.unasked,
        "findings": [_finding(each) for each in project.findings],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "level": finding.level.value,
        "fault": finding.fault.value,
        "release": finding.release or None,
        "filename": finding.filename or None,
        "platform": finding.platform or None,
        "cause": finding.cause,
        "says": finding.says,
        "effect": finding.effect.value or None,
        "place": _place(finding.place),
        "exchange": None if finding.exchange is None else exchange_data(finding.exchange),
    }


def exchange_data(exchange: Exchange) -> dict[str, Any]:
    """Gives a request and its answer, and the line that repeats it."""
    return {
        "url": exchange.url,
        "asked": exchange.asked,
        "status": exchange.status,
        "trouble": exchange.trouble or None,
        "at": moment(exchange.at),
        "headers": dict(exchange.headers),
        "curl": curl_line(exchange),
    }


def _place(place: Place | None) -> dict[str, Any] | None:
    return None if place is None else {"path": place.path, "line": place.line}


def _matrix(matrix: Matrix) -> dict[str, Any]:
    return {
        "pythons": list(matrix.pythons),
        "columns": [
            {
                "name": platform.name,
                "title": platform.title,
                "verdict": matrix.verdict(platform.name).value,
                "installable": installable(matrix.verdict(platform.name)),
            }
            for platform in PLATFORMS
        ],
        "packages": [
            {
                "name": row.project,
                "version": row.version,
                "cells": {platform: {python: cell.value for python, cell in cells.items()} for platform, cells in row.cells.items()},
            }
            for row in matrix.rows
        ],
    }


def installable(cell: Cell) -> bool | None:
    """Says whether what meets this cell at worst can be installed; None where it cannot be told."""
    return {Cell.NONE: False, Cell.UNKNOWN: None}.get(cell, True)
