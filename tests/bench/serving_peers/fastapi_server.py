"""FastAPI under uvicorn: the event loop reads requests, a thread computes. BUNDLE is in the environment."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import FastAPI, Request

from tests.bench.serving_peers.model import Model

model = Model(os.environ["BUNDLE"])
pool = ThreadPoolExecutor(1)
app = FastAPI()


@app.post("/predict")
async def predict(request: Request) -> dict[str, Any]:
    body = await request.body()
    return await asyncio.get_running_loop().run_in_executor(pool, model.answer, body)
