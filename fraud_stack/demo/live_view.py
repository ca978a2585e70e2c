"""How the live stream looks: a screen for a terminal, a line for a log."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from fraud_stack.demo.watch import LiveView


def summary_line(view: LiveView, now: float) -> str:
    if view.first_at is None:
        return "waiting for the first prediction by a model"
    latency = view.latency_ms()
    percentiles = " ".join(f"{name} {value}" for name, value in latency.items())
    return (
        f"{view.per_second(now):6.0f} tx/s   latency {percentiles} ms   "
        f"alerts {view.alerts}   model {view.model_version}   "
        f"precision {_share(view.precision)}   recall {_share(view.recall)}"
    )


def render(view: LiveView, now: float) -> Group:
    figures = Table.grid(padding=(0, 3))
    latency = view.latency_ms()
    labelled = view.labelled
    figures.add_row("transactions/s", f"[bold]{view.per_second(now):.0f}[/bold]", "scored", f"{view.predictions:,}")
    figures.add_row(
        "latency p50 / p95 / p99",
        f"[bold]{_ms(latency['p50'])} / {_ms(latency['p95'])} / {_ms(latency['p99'])}[/bold]",
        "model version",
        view.model_version or "none yet",
    )
    figures.add_row(
        "precision (labels so far)",
        f"[bold]{_share(view.precision)}[/bold]",
        "caught / false alerts",
        f"{labelled['caught']} / {labelled['false_alerts']}",
    )
    figures.add_row("recall (labels so far)", f"[bold]{_share(view.recall)}[/bold]", "missed", str(labelled["missed"]))
    alerts = Table(title=f"{view.alerts} alerts", title_justify="left", expand=True)
    alerts.add_column("transaction", no_wrap=True)
    alerts.add_column("amount", justify="right")
    alerts.add_column("7-day average", justify="right")
    alerts.add_column("score", justify="right")
    alerts.add_column("why", no_wrap=True, overflow="ellipsis", ratio=1)
    for alert in reversed(view.recent_alerts):
        why = ", ".join(f"{reason['feature']} = {reason['value']:.4g}" for reason in alert["reasons"][:3])
        alerts.add_row(
            alert["transaction_id"],
            f"{alert['amount']:.2f}",
            f"{alert['rolling_avg_7d']:.2f}",
            f"[red]{alert['score']:.2f}[/red]",
            Text(why),
        )
    return Group(figures, alerts)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _ms(value: int | None) -> str:
    return "-" if value is None else f"{value} ms"
