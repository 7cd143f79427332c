"""Where every file lies, spelled once: the Snakefile and the package both read it here.

Patterns hold Snakemake's wildcards {model}, {experiment} and {run}; paths start at the working directory. Imports
nothing heavy, so that the Snakefile can read it.

What is measured for an experiment lies in one place per model, whichever run needs it. What is made from all
experiments of a run lies in a folder named after it: {run} is `/mine`, or empty for the run of config.yaml unchanged.
"""

from pathlib import Path

from replication.base.errors import UserError

PACKAGE = Path(__file__).resolve().parent.parent
REPOSITORY = PACKAGE.parent
SCHEMA = PACKAGE / "base" / "config.schema.json"
SHIPPED = REPOSITORY / "config.yaml"

RESOURCES = "resources/{model}"
VERIFIED = "resources/{model}/verified.json"
STATES = "resources/{model}/states.json"
HASHES = "resources/hashes.json"

LOSSES = "results/{model}/{experiment}/losses.csv"
TOP10 = "results/{model}/{experiment}/top10.csv"
EFFECT = "results/{model}/{experiment}/effect.csv"
LOGIT_LENS = "results/{model}/{experiment}/logit_lens.csv"
RECORD = "results/{model}/{experiment}/record.json"
MEASURED = (LOSSES, TOP10, EFFECT, LOGIT_LENS, RECORD)
"""What the step that measures an experiment writes."""
SUMMARY = "results/{model}/{experiment}/summary.csv"

RANDOM_VECTORS = "results/{model}/{experiment}/random_vectors.csv"
RANDOM_BY_LAYER = "results/{model}/{experiment}/random_by_layer.csv"
PROMPTS = "results/{model}/{experiment}/prompts.csv"
SWEEP_PART = "results/{model}/{experiment}/sweep/{part}-of-{parts}.csv"
SWEEP = "results/{model}/{experiment}/sweep.csv"

COMPLETIONS = "results/{model}/{experiment}/completions.csv"
COMPLETIONS_RECORD = "results/{model}/{experiment}/completions.json"
OF_COMPLETIONS = (COMPLETIONS, COMPLETIONS_RECORD)
"""Files of an experiment for which texts are written."""

CONTROL_TABLES = {
    "random_vectors": RANDOM_VECTORS,
    "random_by_layer": RANDOM_BY_LAYER,
    "prompts": PROMPTS,
    "sweep": SWEEP,
}

SECOND_OPINION = "results/{model}{run}/second_opinion.csv"
PUBLISHED = "results/{model}/published.csv"
CONTROLS = "results/{model}{run}/controls.json"
CLAIMS = "results/{model}{run}/claims.json"
VERIFICATION = "results/{model}{run}/verification.json"
VERDICT = "results/{model}{run}/verdict.txt"
DIFFERENCES = "results/{model}{run}/differences.txt"
PROVENANCE = "results/{model}{run}/provenance.json"
CRATE = "results/{model}{run}/ro-crate-metadata.json"
CRATE_WORKFLOW = "results/{model}{run}/Snakefile"

FIGURES = "figures/{model}{run}"
INTERACTIVE = "figures/{model}{run}/{experiment}.html"
REPORT = "report/{model}{run}/report.md"
REPORT_PAGE = "report/{model}{run}/report.html"
KEY_TOKENS_TABLE = "results/{model}{run}/key_tokens.tex"
VERDICTS_TABLE = "results/{model}{run}/verdicts.tex"
INDEX = "report/index.md"
INDEX_PAGE = "report/index.html"

ARCHIVE = "results/{model}{run}.tar.gz"

PINS = "replication/pins/{model}/{experiment}.csv"
PIN_PROVENANCE = "replication/pins/{model}/provenance.json"
PIN_RECORD = "replication/pins/{model}/{experiment}.json"

KINDS = ("post_raw", "post_centred", "lens", "output", "layers", "kl", "lenses")
"""Kinds of figure; every experiment has each."""

CONTROL_KINDS = ("random_vectors", "prompts", "sweep")
"""Kinds that an experiment has if it has the tokens or prompts they need, and the configuration switches them on."""

BEYOND_CHANCE = "beyond_chance"
"""The kind that is drawn of several experiments at once."""

ALL_KINDS = (*KINDS, *CONTROL_KINDS, BEYOND_CHANCE)

FORMATS = ("png", "svg")
"""Formats that every figure is drawn in."""

PRINT = "pdf"
"""The format that is drawn only on request, since embedding fonts takes longer than drawing."""

