"""How long an example takes says how busy the machine is, and nothing of what is tested: no test fails by it."""

from hypothesis import HealthCheck, settings

settings.register_profile("unit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unit")
