"""Seconds, bytes and joules of an operator, a collective, a step. Start at :class:`dougong.cost.step.Pricer`."""
