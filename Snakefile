"""The workflow: thin rules that call `python -m replication step ...`.

snakemake --cores 4                              everything, for the model in config.yaml
snakemake --cores 4 --config model=miniature     the same on the embedded miniature, without a network
snakemake --cores 4 verify                       the verdicts alone
snakemake --cores 4 sweep                        the sweep over injection layers and coefficients
snakemake --cores 4 pdf                          the figures for print
snakemake --cores 4 pin                          record this model's numbers as its pins
snakemake --cores 4 index                        an index over the models that have been run
snakemake --cores 4 --report report.zip          figures and tables with captions, after a run, as one zip
"""

import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(workflow.basedir))

from replication.base import paths
from replication.base.errors import UserError
from replication.figures.captions import caption_file
from replication.workflow import locks, snakefile
from replication.workflow.code_digest import digest


configfile: f"{workflow.basedir}/config.yaml"


report: caption_file("workflow")


# For `snakemake --lint` alone, which asks every rule for a container: nothing runs in it, the image lacks the package.
container: "docker://python:3.11-slim"


try:
    snakefile.check(config, [Path(file) for file in workflow.configfiles])
    # While this is parsed, Snakemake does not yet say which files are asked for.
    snakefile.check_targets(config, sys.argv[1:])
    snakefile.complete(config)
except UserError as error:
    raise WorkflowError(str(error))

# The interpreter that runs Snakemake, and the package of this checkout, run the steps.
shell.prefix(
    snakefile.shell_prefix(Path(sys.executable).parent, Path(workflow.basedir))
)

# Snakemake's own lock outlives a kill; what a dead run left is removed before this one looks at it.
locks.remove_stale()


onstart:
    locks.note_owner()


MODEL = config["model"]
EXPERIMENTS = list(config["experiments"])
ARITHMETIC = ["--numerics", config["numerics"], "--device", config["device"]]

CONTROLS = snakefile.control_tables(config)
CONTROL_TABLES = [paths.CONTROL_TABLES[name] for name in CONTROLS]
CONTROL_OPTIONS = ["--control-settings", snakefile.as_json(config["controls"])]
CONTROL_OPTIONS += ARITHMETIC
CONTROL_KINDS = {name: snakefile.control_kinds(config, name) for name in EXPERIMENTS}
SWEEP_JOBS = config["controls"]["sweep_jobs"]
# A sweep in one piece shares a process with the other controls; one that is split, or not in the report, has its own.
SWEEP_ALONE = SWEEP_JOBS > 1 or "sweep" not in CONTROLS
CONTROL_FIGURES = [
    f"{name}/{kind}" for name in EXPERIMENTS for kind in CONTROL_KINDS[name]
]
TOGETHER = ["random_vectors", "prompts"] + ([] if SWEEP_ALONE else ["sweep"])


def of_every_experiment(*patterns):
    return expand(patterns, experiment=EXPERIMENTS, model="{model}")


def settings_of_experiment(wildcards):
    return snakefile.as_json(config["experiments"][wildcards.experiment])


def in_report(file, caption, category, **labels):
    """A file that `snakemake --report` shows; of labels with two values it makes a switch."""
    return report(
        file,
        caption=caption_file(caption),
        category=category,
        subcategory="{model}",
        labels=labels,
    )


def figure_in_report(kind, experiment="{experiment}", category="Figures"):
    labels = {"experiment": experiment, "figure": paths.TITLES[kind]}
    if kind.startswith("post_"):
        category = "The post's figure"
        labels = {"experiment": experiment, "residuals": kind.removeprefix("post_")}
    file = paths.figure(kind, "png").replace("{experiment}", experiment)
    return in_report(file, kind, category, **labels)


wildcard_constraints:
    model="|".join(config["models"]),
    experiment="|".join(EXPERIMENTS),
    kind="[a-z_]+",
    part="[0-9]+",
    parts="[0-9]+",


