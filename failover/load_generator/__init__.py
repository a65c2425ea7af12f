"""The open-loop load generator: a small file tree that is copied to a vantage host and runs there.

It uses only the standard library and Debian 12's `python3-aiohttp`. From this project it imports only the measured
service's synthetic client, which is copied next to it. It writes and reads at a fixed rate on the monotonic clock and
does not wait for answers. A tool that waits for an answer before it sends the next request hides the stalls that it
should measure.
"""
