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

sys.path.insert(0, str(workflow.basedir))

from replication.base import paths
from replication.figures.captions import caption_file
from replication.workflow import announced, jobs, locks, snakefile
from replication.workflow.jobs import step
from replication.workflow.run_files import RunFiles
from replication.workflow.terminal import Screen

screen = Screen(workflow)


configfile: f"{workflow.basedir}/config.yaml"


report: caption_file("workflow")


RUN = snakefile.prepare_or_exit(workflow, config)

# The interpreter that runs Snakemake, and the package of this checkout, run the steps.
shell.prefix(snakefile.shell_prefix(Path(sys.executable).parent, Path(workflow.basedir)))

snakefile.do_without_home()

# Snakemake's own lock outlives a kill; what a dead run left is removed before this one looks at it.
locks.remove_stale()


onstart:
    locks.note_owner()
    paths.path(paths.DIFFERENCES, f"{MODEL}{RUN}").unlink(missing_ok=True)


onsuccess:
    screen.end()


onerror:
    snakefile.print_differences(f"{MODEL}{RUN}")


# The cost is printed once the jobs are known, before the first starts; in a dry run too.
announced.announce(workflow, config)
screen.about(config, RUN)


MODEL = config["model"]
EXPERIMENTS = list(config["experiments"])
DESPITE = [f"--despite={name}" for name in config["pin_despite"].split(",") if name]
# One thread whatever --cores says: the thread count is part of what the numbers were measured under.
ARITHMETIC = ["--numerics", config["numerics"], "--device", config["device"], "--threads", "1"]

EXPERIMENT = lambda w: jobs.measured_arguments(config, w.experiment)

CONTROLS = jobs.control_tables(config)
CONTROL_TABLES = [paths.CONTROL_TABLES[name] for name in CONTROLS]
CONTROL_OPTIONS = ["--control-settings", jobs.as_json(config["controls"])]
CONTROL_KINDS = {name: jobs.control_kinds(config, name) for name in EXPERIMENTS}
SWEEP_JOBS = config["controls"]["sweep_jobs"]
# An unsplit sweep shares a process with the other controls; one that is split, or not in the report, has its own.
SWEEP_ALONE = SWEEP_JOBS > 1 or "sweep" not in CONTROLS
PART = lambda w: ["--part", w.part, "--parts", w.parts]
# Files of texts, and the experiments that have them.
COMPLETIONS = jobs.completion_files(config, "{model}", EXPERIMENTS)
COMPLETED = [f"--completed={name}" for name in EXPERIMENTS if jobs.completed(config, name)]
OVER_ALL = paths.over_all(CONTROL_KINDS, ["png"])
CONTROL_PAIRS = [(name, kind) for name in EXPERIMENTS for kind in CONTROL_KINDS[name]]
TABLES_TOGETHER = ["random_vectors", "random_by_layer", "prompts"] + ([] if SWEEP_ALONE else ["sweep"])

files = RunFiles(RUN, EXPERIMENTS)


wildcard_constraints:
    model="|".join(config["models"]),
    experiment="|".join(EXPERIMENTS),
    kind="[a-z_]+",
    part="[0-9]+",
    parts="[0-9]+",


rule all:
    default_target: True
    input:
        # Every file, so that one which is lost is made again.
        expand((*paths.OF_AN_EXPERIMENT, *CONTROL_TABLES), model=MODEL, run=RUN, experiment=EXPERIMENTS),
        expand([*paths.control_figures(CONTROL_KINDS), *paths.OF_A_MODEL, *paths.LAST], model=MODEL, run=RUN),
        expand(COMPLETIONS, model=MODEL),
    localrule: True


rule verify:
    input:
        paths.VERDICT.format(model=MODEL, run=RUN),
    localrule: True


rule sweep:
    input:
        expand(paths.SWEEP, model=MODEL, experiment=EXPERIMENTS),
    localrule: True


rule pdf:
    input:
        expand(paths.figure("{kind}", paths.PRINT), model=MODEL, run=RUN, experiment=EXPERIMENTS, kind=paths.KINDS),
        expand(paths.control_figures(CONTROL_KINDS, [paths.PRINT]), model=MODEL, run=RUN),
    localrule: True


# `step` gives a job its arguments, and a digest of its code: Snakemake sees only the command line.


rule weights:
    output:
        verified=paths.VERIFIED,
    log:
        "logs/{model}/weights.log",
    benchmark:
        "logs/{model}/weights.benchmark.tsv"
    resources:
        **jobs.LARGE,
    params:
        **step("weights", lambda w: jobs.model_arguments(config, w.model)),
    message:
        "{rule} of {wildcards}"
    shell:
        "python -m replication step --log {log:q} {params.arguments:q}"


# The steps on tables; they load no model.
rule claims:
    input:
        tables=files.of_every_experiment(paths.LOSSES, paths.TOP10, paths.RECORD),
    output:
        claims=files.in_report(paths.CLAIMS, "claims", table="what the post says"),
    log:
        f"logs/{{model}}{RUN}/claims.log",
    params:
        **step("claims", EXPERIMENTS, run=RUN),
    message:
        "{rule} of {wildcards}"
    shell:
        "python -m replication step --log {log:q} {params.arguments:q}"


