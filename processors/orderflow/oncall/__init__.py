"""The tools of the person on call: look into a running system's dead letters, outboxes and tasks, and repair them.

They read and write the contexts' databases and nothing else: no broker, no process. What is to be done is written down
there, and done by the processes whose it is, as everything is. Each act is a line in the audit trail.
"""
