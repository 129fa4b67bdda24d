"""The templates of pools whose runs are containers, by the schemas of Prefect's workers and of what they start."""

import gc
import json
import warnings
from types import SimpleNamespace
from uuid import uuid4

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.testing.cli import invoke_and_assert
from prefect.utilities.asyncutils import run_coro_as_sync

from flows.serving.deploying import pool_limits, queue_limits
from tests.flows.machine import CHECKOUT

POOLS = CHECKOUT / "docs" / "pools"


def template(kind):
    return json.loads((POOLS / f"{kind}.json").read_text())


def configured(kind, worker, values):
    pytest.importorskip(f"prefect_{kind}")
    module = __import__(f"prefect_{kind}.worker", fromlist=[worker])
    configuration = getattr(module, worker).job_configuration
    return run_coro_as_sync(configuration.from_template_and_values(template(kind), values))


@pytest.mark.parametrize(("kind", "worker"), [("kubernetes", "KubernetesWorker"), ("docker", "DockerWorker")])
def test_a_template_has_all_that_its_worker_knows(kind, worker):
    pytest.importorskip(f"prefect_{kind}")
    known = getattr(__import__(f"prefect_{kind}.worker", fromlist=[worker]), worker).get_default_base_job_template()
    ours = template(kind)
    assert set(ours["job_configuration"]) == set(known["job_configuration"])
    added = set(ours["variables"]["properties"]) ^ set(known["variables"]["properties"])
    assert (
        added == {"kubernetes": {"gpus", "volume_claim", "secret"}, "docker": {"gpus", "container_create_kwargs"}}[kind]
    )


@pytest.mark.parametrize("gpus", [1, 4])
def test_a_kubernetes_job_asks_for_its_gpus(api, gpus):
    models = pytest.importorskip("kubernetes_asyncio.client")
    configuration = configured("kubernetes", "KubernetesWorker", {"gpus": gpus, "name": "run"})
    configuration.prepare_for_flow_run(FlowRun(flow_id=uuid4(), name="run"))
    manifest = configuration.job_manifest
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == gpus
    # What the API does not know is lost on the way through its own classes: two fields that Prefect's worker wants.
    kubernetes = models.ApiClient.__new__(models.ApiClient)
    kubernetes.configuration = models.Configuration()
    job = kubernetes.deserialize(SimpleNamespace(data=json.dumps(manifest)), "V1Job")
    lost = dropped(manifest, kubernetes.sanitize_for_serialization(job))
    assert sorted(lost) == [".spec.template.spec.completions", ".spec.template.spec.parallelism"]


def dropped(given, kept, path=""):
    """Paths of what `given` has and `kept` has not."""
    if isinstance(given, dict):
        return [
            one
            for key, value in given.items()
            for one in (dropped(value, kept[key], f"{path}.{key}") if key in kept else [f"{path}.{key}"])
        ]
    if isinstance(given, list):
        return [one for n, value in enumerate(given) for one in dropped(value, kept[n], f"{path}[{n}]")]
    return []


@pytest.mark.parametrize("gpus", [1, 4])
def test_a_container_asks_for_its_gpus(api, gpus):
    types = pytest.importorskip("docker.types")
    created = configured("docker", "DockerWorker", {"gpus": gpus, "name": "run"}).container_create_kwargs
    host = types.HostConfig(version="1.41", **created)
    assert host["DeviceRequests"] == [
        {"Driver": "nvidia", "Count": gpus, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {}}
    ]
    assert host["ShmSize"] == 8 * 2**30


@pytest.mark.slow
def test_pools_and_their_deployments_are_taken_by_the_server(api, monkeypatch):
    monkeypatch.chdir(CHECKOUT)
    with get_client(sync_client=True) as client:
        for kind in ("kubernetes", "docker"):
            client.create_work_pool(WorkPoolCreate(name=f"{kind}-gpu", type=kind, base_job_template=template(kind)))
        with warnings.catch_warnings():
            # In this process, which has imported the flows, the command's connections are left to the collector.
            warnings.simplefilter("ignore", ResourceWarning)
            invoke_and_assert(["--no-prompt", "deploy", "--all", "--prefect-file", str(POOLS / "prefect.yaml")])
            gc.collect()
        for entry in yaml.safe_load((POOLS / "prefect.yaml").read_text())["deployments"]:
            flow = entry["entrypoint"].rpartition(".")[2]
            found = client.read_deployment_by_name(f"{flow}/{entry['name']}")
            assert (found.parameters, found.work_pool_name) == (entry["parameters"], entry["work_pool"]["name"])
            assert found.pull_steps == [
                {"prefect.deployments.steps.set_working_directory": {"directory": "/opt/advkd"}}
            ]


def test_the_pool_gpu_runs_a_training_and_some_precomputes_per_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setenv("ADVKD_SHARDS_PER_GPU", "3")
    assert queue_limits("gpu") == {"training": 4, "precompute": 12}
    assert pool_limits()["gpu"] == 16
