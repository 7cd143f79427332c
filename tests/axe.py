"""axe-core, the accessibility checker, run in a page of the tests' Chromium.

In a test: `assert axe.serious_violations(page) == []`. The checker comes from npm and is no part of this
package: `npm install --prefix tests` gets the version in tests/package.json.
"""

from pathlib import Path

from chromium import Page
from lacking import lacking

SERIOUS = ("serious", "critical")


def script() -> str:
    """The checker's source, from a node_modules folder here or above, as node itself looks for it."""
    for folder in Path(__file__).resolve().parents:
        found = folder / "node_modules" / "axe-core" / "axe.min.js"
        if found.is_file():
            return found.read_text(encoding="utf-8")
    lacking("axe-core", "REPLICATION_REQUIRE_AXE", "npm install --prefix tests")


def serious_violations(page: Page) -> list[str]:
    """What axe-core finds serious or critical on the page as it stands, one line per element.

    Every rule runs, those of good practice included. Chromium compiles the checker itself, so a page's Content
    Security Policy stays as it is.

    Args:
        page: A page that has been opened; colour scheme and width are the caller's.

    Returns:
        Lines such as "serious color-contrast: <p>...</p> - Fix any of the following: ..."; empty where all is well.
    """
    # Without a value at the end the checker itself would be sent back.
    page.run(script() + "; undefined")
    violations = page.run("axe.run(document, {resultTypes: ['violations']}).then((result) => result.violations)")
    return [
        f"{violation['impact']} {violation['id']}: {node['html'][:200]} - {' '.join(node['failureSummary'].split())}"
        for violation in violations
        if violation["impact"] in SERIOUS
        for node in violation["nodes"]
    ]
