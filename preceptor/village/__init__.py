"""The village: a generated world whose every answer a program can check.

The village is a measuring instrument. Its version is written into every run, and the world is frozen before targets
are tried against it: a later change raises the version, says why, and reruns what was measured.
"""

VERSION = "2"
