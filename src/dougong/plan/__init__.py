"""Enumerates layouts, refuses with reasons, ranks. Start at :func:`make_plan` and the records in ``types``."""
