"""Garrison under Apache Airflow 3: the night as one task, and outstanding mail every 15 minutes.

The night is one task, not eight: it keeps its own steps, skips those that are done, and is safe to retry. Its logical
date is not passed on: without --as-of a late source is held against the clock, not against the schedule.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

GARRISON = "cd /opt/garrison && garrison"
CONFIG = "--config /etc/garrison/company.toml"
START = datetime(2026, 1, 1, tzinfo=UTC)

with DAG("garrison_night", schedule="30 2 * * *", start_date=START, catchup=False, max_active_runs=1):
    BashOperator(
        task_id="night",
        bash_command=f"{GARRISON} monitoring night {CONFIG}",
        retries=2,
        retry_delay=timedelta(minutes=10),
        execution_timeout=timedelta(hours=6),
    )

with DAG("garrison_deliver", schedule="*/15 * * * *", start_date=START, catchup=False, max_active_runs=1):
    BashOperator(task_id="deliver", bash_command=f"{GARRISON} monitoring deliver {CONFIG}")

with DAG("garrison_retrain_check", schedule="0 6 1 * *", start_date=START, catchup=False):
    BashOperator(task_id="retrain_check", bash_command=f"{GARRISON} monitoring retrain-check {CONFIG}")
