"""The workflow: thin rules that call `python -m replication <step>`.

snakemake --cores 4                              everything, for the model in config.yaml
snakemake --cores 4 --config model=miniature     the same on the embedded miniature, without a network
snakemake --cores 4 verify                       the verdicts alone
snakemake --cores 4 sweep                        the sweep over injection layers and coefficients alone
snakemake --cores 4 pin                          record this model's numbers as its pins
snakemake --cores 4 index                        an index over the models that have been run
snakemake --cores 4 --report report.zip          figures and tables with captions, after a run, as one zip
"""

import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(workflow.basedir))

from replication import locks, outputs, paths, workflow as steps
from replication.captions import caption_file
from replication.errors import UserError
from replication.figure_files import (
    FIGURE_FILES,
    INTERACTIVE,
    KINDS,
    TITLES,
    control_figures,
    figure,
)


configfile: f"{workflow.basedir}/config.yaml"


report: caption_file("workflow")


# Acts only when software deployment is asked for; `make env` makes the tested environment.
container: "docker://python:3.11-slim"


try:
    steps.check(config, [Path(file) for file in workflow.configfiles])
    # While this is parsed, Snakemake does not yet say which files are asked for.
    steps.check_targets(config, sys.argv[1:])
    steps.complete(config)
except UserError as error:
    raise WorkflowError(str(error))

# The interpreter that runs Snakemake, and the package of this checkout, run the steps.
shell.prefix(steps.shell_prefix(Path(sys.executable).parent, Path(workflow.basedir)))

# Snakemake's own lock outlives a kill; what a dead run left is removed before this one looks at it.
locks.remove_stale()


onstart:
    locks.note_owner()


MODEL = config["model"]
EXPERIMENTS = list(config["experiments"])
ARITHMETIC = ["--numerics", config["numerics"], "--device", config["device"]]


CONTROLS = steps.controls(config)
CONTROL_KINDS = {name: steps.control_kinds(config, name) for name in EXPERIMENTS}
CONTROL_TABLES = [paths.CONTROL_TABLES[name] for name in CONTROLS]
CONTROL_FIGURES = control_figures(CONTROL_KINDS)
SWEEP_JOBS = config["controls"].get("sweep_jobs", 1)


def of_every_experiment(*patterns):
    return expand(patterns, experiment=EXPERIMENTS, model="{model}")


def in_report(file, caption, category, **labels):
    """A file that `snakemake --report` shows; of labels with two values it makes a switch."""
    return report(
        file,
        caption=caption_file(caption),
        category=category,
        subcategory="{model}",
        labels=labels,
    )


def figure_in_report(kind):
    if kind.startswith("post_"):
        residuals = kind.removeprefix("post_")
        labels = {"experiment": "{experiment}", "residuals": residuals}
        return in_report(figure(kind, "png"), kind, "The post's figure", **labels)
    labels = {"experiment": "{experiment}", "figure": TITLES[kind]}
    return in_report(figure(kind, "png"), kind, "Figures", **labels)


def control_figure_in_report(name, kind):
    file = figure(kind, "png").replace("{experiment}", name)
    labels = {"experiment": name, "figure": TITLES[kind]}
    return in_report(file, kind, "Beyond the post", **labels)


wildcard_constraints:
    model="|".join(config["models"]),
    experiment="|".join(EXPERIMENTS),
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


rule weights:
    input:
        code=steps.code("weights"),
        files=lambda w: steps.local_files(config, w.model),
    output:
        verified=paths.VERIFIED,
    log:
        "logs/{model}/weights.log",
    benchmark:
        "logs/{model}/weights.benchmark.tsv"
    resources:
        mem_mb=steps.memory,
        runtime=240,
    params:
        settings=lambda w: steps.as_json(config["models"][w.model]),
    message:
        "Getting and checking the files of {wildcards.model}"
    shell:
        "python -m replication --log {log:q} weights {wildcards.model:q} --settings {params.settings:q}"


