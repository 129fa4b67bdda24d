"""Tests of permissions where root runs them too: a process of root without the right to ignore permissions."""

import os

PREFIX = () if os.geteuid() else ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")
"""What a command is put behind (util-linux, part of every Debian)."""
