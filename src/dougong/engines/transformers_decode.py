"""The model of the ``transformers`` child and its decoding loop: plain, in the open, one request at a time."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from dougong.engines.transformers_words import Ask, Refused, call_schema

torch: Any = None
"""Imported when the model is loaded: this module's words are needed without it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One token of an answer.

    Attributes
    ----------
    text
        The text that is sure now; a character cut in two comes with its second half.
    logprob
        Natural logarithm of its probability before temperature; None where nothing was asked.
    top
        (token, log-probability) of the most likely ones.
    finish
        ``stop`` or ``length`` with the last piece.
    """

    token: int
    text: str
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()
    finish: str | None = None


class Decoder:
    """A model with its tokenizer on one device.

    Parameters
    ----------
    folder
        Holds safetensors, config.json and the tokenizer; nothing else is opened, no code of it runs.
    package
        The vendor's package that brings the device to torch.
    """

    def __init__(
        self,
        folder: str,
        device: str,
        *,
        package: str | None,
        dtype: str | None,
        context: int | None,
        threads: int | None,
    ) -> None:
        global torch
        torch = importlib.import_module("torch")
        if package is not None:
            importlib.import_module(package)
        transformers: Any = importlib.import_module("transformers")
        transformers.utils.logging.disable_progress_bar()
        if threads is not None:
            torch.set_num_threads(threads)
        safe = {"trust_remote_code": False, "local_files_only": True}
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **safe)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, use_safetensors=True, dtype=getattr(torch, dtype) if dtype else "auto", **safe
        )
        self.model.to(device).eval()
        self.device, self.lock = device, threading.Lock()
        config = self.model.config.get_text_config()
        own = int(getattr(config, "max_position_embeddings", 0) or context or 1 << 20)
        self.context = min(context or own, own)
        told: Any = self.model.generation_config.eos_token_id
        ends = cast(list[Any], told if isinstance(told, list) else [told])
        self.ends = {int(token) for token in (*ends, self.tokenizer.eos_token_id) if token is not None}
        self._compiler: Any = None

    def encode(self, ask: Ask) -> list[int]:
        """Return the token ids of a prompt.

        Raises
        ------
        Refused
            The chat template does not take the messages, or they are longer than the context.
        """
        if not ask.chat:
            ids = (
                list(ask.prompt)
                if not isinstance(ask.prompt, str)
                else self.tokenizer(ask.prompt)["input_ids"]
            )
            if any(not 0 <= token < len(self.tokenizer) for token in ids):
                raise Refused(400, f"prompt has a token that is none of {len(self.tokenizer):,}")
        else:
            try:
                text = self.tokenizer.apply_chat_template(
                    list(ask.messages),
                    tools=list(ask.tools) or None,
                    add_generation_prompt=True,
                    tokenize=False,
                    **ask.template,
                )
            except Exception as error:  # templates are programs of strangers
                raise Refused(
                    400, f"the model's chat template does not take these messages: {error}"
                ) from error
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if not ids:
            raise Refused(400, "the prompt is empty")
        if len(ids) >= self.context:
            raise Refused(400, f"the prompt has {len(ids):,} tokens, and the context {self.context:,}")
        return [int(token) for token in ids]

    def run(self, ask: Ask, ids: Sequence[int], number: int, gone: Callable[[], bool]) -> Iterator[Piece]:
        """Decode one answer; ``gone`` is asked before every step and ends it."""
        matcher, mask = self._matcher(ask)
        generator = torch.Generator(device="cpu")
        generator.manual_seed((ask.seed if ask.seed is not None else torch.seed()) + number)
        most = min(ask.max_tokens or self.context, self.context - len(ids))
        text, words = "", _Words(self.tokenizer)
        with torch.inference_mode():
            out = self.model(input_ids=self._tensor(ids), use_cache=True, logits_to_keep=1)
            for count in range(1, most + 1):
                if gone():
                    return
                logits = out.logits[0, -1].float().cpu()
                if matcher is not None:
                    self._constrain(matcher, mask, logits)
                token = _choose(logits, ask, generator)
                logprob, top = _logprobs(logits, token, ask.logprobs)
                ended = token in self.ends and not ask.ignore_eos
                if matcher is not None and not ended:
                    matcher.accept_token(token)
                    ended_by_grammar = matcher.is_terminated()
                else:
                    ended_by_grammar = False
                last = count == most or ended or ended_by_grammar
                new = "" if ended else words.add(token, last=last)
                cut = _first_stop(text + new, ask.stop)
                if cut is not None:
                    yield Piece(token, (text + new)[len(text) : cut], logprob, top, "stop")
                    return
                text += new
                finish = "stop" if ended or ended_by_grammar else "length" if last else None
                yield Piece(token, new, logprob, top, finish)
                if finish is not None:
                    return
                out = self.model(
                    input_ids=self._tensor([token]),
                    past_key_values=out.past_key_values,
                    use_cache=True,
                    logits_to_keep=1,
                )

    def prompt_logprobs(self, ids: Sequence[int], most: int) -> list[Piece]:
        """Return the prompt's own tokens with their log-probabilities; the first one has none."""
        with torch.inference_mode():
            logits = self.model(input_ids=self._tensor(ids), use_cache=False).logits[0].float().cpu()
        words, pieces = _Words(self.tokenizer), list[Piece]()
        for place, token in enumerate(ids):
            logprob, top = _logprobs(logits[place - 1], token, most) if place else (None, ())
            pieces.append(Piece(token, words.add(token, last=place == len(ids) - 1), logprob, top))
        return pieces

    def embed(self, text: str) -> tuple[list[float], int]:
        """Return the mean of the last hidden states, at length 1, and the count of tokens."""
        ids = [int(token) for token in self.tokenizer(text)["input_ids"]][: self.context]
        if not ids:
            raise Refused(400, "input has an empty text")
        with torch.inference_mode():
            hidden = self.model(input_ids=self._tensor(ids), output_hidden_states=True).hidden_states[-1][0]
            vector = torch.nn.functional.normalize(hidden.float().mean(dim=0), dim=0)
        return [float(value) for value in vector.cpu()], len(ids)

    def token_text(self, token: int) -> str:
        """Return one token as text of its own."""
        return self.tokenizer.decode([token])

    def _tensor(self, ids: Sequence[int]) -> Any:
        return torch.tensor([list(ids)], device=self.device)

    def _matcher(self, ask: Ask) -> tuple[Any, Any]:
        schema = call_schema(ask.call) if ask.call else ask.schema
        if schema is None:
            return None, None
        grammar: Any = importlib.import_module("xgrammar")
        width = self.model.config.get_text_config().vocab_size
        if self._compiler is None:
            info = grammar.TokenizerInfo.from_huggingface(
                self.tokenizer, vocab_size=width, stop_token_ids=sorted(self.ends)
            )
            self._compiler = grammar.GrammarCompiler(info)
        import json

        try:
            compiled = self._compiler.compile_json_schema(json.dumps(schema), any_whitespace=False)
        except RuntimeError as error:
            raise Refused(400, f"the JSON schema cannot be kept to: {error}") from error
        return grammar.GrammarMatcher(compiled), grammar.allocate_token_bitmask(1, width)

    def _constrain(self, matcher: Any, mask: Any, logits: Any) -> None:
        grammar: Any = importlib.import_module("xgrammar")
        matcher.fill_next_token_bitmask(mask)
        grammar.apply_token_bitmask_inplace(logits.unsqueeze(0), mask)