rule all:
    default_target: True
    input:
        paths.VERDICT.format(model=MODEL),
        paths.REPORT.format(model=MODEL),
        paths.CRATE.format(model=MODEL),
    localrule: True


rule verify:
    input:
        paths.VERDICT.format(model=MODEL),
    localrule: True


rule published:
    input:
        paths.PUBLISHED.format(model=MODEL),
    localrule: True


rule sweep:
    input:
        expand(paths.SWEEP, model=MODEL, experiment=EXPERIMENTS),
    localrule: True


rule pdf:
    input:
        expand(
            paths.figure("{kind}", paths.PRINT),
            model=MODEL,
            experiment=EXPERIMENTS,
            kind=paths.KINDS,
        ),
        expand(paths.control_figures(CONTROL_KINDS, [paths.PRINT]), model=MODEL),
    localrule: True


# Every step is named like its rule. Its code enters as a digest, for Snakemake sees only the command line.


rule weights:
    input:
        files=lambda w: snakefile.local_files(config, w.model),
    output:
        verified=paths.VERIFIED,
    log:
        "logs/{model}/weights.log",
    benchmark:
        "logs/{model}/weights.benchmark.tsv"
    resources:
        mem_mb=snakefile.memory,
        runtime=240,
    params:
        code=digest("weights"),
        settings=lambda w: snakefile.as_json(config["models"][w.model]),
    message:
        "Getting and checking the files of {wildcards.model}"
    shell:
        "python -m replication step --log {log:q} {rule} {wildcards.model:q} --settings {params.settings:q}"


rule measure:
    input:
        verified=paths.VERIFIED,
    output:
        losses=paths.LOSSES,
        top10=paths.TOP10,
        effect=paths.EFFECT,
        logit_lens=paths.LOGIT_LENS,
        record=paths.RECORD,
    log:
        "logs/{model}/{experiment}/measure.log",
    benchmark:
        "logs/{model}/{experiment}/measure.benchmark.tsv"
    # One thread whatever --cores says: the thread count is part of what the numbers were measured under.
    threads: 1
    resources:
        mem_mb=snakefile.memory,
        runtime=240,
    params:
        code=digest("measure"),
        settings=settings_of_experiment,
        options=ARITHMETIC,
    message:
        "Measuring {wildcards.experiment} on {wildcards.model}"
    shell:
        "python -m replication step --log {log:q} {rule} {wildcards.model:q} {wildcards.experiment:q}"
        " --settings {params.settings:q} {params.options:q} --threads {threads}"


use rule measure as controls with:
    output:
        [paths.CONTROL_TABLES[name] for name in TOGETHER],
    log:
        "logs/{model}/{experiment}/controls.log",
    benchmark:
        "logs/{model}/{experiment}/controls.benchmark.tsv"
    params:
        code=digest("controls"),
        settings=settings_of_experiment,
        options=CONTROL_OPTIONS + [f"--table={name}" for name in TOGETHER],
    message:
        "Steering {wildcards.experiment} on {wildcards.model} beyond the post"


if SWEEP_ALONE:

    use rule measure as sweep_part with:
        output:
            part=paths.SWEEP_PART,
        log:
            "logs/{model}/{experiment}/sweep-{part}-of-{parts}.log",
        benchmark:
            "logs/{model}/{experiment}/sweep-{part}-of-{parts}.benchmark.tsv"
        params:
            code=digest("sweep_part"),
            settings=settings_of_experiment,
            options=lambda w: [*CONTROL_OPTIONS, "--part", w.part, "--parts", w.parts],
        message:
            "Sweeping {wildcards.experiment} on {wildcards.model}: part {wildcards.part} of {wildcards.parts}"

    rule join_sweep:
        input:
            parts=expand(
                paths.SWEEP_PART,
                part=range(SWEEP_JOBS),
                parts=SWEEP_JOBS,
                allow_missing=True,
            ),
        output:
            sweep=paths.SWEEP,
        log:
            "logs/{model}/{experiment}/join_sweep.log",
        params:
            code=digest("join_sweep"),
            parts=SWEEP_JOBS,
        shell:
            "python -m replication step --log {log:q} {rule} {wildcards.model:q} {wildcards.experiment:q}"
            " --parts {params.parts:q}"


