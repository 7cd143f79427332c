"""Where every file lies, spelled once: the Snakefile and the package both read it here.

Patterns hold Snakemake's wildcards {model} and {experiment}; paths start at the working directory.
"""

from pathlib import Path

RESOURCES = "resources/{model}"
VERIFIED = "resources/{model}/verified.json"
HASHES = "resources/hashes.json"

LOSSES = "results/{model}/{experiment}/losses.csv"
TOP10 = "results/{model}/{experiment}/top10.csv"
EFFECT = "results/{model}/{experiment}/effect.csv"
LOGIT_LENS = "results/{model}/{experiment}/logit_lens.csv"
RECORD = "results/{model}/{experiment}/record.json"
SUMMARY = "results/{model}/{experiment}/summary.csv"

RANDOM_VECTORS = "results/{model}/{experiment}/random_vectors.csv"
PROMPTS = "results/{model}/{experiment}/prompts.csv"
SWEEP_PART = "results/{model}/{experiment}/sweep/{part}-of-{parts}.csv"
SWEEP = "results/{model}/{experiment}/sweep.csv"

CONTROL_TABLES = {"random_vectors": RANDOM_VECTORS, "prompts": PROMPTS, "sweep": SWEEP}

SECOND_OPINION = "results/{model}/second_opinion.csv"
PUBLISHED = "results/{model}/published.csv"
CONTROLS = "results/{model}/controls.json"
CLAIMS = "results/{model}/claims.json"
VERIFICATION = "results/{model}/verification.json"
VERDICT = "results/{model}/verdict.txt"
PROVENANCE = "results/{model}/provenance.json"
CRATE = "results/{model}/ro-crate-metadata.json"
CRATE_WORKFLOW = "results/{model}/Snakefile"

FIGURES = "figures/{model}"
REPORT = "report/{model}/report.md"
REPORT_PAGE = "report/{model}/report.html"
INDEX = "report/index.md"
INDEX_PAGE = "report/index.html"

ARCHIVE = "results/{model}.tar.gz"

PINS = "tests/pins/{model}/{experiment}.csv"
PIN_PROVENANCE = "tests/pins/{model}/provenance.json"
PIN_RECORD = "tests/pins/{model}/{experiment}.json"


def token_table(protocol: str, kind: str) -> str:
    """Where the table of every token's loss lies as `kind` (md or tex), with model and experiment left open."""
    return f"results/{{model}}/{{experiment}}/table_{protocol}.{kind}"


TOKEN_TABLES = tuple(token_table(protocol, kind) for protocol in ("raw", "centred") for kind in ("md", "tex"))
"""All of them; the numbers in full are in SUMMARY."""


def path(pattern: str, model: str = "", experiment: str = "") -> Path:
    """The path that `pattern` stands for."""
    return Path(pattern.format(model=model, experiment=experiment))