use rule weights as measure with:
    input:
        verified=paths.VERIFIED,
        vectors=lambda w: jobs.vector_files(config, [w.experiment]),
    output:
        tables=paths.MEASURED,
    log:
        "logs/{model}/{experiment}/measure.log",
    benchmark:
        "logs/{model}/{experiment}/measure.benchmark.tsv"
    resources:
        **jobs.model_resources(config),
    params:
        **step("measure", EXPERIMENT, ARITHMETIC),


use rule measure as completions with:
    output:
        completions=files.in_report(paths.COMPLETIONS, "completions", table="completions", experiment="{experiment}"),
        record=paths.COMPLETIONS_RECORD,
    log:
        "logs/{model}/{experiment}/completions.log",
    benchmark:
        "logs/{model}/{experiment}/completions.benchmark.tsv"
    params:
        **step("completions", lambda w: jobs.completion_arguments(config, w.experiment), ARITHMETIC),


use rule measure as controls with:
    output:
        [paths.CONTROL_TABLES[name] for name in TABLES_TOGETHER],
    log:
        "logs/{model}/{experiment}/controls.log",
    benchmark:
        "logs/{model}/{experiment}/controls.benchmark.tsv"
    params:
        **step("controls", EXPERIMENT, CONTROL_OPTIONS, [f"--table={t}" for t in TABLES_TOGETHER], ARITHMETIC),


if SWEEP_ALONE:

    use rule measure as sweep_part with:
        output:
            part=paths.SWEEP_PART,
        log:
            "logs/{model}/{experiment}/sweep-{part}-of-{parts}.log",
        benchmark:
            "logs/{model}/{experiment}/sweep-{part}-of-{parts}.benchmark.tsv"
        params:
            **step("sweep_part", EXPERIMENT, CONTROL_OPTIONS, PART, ARITHMETIC),

    use rule claims as join_sweep with:
        input:
            parts=expand(paths.SWEEP_PART, part=range(SWEEP_JOBS), parts=SWEEP_JOBS, allow_missing=True),
        output:
            sweep=paths.SWEEP,
        log:
            "logs/{model}/{experiment}/join_sweep.log",
        params:
            **step("join_sweep", lambda w: [w.experiment, "--parts", SWEEP_JOBS]),


use rule measure as second_opinion with:
    input:
        verified=paths.VERIFIED,
        records=files.of_every_experiment(paths.RECORD),
        vectors=jobs.vector_files(config, EXPERIMENTS),
    output:
        opinion=files.of_run(paths.SECOND_OPINION),
    log:
        f"logs/{{model}}{RUN}/second_opinion.log",
    benchmark:
        f"logs/{{model}}{RUN}/second_opinion.benchmark.tsv"
    params:
        **step("second_opinion", EXPERIMENTS, ARITHMETIC, run=RUN),


use rule measure as published_values with:
    input:
        verified=paths.VERIFIED,
    output:
        published=paths.PUBLISHED,
    log:
        "logs/{model}/published_values.log",
    benchmark:
        "logs/{model}/published_values.benchmark.tsv"
    params:
        **step("published_values", ARITHMETIC),


use rule claims as summary with:
    input:
        verified=paths.VERIFIED,
        losses=paths.LOSSES,
        record=paths.RECORD,
    output:
        summary=files.in_report(paths.SUMMARY, "summary", table="loss by token", experiment="{experiment}"),
        token_tables=paths.TOKEN_TABLES,
    log:
        "logs/{model}/{experiment}/summary.log",
    params:
        **step("summary", lambda w: [w.experiment]),


use rule claims as figures with:
    input:
        tables=paths.MEASURED,
        completions=lambda w: jobs.completion_files(config, w.model, [w.experiment]),
    output:
        figures=[files.figure_in_report(kind) for kind in paths.KINDS],
        vector_graphics=files.of_run([paths.figure(kind, "svg") for kind in paths.KINDS]),
        interactive=files.in_report(paths.INTERACTIVE, "interactive", "Interactive pages", experiment="{experiment}"),
    log:
        f"logs/{{model}}{RUN}/{{experiment}}/figures.log",
    params:
        **step("figures", lambda w: jobs.page_arguments(config, w.experiment), run=RUN),


use rule claims as figure_for_print with:
    input:
        lambda w: (paths.REPORTED | paths.BEYOND | {"post_centred": paths.LOSSES})[w.kind],
        record=paths.RECORD,
    output:
        files.of_run(paths.figure("{kind}", paths.PRINT)),
    log:
        f"logs/{{model}}{RUN}/{{experiment}}/{{kind}}_for_print.log",
    params:
        **step("figure_for_print", lambda w: [w.experiment, w.kind], run=RUN),