REPORTED = {
    "post_raw": (LOSSES,),
    "output": (LOSSES,),
    "layers": (LOSSES, LOGIT_LENS),
    "lens": (LOSSES,),
    "kl": (EFFECT,),
}
"""Figures that the report shows for each experiment, in its order: kind, and the tables it is drawn from."""

BEYOND = {"lenses": (LOSSES, LOGIT_LENS)} | {kind: (CONTROL_TABLES[kind],) for kind in CONTROL_KINDS}
"""Figures that it shows beyond the post's."""

TITLES = {
    "post_raw": "in the post's form",
    "post_centred": "in the post's form",
    "lens": "loss at all layers, and its change",
    "output": "loss by token at the output",
    "layers": "loss by layer of the key tokens",
    "kl": "where steering changes the prediction",
    "lenses": "how far each lens is from the output",
    "random_vectors": "against random vectors",
    "prompts": "after other prompts",
    "sweep": "other layers and coefficients",
}
"""What each kind is called in a list."""


def figure(kind: str, suffix: str) -> str:
    """Where a figure lies in a format, with the wildcards left open."""
    return f"{FIGURES}/{{experiment}}/{kind}.{suffix}"


def beyond_chance(suffix: str) -> str:
    """Where the figure over all experiments lies in a format, with the wildcards left open."""
    return f"{FIGURES}/{BEYOND_CHANCE}.{suffix}"


def token_table(protocol: str, suffix: str) -> str:
    """Where the table of every token's loss lies as `md` or `tex`, with model and experiment left open."""
    return f"results/{{model}}/{{experiment}}/table_{protocol}.{suffix}"


TOKEN_TABLES = tuple(token_table(protocol, suffix) for protocol in ("raw", "centred") for suffix in ("md", "tex"))
"""All of these tables; SUMMARY has their numbers unrounded."""

FIGURE_FILES = tuple(figure(kind, suffix) for kind in KINDS for suffix in FORMATS)
"""Every figure of an experiment in every format of the default target."""

OF_AN_EXPERIMENT = (*MEASURED, SUMMARY, *TOKEN_TABLES, *FIGURE_FILES, INTERACTIVE)
"""Every file that a whole run leaves for an experiment, except the controls'."""

OF_A_MODEL = (
    VERIFIED, SECOND_OPINION, PUBLISHED, CONTROLS, CLAIMS, VERIFICATION, REPORT, REPORT_PAGE, KEY_TOKENS_TABLE,
    VERDICTS_TABLE, PROVENANCE,
)  # fmt: skip
"""Every file that it leaves for a model, except `LAST`."""

LAST = (VERDICT, CRATE, CRATE_WORKFLOW)
"""What is written after everything else."""


def control_figures(chosen: dict[str, list[str]], suffixes: tuple[str, ...] = FORMATS) -> list[str]:
    """Files of the controls' figures, with the wildcards {model} and {run} left open.

    Args:
        chosen: Kinds by experiment.
        suffixes: Formats.
    """
    of_experiments = [
        figure(kind, suffix).replace("{experiment}", experiment)
        for experiment, kinds in chosen.items()
        for kind in kinds
        for suffix in suffixes
    ]
    return of_experiments + over_all(chosen, suffixes)


def over_all(chosen: dict[str, list[str]], suffixes: tuple[str, ...]) -> list[str]:
    """Files of the figure over all experiments with random vectors, if any; arguments as for `control_figures`."""
    there = any("random_vectors" in kinds for kinds in chosen.values())
    return [beyond_chance(suffix) for suffix in suffixes] if there else []


def local_folder(name: str) -> Path:
    """A folder that the configuration names; a relative one starts at the repository, `~` is the user's home."""
    return REPOSITORY / Path(name).expanduser()


def in_checkout(name: str) -> Path:
    """A file beside the package.

    Raises:
        UserError: There is none: the package was installed without its repository.
    """
    if not (REPOSITORY / name).exists():
        raise UserError(
            f"this needs {name}, which is in the repository and not in the installed package ({PACKAGE}): clone the "
            "repository and type make env there"
        )
    return REPOSITORY / name


def path(pattern: str, model: str = "", experiment: str = "") -> Path:
    """The path that `pattern` stands for.

    Args:
        pattern: One of this module's.
        model: Name of a model; `miniature/mine` is the model's run of that name.
        experiment: Name of an experiment.
    """
    model, slash, run = model.partition("/")
    return Path(pattern.format(model=model, run=slash + run, experiment=experiment))
