"""The open-loop load generator: one small file tree that is copied to a vantage machine and run there.

It uses the standard library and Debian 12's `python3-aiohttp` only, and imports nothing else of this project except
`approval.people`, which is copied beside it. It applies and reads at a fixed rate on the monotonic clock, whatever
comes back: a tool that waits for answers before it sends again hides the very stall it should measure.
"""
