"""Garrison under Dagster: the night as one op, which calls the command; `dagster dev -f dagster_job.py` shows it.

The night keeps its own steps, skips those that are done, and is safe to retry.
"""

import subprocess

from dagster import DefaultScheduleStatus, Definitions, OpExecutionContext, RetryPolicy, ScheduleDefinition, job, op

CONFIG = "/etc/garrison/company.toml"


@op(retry_policy=RetryPolicy(max_retries=2, delay=600))
def night(context: OpExecutionContext) -> None:
    """Run the night; what it prints goes to the run's log."""
    command = ["garrison", "monitoring", "night", "--config", CONFIG, "--json", "/var/log/garrison/night.json"]
    done = subprocess.run(command, cwd="/opt/garrison", check=False, text=True, capture_output=True)
    context.log.info("%s%s", done.stdout, done.stderr)
    done.check_returncode()


@job
def garrison_night() -> None:
    """Check, build, score, drift, gate, alert, deliver, report."""
    night()


every_night = ScheduleDefinition(
    job=garrison_night,
    cron_schedule="30 2 * * *",
    execution_timezone="UTC",
    default_status=DefaultScheduleStatus.RUNNING,
)
defs = Definitions(jobs=[garrison_night], schedules=[every_night])
