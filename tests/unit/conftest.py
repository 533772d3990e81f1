"""Few examples of each property at every run of the tests, many where ``--hypothesis-profile deep`` asks for them.

How long an example takes says how busy the machine is, and nothing of what is tested: no test fails by it.
"""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "unit", max_examples=25, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("deep", settings.get_profile("unit"), max_examples=1000)
settings.load_profile("unit")
