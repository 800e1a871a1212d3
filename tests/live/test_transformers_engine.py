"""The ``transformers`` engine on a model made here: needs torch, transformers, xgrammar and the web packages."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dougong.engines.process import free_port

NEEDED = ("torch", "transformers", "safetensors", "xgrammar", "starlette", "uvicorn", "openai")
LACKING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
DEVICE = os.environ.get("DOUGONG_LIVE_DEVICE", "cpu")

pytestmark = [
    pytest.mark.skipif(not os.environ.get("DOUGONG_LIVE"), reason="serves a real model; set DOUGONG_LIVE=1"),
    pytest.mark.skipif(bool(LACKING), reason=f"not here: {', '.join(LACKING)}"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tiny")
    script = Path(__file__).with_name("tiny_model.py")
    subprocess.run([sys.executable, str(script), str(made)], check=True, capture_output=True)
    return made


@pytest.fixture(scope="module")
def client(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    import openai

    words = [
        "serve",
        str(folder),
        "--port",
        str(free_port()),
        "--device",
        DEVICE,
        "--dtype",
        "fp32",
        "--no-records",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "dougong", *words],
        env={**os.environ, "DOUGONG_STATE": str(tmp_path_factory.mktemp("state"))},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url, "nothing is served"
    model = url and openai.OpenAI(base_url=url, api_key="x").models.list().data[0].id
    made = openai.OpenAI(base_url=url, api_key="x", max_retries=0, timeout=120)
    made.model = model
    yield made
    process.terminate()
    process.communicate(timeout=40)
    assert process.returncode == 0


def test_greedy_text_is_that_of_transformers_itself(client: Any, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompt = "def make(folder"
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    made = model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
    reply = client.completions.create(
        model=client.model, prompt=prompt, max_tokens=12, temperature=0, logprobs=1
    )
    assert reply.choices[0].text == tokenizer.decode(made, skip_special_tokens=True)
    with torch.inference_mode():
        out = model(torch.cat([ids[0], made])[None])
    logits = out.logits[0, ids.shape[1] - 1 : -1].log_softmax(-1)
    truth = [float(row[token]) for row, token in zip(logits, made, strict=True)]
    assert reply.choices[0].logprobs.token_logprobs == pytest.approx(truth, abs=1e-4)


def test_a_prompt_is_told_back_with_its_log_probabilities(client: Any) -> None:
    asked = {
        "model": client.model,
        "prompt": "斗拱 weather",
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": 0,
    }
    reply = client.completions.create(**asked, echo=True)
    assert reply.choices[0].text.startswith("斗拱 weather")
    assert reply.choices[0].logprobs.token_logprobs[0] is None
    assert len(reply.choices[0].logprobs.token_logprobs) == reply.usage.prompt_tokens + 1


def test_a_schema_is_kept_to_by_random_weights(client: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["n"],
    }
    schema["additionalProperties"] = False
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    for seed in range(3):
        reply = client.chat.completions.create(
            model=client.model,
            messages=[{"role": "user", "content": "x"}],
            response_format=form,
            max_tokens=60,
            seed=seed,
        )
        assert reply.choices[0].finish_reason == "stop"
        assert 0 <= json.loads(reply.choices[0].message.content)["n"] <= 9


def test_the_same_seed_says_the_same(client: Any) -> None:
    asked = {"model": client.model, "messages": [{"role": "user", "content": "x"}], "max_tokens": 10}
    one, same, other = (
        client.chat.completions.create(**asked, seed=seed).choices[0].message.content for seed in (5, 5, 6)
    )
    assert one == same
    assert one != other


def test_embeddings_have_length_one(client: Any) -> None:
    reply = client.embeddings.create(model=client.model, input=["weather", "Paris"])
    for entry in reply.data:
        assert sum(value * value for value in entry.embedding) == pytest.approx(1.0, abs=1e-4)
