"""For every test: property tests have no time limit for an example, because a busy machine is no defect.

Continuous integration (CI=true) draws the same examples each time, so that a change is judged by itself; at home every
run looks further.
"""

import os

from hypothesis import settings

settings.register_profile("home", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "home")
