"""`make bench-peers`: one-pass students by other methods, from the same cache, with as many CPU seconds as ours.

protocol.py   what every peer is given and gives back      loop.py     the loop, clocked in CPU seconds
network.py    our student's network, and told a level      table.py    the peers
ours.py pairs.py released.py temporal.py rectified.py consistency.py adversarial.py   a method each
training_free.py   the teacher with as many multiply-adds, or milliseconds, as a student
measured.py   the figures of a run                         page.py     the page and its pictures
"""
