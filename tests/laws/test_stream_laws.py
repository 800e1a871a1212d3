"""A stream says the same however its bytes are cut."""

import contextlib
import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from dougong.measure.sse import Answer, EventReader, StreamFault

TEXT = st.text(min_size=1, max_size=8)


@st.composite
def streams(draw):
    end = draw(st.sampled_from([b"\n", b"\r\n"]))
    pieces = draw(st.lists(TEXT, max_size=12))
    parts = [b": a comment" + end + end]
    for text in pieces:
        event = {"choices": [{"delta": {"content": text}}]}
        parts.append(b"data: " + json.dumps(event, ensure_ascii=draw(st.booleans())).encode() + end + end)
    parts.append(b'data: {"choices": [], "usage": {"completion_tokens": %d}}' % len(pieces) + end + end)
    parts.append(b"event: x" + end + b"data: [DONE]" + end + end)
    return pieces, b"".join(parts)


def read(cuts):
    reader, answer = EventReader(), Answer()
    for at, cut in enumerate(cuts):
        for data in reader.feed(cut):
            answer.take(data, float(at))
    return answer


@given(streams(), st.data())
def test_cuts_do_not_matter(stream, data):
    pieces, raw = stream
    places = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=20)))
    ends = [0, *places, len(raw)]
    answer = read([raw[start:end] for start, end in itertools.pairwise(ends)])
    assert answer.done
    assert len(answer.pieces) == len(pieces)
    assert answer.output_tokens == len(pieces)
    times, how = answer.token_times()
    assert len(times) == len(pieces)
    assert list(times) == sorted(times)
    if pieces:
        assert how == "one token per piece, as the total says"


@given(st.binary(max_size=300))
def test_no_bytes_bring_it_down(raw):
    with contextlib.suppress(StreamFault):
        read([raw])


NAMES = """choices usage delta error timings predicted_n completion_tokens logprobs content token_ids text
message prompt_tokens_details"""
KEYS = NAMES.split()
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=4)
EVENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(EVENTS)
def test_no_event_brings_it_down(event):
    answer = Answer()
    try:
        answer.take(json.dumps(event).encode(), 1.0)
    except StreamFault:
        assert not isinstance(event, dict)
    answer.token_times()
