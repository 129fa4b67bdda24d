"""Cost cards: in turns, round trip, ratios."""

import pytest

from advkd.evaluation import EvaluationError
from advkd.export.cost_card import COST, CostRow, Runner, cost_lines, measure_costs, read_cost, report_costs


def row(name: str, size: int | None = 2048) -> CostRow:
    return CostRow(name=name, file_bytes=size, parameters=10, multiply_adds=100, peak_memory_bytes=None, latencies=())


def test_all_are_timed_in_turns_on_one_thread_and_on_all(tmp_path) -> None:
    calls: list[tuple[str, int, int]] = []
    runners = [
        Runner(row=row(name), run=lambda batch, threads, name=name: calls.append((name, batch, threads)))
        for name in ("torch eager", "ONNX Runtime fp32")
    ]
    card = measure_costs(runners, {"torch": "2"}, seconds=0.0, batches=(1, 8))
    assert card.threads[0] == 1
    # Each once before, then three repeats of each in turns.
    names = [name for name, batch, threads in calls if (batch, threads) == (8, 1)]
    assert names == ["torch eager", "ONNX Runtime fp32"] * 4
    assert all(latency.repeats == 3 for each in card.rows for latency in each.latencies)
    (tmp_path / COST).write_text(card.to_json())
    assert read_cost(str(tmp_path)) == card
    assert read_cost(str(tmp_path / "nothing")) is None
    latency = card.rows[1].latency(8, 1)
    assert latency.images_per_second == pytest.approx(8000 / latency.milliseconds)
    assert card.speedup(card.rows[0], 1) == 1.0
    (tmp_path / "report.html").write_text("<body><h2>Cost</h2><!-- devices --><!-- /devices --><p>end</p></body>")
    report_costs(str(tmp_path), card)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<h2>On devices</h2>") == 1
    assert "<td>ONNX Runtime fp32</td><td>2.0 KiB</td>" in page
    report_costs(str(tmp_path), card)
    assert (tmp_path / "report.html").read_text() == page
    (tmp_path / "report.html").write_text("<body>of an older version</body>")
    report_costs(str(tmp_path), card)
    assert "older version<!-- devices -->" in (tmp_path / "report.html").read_text()
    with pytest.raises(EvaluationError, match=r"added to the report\.html of an evaluation, got none in .*nothing"):
        report_costs(str(tmp_path / "nothing"), card)
    lines = cost_lines(card)
    assert lines[2].startswith("| torch eager | 2.0 KiB | 10 | 100 | - | ")
    assert "x)" in lines[3]
    assert lines[-1].endswith("torch 2.")
