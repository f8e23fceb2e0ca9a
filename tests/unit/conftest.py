"""What the pure tests share."""

from hypothesis import settings

# No deadline: how long an example takes says how busy the machine is.
settings.register_profile("servicedb", deadline=None)
settings.load_profile("servicedb")