class _Words:
    """Turns tokens into text as they come; holds back a character until it is whole."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer, self._ids, self._from, self._done = tokenizer, list[int](), 0, 0

    def add(self, token: int, *, last: bool) -> str:
        self._ids.append(token)
        # Some tokenizers drop a leading blank: text is taken as the growth from a start some tokens back.
        before = self._tokenizer.decode(self._ids[self._from : self._done], skip_special_tokens=True)
        after = self._tokenizer.decode(self._ids[self._from :], skip_special_tokens=True)
        if after.endswith("\ufffd") and not last:
            return ""
        self._from, self._done = self._done, len(self._ids)
        return after[len(before) :]


def _choose(logits: Any, ask: Ask, generator: Any) -> int:
    if ask.temperature == 0.0:
        return int(logits.argmax())
    scaled = logits / ask.temperature
    if ask.top_k:
        kept = torch.topk(scaled, min(ask.top_k, scaled.numel())).values[-1]
        scaled = scaled.masked_fill(scaled < kept, float("-inf"))
    probabilities = torch.softmax(scaled, dim=-1)
    if ask.top_p < 1.0:
        ordered, places = torch.sort(probabilities, descending=True, stable=True)
        # The token that reaches top_p is still in: what stands before it does not reach it.
        ordered[torch.cumsum(ordered, dim=-1) - ordered >= max(ask.top_p, 1e-9)] = 0.0
        probabilities = torch.zeros_like(probabilities).scatter(0, places, ordered)
    return int(torch.multinomial(probabilities, 1, generator=generator))


def _logprobs(
    logits: Any, token: int, most: int | None
) -> tuple[float | None, tuple[tuple[int, float], ...]]:
    if most is None:
        return None, ()
    told = torch.log_softmax(logits, dim=-1)
    best = torch.topk(told, most) if most else None
    top = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True)) if best is not None else ()
    return float(told[token]), top


def _first_stop(text: str, stops: Sequence[str]) -> int | None:
    found = [place for stop in stops if (place := text.find(stop)) >= 0]
    return min(found) if found else None