rule measure:
    input:
        code=steps.code("measure"),
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
        mem_mb=steps.memory,
        runtime=30,
    params:
        settings=lambda w: steps.as_json(config["experiments"][w.experiment]),
        arithmetic=ARITHMETIC,
    message:
        "Measuring {wildcards.experiment} on {wildcards.model}"
    shell:
        "python -m replication --log {log:q} measure {wildcards.model:q} {wildcards.experiment:q}"
        " --settings {params.settings:q} {params.arithmetic:q} --threads {threads}"


rule controls:
    input:
        code=steps.code("controls"),
        verified=paths.VERIFIED,
    output:
        random_vectors=paths.RANDOM_VECTORS,
        prompts=paths.PROMPTS,
    log:
        "logs/{model}/{experiment}/controls.log",
    benchmark:
        "logs/{model}/{experiment}/controls.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=steps.memory,
        runtime=60,
    params:
        settings=lambda w: steps.as_json(config["experiments"][w.experiment]),
        controls=steps.as_json(config["controls"]),
        arithmetic=ARITHMETIC,
    message:
        "Steering {wildcards.experiment} on {wildcards.model} with random vectors, and after other prompts"
    shell:
        "python -m replication --log {log:q} controls {wildcards.model:q} {wildcards.experiment:q}"
        " --settings {params.settings:q} --control-settings {params.controls:q}"
        " {params.arithmetic:q} --threads {threads}"


rule sweep_part:
    input:
        code=steps.code("sweep"),
        verified=paths.VERIFIED,
    output:
        part=paths.SWEEP_PART,
    log:
        "logs/{model}/{experiment}/sweep-{part}-of-{parts}.log",
    benchmark:
        "logs/{model}/{experiment}/sweep-{part}-of-{parts}.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=steps.memory,
        runtime=240,
    params:
        settings=lambda w: steps.as_json(config["experiments"][w.experiment]),
        controls=steps.as_json(config["controls"]),
        arithmetic=ARITHMETIC,
    message:
        "Sweeping {wildcards.experiment} on {wildcards.model}: part {wildcards.part} of {wildcards.parts}"
    shell:
        "python -m replication --log {log:q} sweep {wildcards.model:q} {wildcards.experiment:q}"
        " --settings {params.settings:q} --control-settings {params.controls:q}"
        " {params.arithmetic:q} --threads {threads} --part {wildcards.part:q} --parts {wildcards.parts:q}"


rule join_sweep:
    input:
        code=steps.code("join-sweep"),
        parts=lambda w: [
            paths.SWEEP_PART.format(
                model=w.model, experiment=w.experiment, part=part, parts=SWEEP_JOBS
            )
            for part in range(SWEEP_JOBS)
        ],
    output:
        sweep=paths.SWEEP,
    log:
        "logs/{model}/{experiment}/join_sweep.log",
    params:
        parts=SWEEP_JOBS,
    message:
        "Joining the sweep of {wildcards.experiment}"
    shell:
        "python -m replication --log {log:q} join-sweep {wildcards.model:q} {wildcards.experiment:q}"
        " --parts {params.parts:q}"


rule judge_controls:
    input:
        code=steps.code("judge-controls"),
        records=of_every_experiment(paths.RECORD),
        tables=of_every_experiment(*CONTROL_TABLES),
    output:
        controls=in_report(
            paths.CONTROLS, "controls", "Tables", table="beyond the post"
        ),
    log:
        "logs/{model}/judge_controls.log",
    params:
        experiments=EXPERIMENTS,
        of=[f"--of={name}" for name in CONTROLS],
    message:
        "Judging the controls of {wildcards.model}"
    shell:
        "python -m replication --log {log:q} judge-controls {wildcards.model:q} {params.experiments:q} {params.of:q}"


