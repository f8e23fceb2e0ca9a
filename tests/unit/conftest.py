"""What the pure tests share."""

from hypothesis import HealthCheck, settings

# No deadline: how long an example takes, or to be thought of, says how busy the machine is.
settings.register_profile("servicedb", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("servicedb")