rule second_opinion:
    input:
        verified=paths.VERIFIED,
        records=of_every_experiment(paths.RECORD),
    output:
        opinion=paths.SECOND_OPINION,
    log:
        "logs/{model}/second_opinion.log",
    benchmark:
        "logs/{model}/second_opinion.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=snakefile.memory,
        runtime=240,
    params:
        code=digest("second_opinion"),
        experiments=EXPERIMENTS,
        options=ARITHMETIC,
    shell:
        "python -m replication step --log {log:q} {rule} {wildcards.model:q} {params.experiments:q}"
        " {params.options:q} --threads {threads}"


use rule second_opinion as published_values with:
    input:
        verified=paths.VERIFIED,
    output:
        published=paths.PUBLISHED,
    log:
        "logs/{model}/published_values.log",
    benchmark:
        "logs/{model}/published_values.benchmark.tsv"
    params:
        code=digest("published_values"),
        experiments=[],
        options=ARITHMETIC,


rule figures:
    input:
        verified=paths.VERIFIED,
        losses=paths.LOSSES,
        top10=paths.TOP10,
        effect=paths.EFFECT,
        logit_lens=paths.LOGIT_LENS,
        record=paths.RECORD,
    output:
        summary=in_report(
            paths.SUMMARY,
            "summary",
            "Tables",
            table="loss by token",
            experiment="{experiment}",
        ),
        token_tables=paths.TOKEN_TABLES,
        figures=[figure_in_report(kind) for kind in paths.KINDS],
        vector_graphics=[paths.figure(kind, "svg") for kind in paths.KINDS],
        interactive=in_report(
            paths.INTERACTIVE,
            "interactive",
            "Interactive pages",
            experiment="{experiment}",
        ),
    log:
        "logs/{model}/{experiment}/figures.log",
    params:
        code=digest("figures"),
    message:
        "Drawing {wildcards.experiment} on {wildcards.model}"
    shell:
        "python -m replication step --log {log:q} {rule} {wildcards.model:q} {wildcards.experiment:q}"


rule figure_for_print:
    input:
        lambda w: (paths.REPORTED | paths.BEYOND | {"post_centred": paths.LOSSES})[
            w.kind
        ],
        record=paths.RECORD,
    output:
        paths.figure("{kind}", paths.PRINT),
    log:
        "logs/{model}/{experiment}/{kind}_for_print.log",
    params:
        code=digest("draw"),
        figures=lambda w: [f"{w.experiment}/{w.kind}"],
        formats=f"--format={paths.PRINT}",
    shell:
        "python -m replication step --log {log:q} draw {wildcards.model:q} {params.figures:q} {params.formats:q}"


# An experiment has only those that the configuration asks for, and that it has key tokens or prompts for.
if any(CONTROL_KINDS.values()):

    rule control_figures:
        input:
            records=of_every_experiment(paths.RECORD),
            tables=of_every_experiment(*CONTROL_TABLES),
        output:
            figures=[
                figure_in_report(kind, name, "Beyond the post")
                for name, kinds in CONTROL_KINDS.items()
                for kind in kinds
            ],
            vector_graphics=paths.control_figures(CONTROL_KINDS, ["svg"]),
        log:
            "logs/{model}/control_figures.log",
        params:
            code=digest("draw"),
            figures=CONTROL_FIGURES,
            formats=[f"--format={name}" for name in paths.FORMATS],
        message:
            "Drawing the controls of {wildcards.model}"
        shell:
            "python -m replication step --log {log:q} draw {wildcards.model:q} {params.figures:q} {params.formats:q}"