rule second_opinion:
    input:
        code=steps.code("second-opinion"),
        verified=paths.VERIFIED,
        tables=of_every_experiment(paths.LOSSES, paths.RECORD),
    output:
        opinion=paths.SECOND_OPINION,
    log:
        "logs/{model}/second_opinion.log",
    benchmark:
        "logs/{model}/second_opinion.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=steps.memory,
        runtime=30,
    params:
        experiments=EXPERIMENTS,
        arithmetic=ARITHMETIC,
    message:
        "Asking tuned-lens for a second opinion on {wildcards.model}"
    shell:
        "python -m replication --log {log:q} second-opinion {wildcards.model:q} {params.experiments:q}"
        " {params.arithmetic:q} --threads {threads}"


rule published_values:
    input:
        code=steps.code("published"),
        verified=paths.VERIFIED,
    output:
        published=paths.PUBLISHED,
    log:
        "logs/{model}/published.log",
    benchmark:
        "logs/{model}/published.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=steps.memory,
        runtime=60,
    params:
        arithmetic=ARITHMETIC,
    message:
        "Measuring what others published about {wildcards.model}"
    shell:
        "python -m replication --log {log:q} published {wildcards.model:q}"
        " {params.arithmetic:q} --threads {threads}"


rule summary:
    input:
        code=steps.code("summary"),
        losses=paths.LOSSES,
        record=paths.RECORD,
    output:
        summary=in_report(
            paths.SUMMARY,
            "summary",
            "Tables",
            table="loss by token",
            experiment="{experiment}",
        ),
    log:
        "logs/{model}/{experiment}/summary.log",
    message:
        "Summarising {wildcards.experiment}"
    shell:
        "python -m replication --log {log:q} summary {wildcards.model:q} {wildcards.experiment:q}"


rule token_tables:
    input:
        code=steps.code("token-tables"),
        verified=paths.VERIFIED,
        summary=paths.SUMMARY,
        record=paths.RECORD,
    output:
        tables=paths.TOKEN_TABLES,
    log:
        "logs/{model}/{experiment}/token_tables.log",
    message:
        "Setting the tables of {wildcards.experiment}"
    shell:
        "python -m replication --log {log:q} token-tables {wildcards.model:q} {wildcards.experiment:q}"


rule figures:
    input:
        code=steps.code("figures"),
        losses=paths.LOSSES,
        top10=paths.TOP10,
        effect=paths.EFFECT,
        logit_lens=paths.LOGIT_LENS,
        record=paths.RECORD,
    output:
        figures=[figure_in_report(kind) for kind in KINDS],
        for_print=[file for file in FIGURE_FILES if not file.endswith(".png")],
        interactive=in_report(
            INTERACTIVE, "interactive", "Interactive pages", experiment="{experiment}"
        ),
    log:
        "logs/{model}/{experiment}/figures.log",
    benchmark:
        "logs/{model}/{experiment}/figures.benchmark.tsv"
    message:
        "Drawing {wildcards.experiment}"
    shell:
        "python -m replication --log {log:q} figures {wildcards.model:q} {wildcards.experiment:q}"


# An experiment has only those that the configuration asks for, and that it has key tokens or prompts for.
if CONTROL_FIGURES:

    rule control_figures:
        input:
            code=steps.code("control-figures"),
            records=of_every_experiment(paths.RECORD),
            tables=of_every_experiment(*CONTROL_TABLES),
        output:
            figures=[
                control_figure_in_report(name, kind)
                for name, kinds in CONTROL_KINDS.items()
                for kind in kinds
            ],
            for_print=[file for file in CONTROL_FIGURES if not file.endswith(".png")],
        log:
            "logs/{model}/control_figures.log",
        benchmark:
            "logs/{model}/control_figures.benchmark.tsv"
        params:
            figures=[
                f"{name}/{kind}"
                for name in EXPERIMENTS
                for kind in CONTROL_KINDS[name]
            ],
        message:
            "Drawing the controls of {wildcards.model}"
        shell:
            "python -m replication --log {log:q} control-figures {wildcards.model:q} {params.figures:q}"


