"""The scoreboard: rows are whole, statuses follow from running, and the commands are ones that run."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from zerocast.analysis.cli import main
from zerocast.analysis.errors import AnalysisError
from zerocast.analysis.validate import run
from zerocast.analysis.validate.record import recorded
from zerocast.analysis.validate.suites.systems import judged, systems
from zerocast.analysis.validate.suites.systems.capabilities import BASES, Capability, capabilities, is_there
from zerocast.analysis.validate.suites.systems.page import page
from zerocast.analysis.validate.suites.systems.predictions import PREDICTIONS
from zerocast.analysis.validate.suites.systems.scoreboard import Claim, System, judge
from zerocast.analysis.validate.suites.systems.trial import tried

STATUS = {number: recorded()["systems", system.label].unit for number, system in enumerate(systems(), 1)}
WORKING = [system for system in systems() if STATUS[system.number] == "works"]
SMALL = System(
    0, "small", "others", "a network", "0000.00000", "nobody",
    "zerocast run analysis/validate/suites/systems/networks.py:dynamics --accelerator systolic-32x32 --out out",
    (Claim("its operations", 12.5e6, "MAC", "macs", 0.01), Claim("its charm", 7, because="it is no cost")),
)  # fmt: skip


def macs(trial) -> dict[str, float]:
    """512 x (64 x 32 + 32 x 64 + 64 x 64) multiply-accumulates, 4.19 million."""
    return {"macs": trial.workload.macs}


def test_there_are_59_and_each_is_whole() -> None:
    assert [system.number for system in systems()] == list(range(1, 60))
    for system in systems():
        assert system.gist and system.arxiv and system.source, system.label
        assert system.command or system.needs, system.label
        keys = [claim.key for claim in system.claims if claim.key]
        assert len(set(keys)) == len(keys)
        for claim in system.claims:  # it is predicted, or it is said why it cannot be
            assert bool(claim.key) != bool(claim.because), (system.label, claim.what)
            assert not claim.key or isinstance(claim.value, (int, float))


def test_the_nine_that_worked_first_and_nine_of_training_work() -> None:
    working = {system.number for system in WORKING}
    assert working >= {2, 4, 10, 15, 28, 33, 37, 49, 57} | {1, 12, 19, 20, 25, 32, 46, 52, 53}


def test_a_status_follows_from_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    true = replace(SMALL, claims=(replace(SMALL.claims[0], value=512 * 128 * 64), SMALL.claims[1]))
    assert judge(true, macs).status == "works"
    assert judge(SMALL, macs).status == "partly" and "off by -66.4%" in judge(SMALL, macs).why[0]
    assert judge(true, None).why == ("its operations is not predicted",)
    monkeypatch.setitem(capabilities(), "wings", Capability("wings", "--prune wings:2"))
    assert judge(replace(true, needs=("wings", "nested widths")), macs).why == ("lacks wings",)
    assert judge(replace(true, command="", needs=("wings",)), None).status == "no"
    with pytest.raises(AnalysisError, match="nothing that it needs is missing; give it a command"):
        judge(replace(true, command="", needs=("nested widths",)), None)
    with pytest.raises(AnalysisError, match="no claim weight"):
        judge(true, lambda trial: {"macs": 1.0, "weight": 2.0})


def test_every_need_is_a_capability_and_every_capability_is_needed() -> None:
    needed = {need for system in systems() for need in system.needs}
    assert needed == set(capabilities())
    for name, each in capabilities().items():
        assert each.beside in BASES, name


def test_what_is_there_is_asked_for_and_must_do_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe that is known and changes nothing that was wanted is none; nor is one beside what does not run."""
    assert is_there("nested widths") and is_there("erased operators")
    monkeypatch.setitem(capabilities(), "lazy", Capability("lazy", "--prune nm:4:4", lowers="macs"))
    assert not is_there("lazy")
    monkeypatch.setitem(BASES, "run", f"{BASES['run']} --wings")
    monkeypatch.setitem(capabilities(), "other", Capability("other", "--prune nm:2:4"))
    with pytest.raises(AnalysisError, match="does not run: No such option"):
        is_there("other")
    with pytest.raises(AnalysisError, match="no capability 'flying'"):
        is_there("flying")


def test_commands_are_read_as_the_command_line_reads_them() -> None:
    asked = tried("zerocast run gpt2 --prune nm:2:4 --dense a --dense b --set compute.rows=8 --accelerator x --out o")
    assert (asked.network.model, asked.network.prune, asked.network.dense) == ("gpt2", "nm:2:4", ("a", "b"))
    assert asked.asked["settings"] == ["compute.rows=8"]


@pytest.mark.parametrize("verb", ["run", "train"])
def test_settings_of_a_command_count(verb: str) -> None:
    """Half the clock, and half the link: twice the time."""
    options = {"run": "", "train": " --schedule constant --steps 10"}[verb]
    command = f"zerocast {verb} analysis/validate/suites/systems/networks.py:dynamics --accelerator systolic-32x32"
    command += f"{options} --out out --set host.launch_overhead_s=0"
    slow = " --set technology.clock_hz={} --set memories.dram.bandwidth_bytes_per_s={}"
    array = tried(command).machine
    clock, link = array.technology.clock_hz, array.dram_bytes_per_s

    def seconds(share: float) -> float:
        trial = tried(command + slow.format(clock * share, link * share))
        return trial.trained.time_s if verb == "train" else trial.result.latency_s

    assert seconds(0.5) == pytest.approx(2 * seconds(1))


def test_one_system_by_number_and_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    by_number, by_name = run("systems", part="28"), run("systems", part="Sparse Neural Dynamics")
    assert by_number == by_name and [row.unit for row in by_number] == ["works"]
    assert main(["validate", "systems", "28"]) == 0
    capsys.readouterr()
    assert main(["validate", "systems", "60"]) == 2
    error = capsys.readouterr().err
    assert "no part '60'" in error and "a number from 1 to 59" in error and len(error) < 150


def test_the_list_names_all_with_their_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "systems"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 59
    assert "works" in lines[48] and "lacks" in lines[47]


def test_the_page_shows_claims_and_commands() -> None:
    text = page([judged(28), judge(SMALL, macs)])
    assert "1 work, 1 partly, 0 not at all" in text
    assert "| its operations | 12500000.0 MAC | 4.194e+06 | **off** (-66.4%) |" in text
    assert "not predictable: it is no cost" in text and SMALL.command in text


def test_the_shipped_page_is_that_of_the_record() -> None:
    text = (Path(__file__).parents[3] / "analysis" / "references" / "SYSTEMS.md").read_text()
    for status, count in (("work", "works"), ("partly", "partly"), ("not at all", "no")):
        assert f"{sum(found == count for found in STATUS.values())} {status}" in text


def test_every_prediction_has_its_system() -> None:
    assert set(PREDICTIONS) <= {system.number for system in systems() if any(claim.key for claim in system.claims)}


@pytest.mark.slow
@pytest.mark.parametrize("system", WORKING, ids=lambda system: str(system.number))
def test_the_command_of_a_working_system_runs(system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    arguments = shlex.split(system.command)[1:]
    assert main([*arguments[: arguments.index("--out")], "--out", str(tmp_path / "out")]) == 0
    assert any((tmp_path / "out").iterdir())
