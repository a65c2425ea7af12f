"""The base image: a Debian system of all roles' install parts, unpacked once and used read-only by every machine."""