rule claims:
    input:
        code=steps.code("claims"),
        tables=of_every_experiment(paths.LOSSES, paths.TOP10, paths.RECORD),
    output:
        claims=in_report(paths.CLAIMS, "claims", "Tables", table="what the post says"),
    log:
        "logs/{model}/claims.log",
    params:
        experiments=EXPERIMENTS,
    message:
        "Judging the post's statements on {wildcards.model}"
    shell:
        "python -m replication --log {log:q} claims {wildcards.model:q} {params.experiments:q}"


rule verification:
    input:
        code=steps.code("verify"),
        tables=of_every_experiment(paths.LOSSES, paths.RECORD),
        opinion=paths.SECOND_OPINION,
        published=paths.PUBLISHED,
        pins=lambda w: steps.existing_pins(w.model, EXPERIMENTS),
    output:
        verification=in_report(
            paths.VERIFICATION, "verification", "Tables", table="verification"
        ),
    log:
        "logs/{model}/verification.log",
    params:
        experiments=EXPERIMENTS,
    message:
        "Comparing the numbers of {wildcards.model} with pins and second opinion"
    shell:
        "python -m replication --log {log:q} verify {wildcards.model:q} {params.experiments:q}"


rule report:
    input:
        code=steps.code("report"),
        verified=paths.VERIFIED,
        tables=of_every_experiment(
            paths.LOSSES,
            paths.EFFECT,
            paths.LOGIT_LENS,
            paths.TOP10,
            paths.RECORD,
            paths.SUMMARY,
        ),
        figures=of_every_experiment(*FIGURE_FILES),
        control_tables=of_every_experiment(*CONTROL_TABLES),
        control_figures=CONTROL_FIGURES,
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
        experiments=EXPERIMENTS,
    message:
        "Compiling the report on {wildcards.model}"
    shell:
        "python -m replication --log {log:q} report {wildcards.model:q} {params.experiments:q}"


rule verdict:
    # After the report, so that a reader finds it written where a number differs.
    input:
        code=steps.code("verify"),
        verification=paths.VERIFICATION,
        report=paths.REPORT,
    output:
        verdict=paths.VERDICT,
    log:
        "logs/{model}/verdict.log",
    message:
        "The verdicts on {wildcards.model}"
    shell:
        "python -m replication --log {log:q} verdict {wildcards.model:q}"


rule provenance:
    input:
        code=steps.code("provenance"),
        tables=of_every_experiment(paths.LOSSES, paths.RECORD),
        verified=paths.VERIFIED,
        report=paths.REPORT,
    output:
        provenance=paths.PROVENANCE,
    log:
        "logs/{model}/provenance.log",
    params:
        experiments=EXPERIMENTS,
    message:
        "Writing down machine, versions and commit of this run"
    shell:
        "python -m replication --log {log:q} provenance {wildcards.model:q} {params.experiments:q}"


rule crate:
    # Last of the default target, so that Snakemake's own records of all steps before it are there to be read.
    input:
        code=steps.code("crate"),
        of_experiments=of_every_experiment(*outputs.OF_AN_EXPERIMENT, *CONTROL_TABLES),
        control_figures=CONTROL_FIGURES,
        of_model=outputs.OF_A_MODEL,
    output:
        crate=paths.CRATE,
        workflow=paths.CRATE_WORKFLOW,
    log:
        "logs/{model}/crate.log",
    params:
        experiments=EXPERIMENTS,
    message:
        "Describing the run on {wildcards.model} as an RO-Crate"
    shell:
        "python -m replication --log {log:q} crate {wildcards.model:q} {params.experiments:q}"


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
        model=MODEL,
        experiments=EXPERIMENTS,
    shell:
        "python -m replication --log {log:q} pin {params.model:q} {params.experiments:q}"


rule index:
    # No input and no output: it is made anew of what lies there, and never makes a model run.
    log:
        "logs/index.log",
    localrule: True
    message:
        "Listing the models that have been run"
    shell:
        "python -m replication --log {log:q} index"
