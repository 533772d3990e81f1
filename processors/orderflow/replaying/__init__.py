"""`orderflow replay`: asks the workers of a context to read their topics again, and tells what came of it.

The work is the workers' (:mod:`orderflow.runtime.replaying`). Here it is asked for, waited for, and shown.
"""
