"""The closed form of co-located serving against a step-by-step simulation of the same rules.

The simulation knows nothing of the formula: slots decode one token a step, a finished request is replaced at once, its
prompt waits in its group's queue and takes ``chunks`` steps, and a step with any prompt lasts ``mixed`` instead of
``plain`` for every group.
"""

from collections import deque

import pytest

from dougong.plan.serving import mixed_shares


def simulate(*, batch, chunks, output, groups, plain, mixed, steps=60_000, together=False):
    """Mean time per output token and requests per second of one group, after a warm-up."""
    # Requests start at different depths of their answers, as they would after a while.
    left = [
        [1 + (output * (slot + 1) // batch + 7 * group * (not together)) % output for slot in range(batch)]
        for group in range(groups)
    ]
    queue = [deque() for _ in range(groups)]
    clock, tokens, spent, done, warm = 0.0, 0, 0.0, 0, steps // 5
    for step in range(steps):
        busy = any(queue)
        length = mixed if busy else plain
        clock += length
        for group in range(groups):
            active = [slot for slot in range(batch) if left[group][slot] > 0]
            if queue[group]:
                queue[group][0][1] -= 1
                if queue[group][0][1] == 0:
                    slot, _ = queue[group].popleft()
                    left[group][slot] = output
            for slot in active:
                left[group][slot] -= 1
                if left[group][slot] == 0:
                    queue[group].append([slot, chunks])
                    done += step >= warm
            if step >= warm:
                tokens += len(active)
                spent += length * len(active)
    return spent / tokens, done / groups / (clock * (1 - warm / steps))


@pytest.mark.parametrize(
    ("batch", "chunks", "output", "groups"),
    [
        (1, 2, 100, 1),
        (8, 1, 200, 1),
        (16, 2, 400, 1),
        (32, 1, 300, 1),
        (4, 2, 200, 4),
        (8, 1, 400, 8),
        (16, 1, 256, 2),
    ],
)
def test_a_token_takes_as_long_as_the_simulation_says(batch, chunks, output, groups):
    plain, mixed = 1.0, 6.0
    simulated, _ = simulate(
        batch=batch, chunks=chunks, output=output, groups=groups, plain=plain, mixed=mixed
    )
    share, _, _ = mixed_shares(float(batch), float(chunks), float(output), float(groups), 1.0)
    closed = plain + float(share) * (mixed - plain)
    # The simulation's cycle holds the prompt itself, so its requests come a little slower than the form assumes.
    assert closed == pytest.approx(simulated, rel=0.12)


def test_prompts_that_fill_all_steps_bound_the_rate():
    # 64 requests of 32 tokens with prompts of 2 steps: 128 prompt steps for 32 decode steps.
    simulated, rate = simulate(batch=64, chunks=2, output=32, groups=1, plain=1.0, mixed=3.0)
    share, _, load = mixed_shares(64.0, 2.0, 32.0, 1.0, 1.0)
    assert float(share) == 1.0
    assert float(load) > 1.0
    assert simulated == pytest.approx(3.0, rel=0.02)
    assert rate == pytest.approx(1 / (2 * 3.0), rel=0.02)