rule claims:
    input:
        tables=of_every_experiment(paths.LOSSES, paths.TOP10, paths.RECORD),
    output:
        claims=in_report(paths.CLAIMS, "claims", "Tables", table="what the post says"),
    log:
        "logs/{model}/claims.log",
    params:
        code=digest("claims"),
        arguments=EXPERIMENTS,
    shell:
        "python -m replication step --log {log:q} {rule} {wildcards.model:q} {params.arguments:q}"


use rule claims as judge_controls with:
    input:
        records=of_every_experiment(paths.RECORD),
        tables=of_every_experiment(*CONTROL_TABLES),
    output:
        controls=in_report(
            paths.CONTROLS, "controls", "Tables", table="beyond the post"
        ),
    log:
        "logs/{model}/judge_controls.log",
    params:
        code=digest("judge_controls"),
        arguments=EXPERIMENTS + [f"--table={name}" for name in CONTROLS],


use rule claims as verification with:
    input:
        tables=of_every_experiment(paths.LOSSES, paths.RECORD),
        opinion=paths.SECOND_OPINION,
        published=paths.PUBLISHED,
        pins=lambda w: snakefile.existing_pins(w.model, EXPERIMENTS),
    output:
        verification=in_report(
            paths.VERIFICATION, "verification", "Tables", table="verification"
        ),
    log:
        "logs/{model}/verification.log",
    params:
        code=digest("verification"),
        arguments=EXPERIMENTS,


use rule claims as report with:
    input:
        verified=paths.VERIFIED,
        of_experiments=of_every_experiment(*paths.OF_AN_EXPERIMENT, *CONTROL_TABLES),
        control_figures=paths.control_figures(CONTROL_KINDS),
        controls=paths.CONTROLS,
        claims=paths.CLAIMS,
        published=paths.PUBLISHED,
        verification=paths.VERIFICATION,
    output:
        report=paths.REPORT,
        page=in_report(paths.REPORT_PAGE, "report", "Report", page="report"),
    log:
        "logs/{model}/report.log",
    params:
        code=digest("report"),
        arguments=EXPERIMENTS,


use rule claims as verdict with:
    # After the report, so that a reader finds it written where a number differs.
    input:
        verification=paths.VERIFICATION,
        report=paths.REPORT,
    output:
        verdict=paths.VERDICT,
    log:
        "logs/{model}/verdict.log",
    params:
        code=digest("verdict"),
        arguments=[],


use rule claims as provenance with:
    input:
        tables=of_every_experiment(paths.LOSSES, paths.RECORD),
        verified=paths.VERIFIED,
        report=paths.REPORT,
    output:
        provenance=paths.PROVENANCE,
    log:
        "logs/{model}/provenance.log",
    params:
        code=digest("provenance"),
        arguments=EXPERIMENTS,


use rule claims as crate with:
    # Last of the default target, so that Snakemake's own records of all steps before it are there to be read.
    input:
        of_experiments=of_every_experiment(*paths.OF_AN_EXPERIMENT, *CONTROL_TABLES),
        control_figures=paths.control_figures(CONTROL_KINDS),
        of_model=paths.OF_A_MODEL,
    output:
        crate=paths.CRATE,
        workflow=paths.CRATE_WORKFLOW,
    log:
        "logs/{model}/crate.log",
    params:
        code=digest("crate"),
        arguments=EXPERIMENTS,


rule pin:
    input:
        tables=expand((paths.LOSSES, paths.RECORD), model=MODEL, experiment=EXPERIMENTS),
        # Nothing is pinned that differs from a published value, from tuned-lens, or from an older pin.
        verdict=paths.VERDICT.format(model=MODEL),
        provenance=paths.PROVENANCE.format(model=MODEL),
    log:
        f"logs/{MODEL}/pin.log",
    localrule: True
    params:
        arguments=[MODEL, *EXPERIMENTS],
    shell:
        "python -m replication step --log {log:q} {rule} {params.arguments:q}"


rule index:
    # No input and no output: it is made anew of what lies there, and never makes a model run.
    log:
        "logs/index.log",
    localrule: True
    shell:
        "python -m replication index 2> {log:q}"
