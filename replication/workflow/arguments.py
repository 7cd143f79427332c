"""Arguments and options that several commands share."""

from typing import Annotated

import typer

ModelName = Annotated[str, typer.Argument(help="Name of the model in config.yaml, or of its run (miniature/mine).")]
ExperimentName = Annotated[str, typer.Argument(help="Name of the experiment in config.yaml.")]
ExperimentNames = Annotated[list[str], typer.Argument(help="Names of experiments in config.yaml.")]
Numerics = Annotated[str, typer.Option(help="portable or fast, as in config.yaml.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads for the arithmetic.")]
Device = Annotated[str, typer.Option(help="cpu or cuda, as in config.yaml.")]
Settings = Annotated[str, typer.Option(help="The part of the configuration this step depends on, as JSON.")]
Mark = Annotated[str, typer.Option(help="Mark of the files' states when Snakemake started.")]
ControlSettings = Annotated[str, typer.Option(help="The configuration's `controls`, as JSON.")]
Tables = Annotated[list[str], typer.Option("--table", help="A control's table, such as sweep; repeatable.")]
Completed = Annotated[list[str], typer.Option(help="An experiment that texts were written for; repeatable.")]
Part = Annotated[int, typer.Option(min=0, help="Which part of the sweep, from 0 on.")]
Parts = Annotated[int, typer.Option(min=1, help="Number of parts.")]
