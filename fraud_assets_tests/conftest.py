"""What every layer shares."""

import os

from hypothesis import settings

# The first call compiles (numba), and machines are shared: a slow example is no failure. The same examples every run.
settings.register_profile("project", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("project")

# A JVM of a test ends before what its second compiler makes of the code is worth the work.
os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")
