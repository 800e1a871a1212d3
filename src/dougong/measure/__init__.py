"""Drives load at a live endpoint and yields the records of :mod:`dougong.metrics`. Start at :func:`measure`.

``load`` says what is sent and when, ``endpoint`` gets to know the server, ``client`` sends one request, ``run`` drives
them all. ``probe`` measures this machine; ``calibrate`` turns runs into a local calibration.
"""
