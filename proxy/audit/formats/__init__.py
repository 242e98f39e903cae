"""The report in the forms that people and machines read: a table, JSON, one HTML file, JUnit's XML, and annotations for CI.

Rules for this folder: a report becomes text, nothing else; what a mirror sent is escaped once, here.
"""

from collections.abc import Callable

from proxy.audit.findings import Report
from proxy.audit.formats.as_json import json_of
from proxy.audit.formats.github import github_of
from proxy.audit.formats.html import html_of
from proxy.audit.formats.junit import junit_of

FORMATS: dict[str, Callable[[Report], str]] = {"json": json_of, "html": html_of, "junit": junit_of, "github": github_of}
"""The forms that are plain text; the table needs a terminal's width, and is made by `table`."""
