"""What a user would write in place of the service: FastAPI, the booster, and the feature rows in a dict by id.

Started by bench_serving.py on one uvicorn worker; reads booster.txt and rows.npz in the folder RIVAL.
"""

import os
from pathlib import Path

import lightgbm as lgb
import numpy as np
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

FOLDER = Path(os.environ["RIVAL"])
BOOSTER = lgb.Booster(model_file=FOLDER / "booster.txt")
with np.load(FOLDER / "rows.npz", allow_pickle=False) as found:
    ROWS = dict(zip(found["ids"].tolist(), found["matrix"], strict=True))


class Asked(BaseModel):
    account_id: str


class Answer(BaseModel):
    account_id: str
    probability: float


app = FastAPI()


@app.post("/score")
async def score(asked: Asked) -> Answer:
    row = ROWS.get(asked.account_id)
    if row is None:
        raise HTTPException(404, "unknown account")
    # One thread: more would only get in each other's way for one row.
    probability = BOOSTER.predict(row[np.newaxis], num_threads=1)[0]
    return Answer(account_id=asked.account_id, probability=float(probability))
