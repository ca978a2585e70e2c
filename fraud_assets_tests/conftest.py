"""What every layer shares."""

from hypothesis import settings

# The first call compiles (numba), and machines are shared: a slow example is no failure. The same examples every run.
settings.register_profile("project", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("project")
