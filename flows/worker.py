"""`python -m flows.worker --pool cpu`: `prefect worker start`, with runs that start in a second.

It takes the options of `prefect worker start`; see `flows.serving.worker`.
"""

from flows.serving.worker import run_worker

if __name__ == "__main__":
    run_worker()
