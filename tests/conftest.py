"""Hypothesis profiles.

`ci`, the one `pyproject.toml` names, runs the same examples every time. To look for new ones:
`pytest --hypothesis-profile=explore`.
"""

from hypothesis import settings

# No deadlines: a busy machine is not a failure.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=2000, deadline=None)
