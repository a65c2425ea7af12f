"""Whole operations on the estate: deploy, drill, move of the primary, upgrade, state, benchmarks.

The command line, a console and a scheduler call these functions. Each one takes plain parameters and a callback for
its events, takes the locks that it needs, and returns a result object or raises an error of `workstation.errors`. No
function here prints a result, asks the operator, restarts the process or ends it.

Two kinds of functions differ in where they may run:

- Functions that reach hosts must run where the hosts are reachable. For a lab this is the operator's network
  namespace (`workstation.namespace`). The command line enters it before any thread is started. A long-lived process
  starts in it.
- Functions that build (`machine.prepare`, `deploy.prepare_image`, `upgrade.build`) need the network, which a lab's
  namespace does not have. They run before the namespace is entered.

Each module's docstring names its kind.
"""
