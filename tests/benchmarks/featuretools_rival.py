"""featuretools 1.31 on the same usage rows, in an environment of its own: it needs numpy 1."""

import hashlib
import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).parent
PYTHON = Path("var/bench/featuretools/bin/python")


def environment():
    """Make the environment from its lock file, once."""
    lock = HERE / "featuretools.lock"
    made = PYTHON.parent.parent / hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    if not made.exists():
        print("installing featuretools …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", PYTHON.parent.parent], check=True)
        locked = ["--no-deps", "--require-hashes", "--requirement", lock]
        subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *locked], check=True)
        made.touch()


def compared(sample, months, windows, columns, *, script, accounts):  # noqa: PLR0913  # all that both are asked
    """Seconds of both for the same features, after both gave the same values."""
    import measure
    import numpy as np
    import pandas as pd

    environment()
    ours = measure.alone(script, "same_features", accounts)["seconds"]
    task = {"sample": str(sample), "months": [m.isoformat() for m in months], "windows": windows, "columns": columns}
    command = [PYTHON, __file__, json.dumps(task)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    theirs = json.loads(done.stdout.splitlines()[-1])["seconds"]
    mine, other = (pd.read_parquet(f"var/bench/{name}_features.parquet") for name in ("same", "featuretools"))
    both = other.merge(mine, on=["account_id", "as_of"], validate="one_to_one")
    for name in (c for c in other if c not in {"account_id", "as_of"}):
        np.testing.assert_allclose(both[f"{name}_x"], both[f"{name}_y"], rtol=1e-9, equal_nan=True, err_msg=name)
    return {"same_features_seconds": ours, "featuretools_seconds": theirs, "times_featuretools": theirs / ours}


def run(task):
    """What runs inside the other environment."""
    import time
    import warnings

    import featuretools as ft
    import pandas as pd

    warnings.simplefilter("ignore")
    usage = pd.read_parquet(f"{task['sample']}/usage", columns=["account_id", "used_at", *task["columns"]])
    usage["used_at"] = usage["used_at"].dt.tz_convert(None)
    usage[task["columns"]] = usage[task["columns"]].astype("float64")
    usage.insert(0, "row", range(len(usage)))
    accounts = pd.read_parquet(f"{task['sample']}/accounts", columns=["account_id"])
    entities = ft.EntitySet("company")
    entities.add_dataframe(dataframe_name="accounts", dataframe=accounts, index="account_id")
    entities.add_dataframe(dataframe_name="usage", dataframe=usage, index="row", time_index="used_at")
    entities.add_relationship("accounts", "account_id", "usage", "account_id")
    instants = [pd.Timestamp(datetime.fromisoformat(m)).tz_convert(None) for m in task["months"]]
    cutoffs = pd.concat(pd.DataFrame({"account_id": accounts["account_id"], "time": at}) for at in instants)
    took, found = 0.0, []
    for days in task["windows"]:
        start = time.perf_counter()
        matrix, _ = ft.dfs(
            entityset=entities,
            target_dataframe_name="accounts",
            cutoff_time=cutoffs,
            training_window=f"{days} days",
            include_cutoff_time=False,
            cutoff_time_in_index=True,
            agg_primitives=["sum", "mean", "count"],
            trans_primitives=[],
            max_depth=1,
        )
        took += time.perf_counter() - start
        names = {"COUNT(usage)": f"usage_count_t__{days}_0"}
        for column in task["columns"]:
            names[f"SUM(usage.{column})"] = f"usage_sum_{column}__{days}_0"
            names[f"MEAN(usage.{column})"] = f"usage_sum_{column}_mean_{days}"
        found.append(matrix[list(names)].rename(columns=names).astype("float64"))
    frame = pd.concat(found, axis=1).reset_index().rename(columns={"time": "as_of"})
    frame["as_of"] = frame["as_of"].dt.tz_localize("UTC")
    frame.to_parquet("var/bench/featuretools_features.parquet")
    print(json.dumps({"seconds": took}))


if __name__ == "__main__":
    run(json.loads(sys.argv[1]))
