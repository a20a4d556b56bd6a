"""One alert for every failed task, sent wherever the Variable ``migration_alerts`` says.

The Variable is JSON, for example
``{"sns": {"aws_conn_id": "aws_default", "target_arn": "arn:aws:sns:…"},
"smtp": {"smtp_conn_id": "smtp_default", "to": ["pacs-team@example.org"]}}``;
without it the alert is written to the task log. Changing it needs no code and no restart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier, Variable

if TYPE_CHECKING:
    from airflow.sdk import Context

ALERTS_VARIABLE = "migration_alerts"


class MigrationAlert(BaseNotifier):
    """Tells people that a task failed: which, why, and what to do; never PHI."""

    template_fields = ()

    def notify(self, context: Context) -> None:
        """Send the alert to every configured channel; one channel's failure stops no other."""
        self.send(context, *alert_text(context))

    def send(self, context: Context, subject: str, body: str) -> None:
        """Send a message of another kind, without PHI, to the same channels."""
        channels: dict[str, Any] = (
            Variable.get(ALERTS_VARIABLE, default=None, deserialize_json=True) or {}
        )
        if not channels:
            self.log.error("ALERT %s\n%s", subject, body)
        for name, settings in channels.items():
            try:
                _notifier(name, settings, subject, body).notify(context)
            except Exception:  # an alert must not hide the failure it tells of
                self.log.exception("ALERT %s could not be sent by %s", subject, name)


def alert_text(context: Context) -> tuple[str, str]:
    """Return subject and body of the alert for a failed task.

    The text of an error that is not ours is left out: it may hold PHI.
    """
    from dicom_migration.errors import MigrationError

    task = context["ti"]
    error = context.get("exception")
    subject = f"[image migration] {task.dag_id}.{task.task_id} failed"
    what = str(error) if isinstance(error, MigrationError) else f"{type(error).__name__}"
    body = (
        f"{what}\n\nRun: {task.run_id}\nTry: {task.try_number}\n"
        "Open the task in Airflow for its log and documentation."
    )
    return subject, body


def _notifier(name: str, settings: dict[str, Any], subject: str, body: str) -> BaseNotifier:
    if name == "sns":
        from airflow.providers.amazon.aws.notifications.sns import SnsNotifier

        return SnsNotifier(subject=subject[:100], message=body, **settings)
    if name == "smtp":
        from airflow.providers.smtp.notifications.smtp import SmtpNotifier

        return SmtpNotifier(subject=subject, html_content=f"<pre>{body}</pre>", **settings)
    raise ValueError(f"Variable {ALERTS_VARIABLE}: unknown channel {name!r} (known: sns, smtp)")