# An experiment has only those that the configuration asks for, and that it has key tokens or prompts for.
if any(CONTROL_KINDS.values()):

    use rule claims as control_figures with:
        input:
            records=files.of_every_experiment(paths.RECORD),
            tables=files.of_every_experiment(*CONTROL_TABLES),
        output:
            figures=[files.figure_in_report(kind, name, "Beyond the post") for name, kind in CONTROL_PAIRS],
            over_all=[files.in_report(f, "beyond_chance", "Beyond the post", figure="over all") for f in OVER_ALL],
            vector_graphics=files.of_run(
                paths.control_figures(CONTROL_KINDS, ["svg"]) + paths.over_all(CONTROL_KINDS, ["pdf"])
            ),
        log:
            f"logs/{{model}}{RUN}/control_figures.log",
        params:
            **step("control_figures", [f"{name}/{kind}" for name, kind in CONTROL_PAIRS], run=RUN),


use rule claims as judge_controls with:
    input:
        records=files.of_every_experiment(paths.RECORD),
        tables=files.of_every_experiment(*CONTROL_TABLES),
    output:
        controls=files.in_report(paths.CONTROLS, "controls", table="beyond the post"),
    log:
        f"logs/{{model}}{RUN}/judge_controls.log",
    params:
        **step("judge_controls", EXPERIMENTS, [f"--table={name}" for name in CONTROLS], run=RUN),


use rule claims as verification with:
    input:
        tables=files.of_every_experiment(paths.LOSSES, paths.RECORD),
        opinion=files.of_run(paths.SECOND_OPINION),
        published=paths.PUBLISHED,
        verified=paths.VERIFIED,
        pins=lambda w: jobs.existing_pins(w.model, EXPERIMENTS),
    output:
        verification=files.in_report(paths.VERIFICATION, "verification", table="verification"),
    log:
        f"logs/{{model}}{RUN}/verification.log",
    params:
        **step("verification", EXPERIMENTS, DESPITE, run=RUN),


use rule claims as report with:
    input:
        verified=paths.VERIFIED,
        of_experiments=files.of_every_experiment(*paths.OF_AN_EXPERIMENT, *CONTROL_TABLES),
        control_figures=files.of_run(paths.control_figures(CONTROL_KINDS)),
        verdicts=files.of_run([paths.CONTROLS, paths.CLAIMS, paths.PUBLISHED, paths.VERIFICATION]),
        completions=COMPLETIONS,
    output:
        report=files.of_run(paths.REPORT),
        page=files.in_report(paths.REPORT_PAGE, "report", "Report", page="report"),
        latex=files.of_run([paths.KEY_TOKENS_TABLE, paths.VERDICTS_TABLE]),
    log:
        f"logs/{{model}}{RUN}/report.log",
    params:
        **step("report", EXPERIMENTS, COMPLETED, run=RUN),


use rule claims as verdict with:
    # After the report, so that a reader finds it written where a number differs.
    input:
        verification=files.of_run(paths.VERIFICATION),
        report=files.of_run(paths.REPORT),
        provenance=files.of_run(paths.PROVENANCE),
    output:
        verdict=files.of_run(paths.VERDICT),
    log:
        f"logs/{{model}}{RUN}/verdict.log",
    params:
        **step("verdict", EXPERIMENTS, run=RUN),


use rule claims as provenance with:
    input:
        tables=files.of_every_experiment(paths.LOSSES, paths.RECORD),
        verified=paths.VERIFIED,
        report=files.of_run(paths.REPORT),
    output:
        provenance=files.of_run(paths.PROVENANCE),
    log:
        f"logs/{{model}}{RUN}/provenance.log",
    params:
        **step("provenance", EXPERIMENTS, run=RUN),


use rule claims as crate with:
    # Last of the default target, so that Snakemake's own records of all steps before it are there to be read.
    input:
        of_experiments=files.of_every_experiment(*paths.OF_AN_EXPERIMENT, *CONTROL_TABLES),
        control_figures=files.of_run(paths.control_figures(CONTROL_KINDS)),
        of_model=files.of_run(paths.OF_A_MODEL),
        completions=COMPLETIONS,
    output:
        crate=files.of_run(paths.CRATE),
        workflow=files.of_run(paths.CRATE_WORKFLOW),
    log:
        f"logs/{{model}}{RUN}/crate.log",
    params:
        **step("crate", EXPERIMENTS, COMPLETED, run=RUN),


rule pin:
    input:
        tables=expand((paths.LOSSES, paths.RECORD), model=MODEL, experiment=snakefile.of_the_post(config)),
        # Nothing is pinned that differs from a published value, from tuned-lens, or from an older pin.
        verdict=paths.VERDICT.format(model=MODEL, run=RUN),
        provenance=paths.PROVENANCE.format(model=MODEL, run=RUN),
    log:
        f"logs/{MODEL}/pin.log",
    localrule: True
    params:
        arguments=[f"{MODEL}{RUN}", *snakefile.of_the_post(config)] + ["--uncommitted"] * config["pin_uncommitted"],
    shell:
        "python -m replication step --log {log:q} pin {params.arguments:q}"


rule index:
    # No input and no output: it is made anew from the results that are there, and never runs a model.
    log:
        "logs/index.log",
    localrule: True
    shell:
        "python -m replication index 2> {log:q}"
