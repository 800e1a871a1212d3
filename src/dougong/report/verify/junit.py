"""A run as JUnit XML, for whatever reads test results."""

from __future__ import annotations

import re
from xml.etree import ElementTree as xml

from dougong.report.verify.text import told
from dougong.verify.ledger import Reckoning
from dougong.verify.records import RunRecord, family_of
from dougong.verify.verdict import Verdict

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ERRORS = (Verdict.ERROR, Verdict.CRASH, Verdict.TIMEOUT)
_SKIPPED = (Verdict.UNSUPPORTED, Verdict.INCONCLUSIVE, Verdict.NOT_RUN)


def junit_xml(record: RunRecord, reckoning: Reckoning) -> str:
    """Return one suite per family; what a ledger expects is skipped, with its reason."""
    expected = {result.case: entry for result, entry in reckoning.expected}
    root = xml.Element("testsuites", name=f"dougong verify {record.header.backend}")
    suites: dict[str, xml.Element] = {}
    for result in record.results:
        family = family_of(result.case)
        suite = suites.get(family)
        if suite is None:
            suite = suites[family] = xml.SubElement(root, "testsuite", name=family)
        words = _plain(f"{result.verdict} ({result.check}): {told(result)}")
        place = {"classname": f"{record.header.backend}.{family}", "name": result.case}
        case = xml.SubElement(suite, "testcase", {**place, "time": f"{result.seconds:.3f}"})
        if result.case in expected:
            xml.SubElement(case, "skipped", message=_plain(f"{words}; known: {expected[result.case].reason}"))
        elif result.verdict in _SKIPPED:
            xml.SubElement(case, "skipped", message=words)
        elif result.verdict is not Verdict.PASS:
            tag = "error" if result.verdict in _ERRORS else "failure"
            xml.SubElement(case, tag, type=str(result.verdict), message=words)
    for suite in suites.values():
        counts = {tag: len(suite.findall(f"testcase/{tag}")) for tag in ("failure", "error", "skipped")}
        suite.set("tests", str(len(suite.findall("testcase"))))
        suite.set("failures", str(counts["failure"]))
        suite.set("errors", str(counts["error"]))
        suite.set("skipped", str(counts["skipped"]))
    xml.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + xml.tostring(root, encoding="unicode") + "\n"


def _plain(text: str) -> str:
    return _NOT_XML.sub("?", text)
