"""Programs of others that judge what we write, in an environment of their own: make validators."""

import json
import subprocess
from pathlib import Path

from lacking import lacking

from replication.base.paths import REPOSITORY

BIN = REPOSITORY / ".validators" / "bin"

# The part of RO-Crate 1.1's context (version 1.1.3, https://w3id.org/ro/crate/1.1/context) that our crates use. The
# validator asks the network for it; a term that is not here it reports as not in the context.
SCHEMA = (
    "about actionStatus additionalType contentSize datePublished description encodingFormat endTime exampleOfWork "
    "hasPart identifier instrument license mainEntity mentions name object position programmingLanguage result "
    "softwareRequirements softwareVersion startTime step url value valueRequired version workExample ComputerLanguage "
    "ControlAction CreateAction CreativeWork Dataset HowTo HowToStep OrganizeAction PropertyValue SoftwareApplication "
    "SoftwareSourceCode"
)
CONTEXT = {name: f"http://schema.org/{name}" for name in SCHEMA.split()} | {
    "File": "http://schema.org/MediaObject",
    "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
    "FormalParameter": "https://bioschemas.org/FormalParameter",
    "input": "https://bioschemas.org/ComputationalWorkflow#input",
    "conformsTo": "http://purl.org/dc/terms/conformsTo",
}

# Puts the context into the validator's own cache, as if it had been fetched.
FILL_CACHE = """
import io, sys
from requests.adapters import HTTPAdapter
from requests_cache import CachedSession
from urllib3 import HTTPResponse

class Answer(HTTPAdapter):
    def send(self, request, **_):
        options = {"headers": {"Content-Type": "application/ld+json"}, "request_url": request.url}
        body = io.BytesIO(sys.argv[2].encode())
        return self.build_response(request, HTTPResponse(body, status=200, preload_content=False, **options))

session = CachedSession(cache_name=sys.argv[1], backend="sqlite", expire_after=-1)
session.mount("https://", Answer())
session.get("https://w3id.org/ro/crate/1.1/context")
"""


def validator(name: str) -> Path:
    """The program `name`; without it the test that asks is skipped, or fails where validators are required."""
    if not (BIN / name).exists():
        lacking(name, "REPLICATION_REQUIRE_VALIDATORS", "make validators")
    return BIN / name


def crate_faults(crate: Path, scratch: Path, profile: str = "provenance-run-crate-0.5") -> list[str]:
    """What keeps `crate` from being what `profile` says; asks no network."""
    program = validator("rocrate-validator")
    cache, found = scratch / "cache", scratch / "faults.json"
    subprocess.run([BIN / "python", "-c", FILL_CACHE, cache, json.dumps({"@context": CONTEXT})], check=True)
    options = ["--offline", "--cache-path", cache, "--profile-identifier", profile]
    options += ["--output-format", "json", "--output-file", found]
    command = [program, "--no-interactive", "validate", *options, crate]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.exists(), result.stdout + result.stderr
    report = json.loads(found.read_text())
    assert report["passed"] == (not report["issues"]), "the validator agrees with itself"
    assert report["statistics"]["total_checks"] > 50, "checked something"
    return [f"{issue['message']} {issue.get('violatingEntity') or ''}".strip() for issue in report["issues"]]
