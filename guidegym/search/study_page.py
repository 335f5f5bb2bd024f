"""The report of a study: one self-contained HTML page."""

import html
import warnings
from collections.abc import Mapping

import optuna
import plotly.graph_objects as go
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from plotly.offline import get_plotlyjs

from guidegym.evaluation.measuring.method import Method
from guidegym.evaluation.measuring.ranking import headings, ranked_rows
from guidegym.models import Model
from guidegym.objectives import Objective
from guidegym.report.page import note, page, sample_grids, table
from guidegym.report.pictures import plain_text
from guidegym.search.confirm import Confirmed, columns_of
from guidegym.search.queue import BASELINE, trial_name, trial_place
from guidegym.search.storage import baseline_scores, complete, ended
from guidegym.search.study import Study
from guidegym.testbeds import Testbed


def build_report(
    study: Study,
    testbed: Model,
    opened: optuna.Study,
    confirmed: list[Confirmed],
    best: Method | None,
    *,
    pictures: Mapping[str, bytes],
    failure: str = "",
) -> str:
    """Return the page: the verdict, the table, schedule curves, history, importances, and sample grids side by side."""
    parts = [
        f"<p>{html.escape(study.description)}. Sampler <code>{html.escape(repr(study.sampler))}</code>, "
        f"{len(complete(opened))} trials of {study.samples_per_class} samples per class{_dropped(opened)}.</p>",
        f"<h2>No best method</h2>{note(failure)}"
        if best is None
        else f"<h2>Best: {html.escape(best.name)}</h2><pre>{html.escape(best.guidance.to_json())}</pre>",
        _table(study, testbed, confirmed),
        "<h2>Schedules</h2>" + _figure(_curves(testbed, confirmed, best)),
        "<h2>Search</h2>" + _figure(_history(study, opened)) + _importances(study, opened),
        sample_grids(pictures),
    ]
    return page(f"{study.name} on {testbed.name}", parts, script=get_plotlyjs())


def _dropped(opened: optuna.Study) -> str:
    dropped = len(ended(opened)) - len(complete(opened))
    return f", and {dropped} that were dropped early" if dropped else ""


def _table(study: Study, testbed: Model, confirmed: list[Confirmed]) -> str:
    if not confirmed:
        return note("Interrupted before the confirmation on fresh seeds: run the same command again.")
    said = (
        f"Measured on {study.confirm_per_class} fresh samples per class, the same seeds for every method; 95 % bootstrap "
        "intervals. Cost is in network evaluations per sample."
    )
    if isinstance(testbed, Testbed):
        said += (
            " KID is the class-wise mean of the unbiased squared MMD in the judge's features, and on their scale: compare it "
            f"under the same judge only. {testbed.judge_note}"
        )
    columns = columns_of(study.scored_by, judged=isinstance(testbed, Testbed))
    ranked = table(headings(columns), ranked_rows(confirmed, columns), ranked=True)
    return f"<h2>Confirmed on fresh seeds</h2>{ranked}{note(said)}"


def _curves(testbed: Model, confirmed: list[Confirmed], best: Method | None) -> go.Figure:
    figure = go.Figure()
    t = testbed.process.grid().flip(0)
    position = testbed.process.position(t)
    unconfirmed = [] if best is None else [best]
    for method in [one.of.method for one in confirmed] or unconfirmed:
        weights = method.guidance.weight(t, testbed.process)
        line: dict[str, object] = {"width": 4 if best is not None and method.name == best.name else 1.5}
        if method.guidance.guide is None:
            line |= {"color": "#888", "dash": "dot"}
        figure.add_scatter(x=position[::10].tolist(), y=weights[::10].tolist(), name=_plain(method.name), line=line)
    figure.update_xaxes(title="position in the chain, 0..1000 (noise to the left)", autorange="reversed")
    figure.update_yaxes(title="guidance weight")
    return figure


def _history(study: Study, opened: optuna.Study) -> go.Figure:
    objective = study.scored_by[0]
    minimise = opened.directions[0] == optuna.study.StudyDirection.MINIMIZE
    trials = complete(opened)
    places = [trial_place(trial) for trial in trials]
    values = [trial.values[0] for trial in trials]
    best = [(min if minimise else max)(values[: i + 1]) for i in range(len(values))]
    figure = go.Figure()
    for name, wanted in (("searched", False), ("baseline", True)):
        chosen = [trial for trial in trials if (BASELINE in trial.user_attrs) == wanted]
        figure.add_scatter(
            x=[trial_place(trial) for trial in chosen],
            y=[trial.values[0] for trial in chosen],
            text=[f"{_plain(trial_name(trial))}<br>{_plain(str(trial.params))}" for trial in chosen],
            mode="markers",
            name=name,
        )
    figure.add_scatter(x=places, y=best, mode="lines", name="best so far", line={"shape": "hv"})
    ends = [min(places), max(places)] if places else [0, 1]
    for name, scores in baseline_scores(opened).items():
        # A line named in the legend: a label's height on a logarithmic axis is an exponent, which would stretch the axis.
        line = {"dash": "dot", "width": 1}
        figure.add_scatter(x=ends, y=[scores[objective.name]] * 2, mode="lines", name=_plain(name), line=line)
    figure.update_xaxes(title="trial")
    figure.update_yaxes(
        title=f"{_shown(objective)} on the search seeds", type="log" if min(values, default=0) > 0 else "linear"
    )
    return figure


def _importances(study: Study, opened: optuna.Study) -> str:
    if len(complete(opened)) < 4:
        return ""
    ours = optuna.create_study(directions=opened.directions)  # without the trials that others added to the study
    ours.add_trials(complete(opened))
    try:
        with warnings.catch_warnings():
            # Optuna only warns if the trials are too few or too similar to tell the parameters apart.
            warnings.simplefilter("error", UserWarning)
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            importances = get_param_importances(
                ours,
                evaluator=PedAnovaImportanceEvaluator(),
                target=(lambda trial: trial.values[0]) if len(study.objectives) > 1 else None,
            )
    except (RuntimeError, ValueError, UserWarning) as error:
        return note(f"No parameter importances: {str(error).splitlines()[0]}")
    figure = go.Figure(go.Bar(x=list(importances.values()), y=[_plain(name) for name in importances], orientation="h"))
    figure.update_xaxes(title=f"importance for {_shown(study.scored_by[0])} (PED-ANOVA)")
    figure.update_yaxes(autorange="reversed", ticksuffix="  ", type="category")  # a name may look like a number
    return "<h2>Parameter importances</h2>" + _figure(figure, height=260)


def _plain(name: str) -> str:
    """Return a name escaped for Plotly, which interprets some HTML as markup."""
    return html.escape(plain_text(name), quote=False)


def _shown(objective: Objective) -> str:
    return objective.title or objective.name


def _figure(figure: go.Figure, *, height: int = 420) -> str:
    figure.update_layout(template="plotly_white", height=height, margin={"l": 70, "r": 20, "t": 40, "b": 60})
    text: str = figure.to_html(full_html=False, include_plotlyjs=False)
    return text
