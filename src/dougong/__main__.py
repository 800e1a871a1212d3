"""``python -m dougong`` is ``dougong``."""

from dougong.cli import main

raise SystemExit(main())
