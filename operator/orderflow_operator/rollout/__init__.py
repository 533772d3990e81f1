"""How a release comes to be: ``decide(rollout, wanted, observation) -> (rollout, actions)``, and nothing else.

Pure: time is in the observation, and everything that is remembered is in the :class:`~.model.Rollout`. Whoever calls
has looked at everything there is, writes the new memory down, and only then does what was asked for.
"""
