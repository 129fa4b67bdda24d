"""`python -m flows.serve`: server, deployments and workers of one machine; see `flows.serving.serve`."""

from flows.serving import run_server

if __name__ == "__main__":
    run_server()
