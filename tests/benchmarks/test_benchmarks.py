"""The benchmarks measure what they say: the same networks, in interleaved steps."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from atompaint_vae.models.encoder import calc_sizes
from atompaint_vae.nn import parse_field_type
from atompaint_vae.nn.conv import choose_padding
from benchmarks import __main__ as command_line
from benchmarks import _machine as machine
from benchmarks import gpu
from benchmarks._machine import PROCESSOR_TIMES, OthersWatch
from benchmarks.peers import ours, unconstrained
from benchmarks.peers.cases import BlockCase, VAECase, dump_case, load_case
from benchmarks.peers.client import Measurement, PeerError, Servers, check_peer, make_rows
from benchmarks.peers.server import Trainer

ROOT = Path(__file__).parents[2]
ROW_KEYS = ["name", "ours", "reference", "reference_name", "ratio", "unit", "n"]


def make_vae_case(frequency=1, layers=(1, 2), size_voxels=11, **options):
    sizes = calc_sizes(size_voxels, len(layers))
    return VAECase(
        frequency=frequency,
        grid_points=48,
        precision="float32",
        batch_size=2,
        size_voxels=size_voxels,
        layers=layers,
        paddings=tuple(choose_padding(size) for size in sizes[:-1]),
        latent=1,
        **options,
    )


def make_block_case(**options):
    return BlockCase(
        **{
            "frequency": 1,
            "grid_points": 48,
            "precision": "float32",
            "batch_size": 2,
            "size_voxels": 9,
            "part": "block",
            "fields_in": 2,
            "fields_out": 3,
        }
        | options
    )


@pytest.mark.parametrize("frequency", range(4))
def test_fields_have_as_many_channels_as_ours(frequency):
    case = make_vae_case(frequency=frequency)
    assert case.field_size == parse_field_type(f"1xfourier{frequency}").size


@pytest.mark.parametrize("layers", [(1, 2), (1, 2, 2)])
def test_vaes_have_the_same_shapes(layers):
    case = make_vae_case(layers=layers, size_voxels=19)
    step = ours.build(case)
    plain = unconstrained.build(case)
    assert case.latent_shape[1:] == step.vae.latent_shape
    assert case.copy_of_channel == step.vae.posterior.copy_of_channel.tolist()

    def list_shapes(network):
        shapes = []

        def record(module, inputs, output):
            is_conv = isinstance(module, torch.nn.Conv3d | torch.nn.ConvTranspose3d)
            if is_conv or type(module).__name__ == "SteerableConv":
                shapes.append((tuple(inputs[0].shape), tuple(output.shape)))

        for module in network.modules():
            module.register_forward_hook(record)
        network(*network.make_inputs())
        return shapes

    assert len(list_shapes(plain)) == 2 * len(layers) + 2
    assert list_shapes(plain) == list_shapes(step)


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 2},
        {"stride": 2, "transposed": True, "padding": 0},
        {"fields_in": 0},
        {"part": "conv"},
        {"part": "nonlinearity"},
    ],
)
def test_blocks_have_the_same_shapes(options):
    case = make_block_case(**options)
    for library in (ours, unconstrained):
        network = library.build(case)
        (image,) = network.make_inputs()
        assert image.requires_grad == (case.fields_in > 0 or case.part == "nonlinearity")
        output = network(image)
        size = case.fields_out * case.field_size
        assert output.shape == (2, size, *[case.size_out_voxels] * 3)


@pytest.mark.parametrize("case", [make_vae_case(), make_block_case()])
def test_cases_survive_json(case):
    assert load_case(json.loads(json.dumps(dump_case(case)))) == case


def test_rows_say_how_many_times_better_ours_is():
    rows = make_rows(
        "step",
        {
            "ours": Measurement(1.0, 2.0, None, [10.0, 30.0, 20.0]),
            "with_escnn": Measurement(1.0, 8.0, 5.0, [40.0, 50.0, 60.0]),
        },
    )
    assert [list(row) for row in rows] == [ROW_KEYS] * 2
    assert [list(row.values()) for row in rows] == [
        ["step", 20.0, 50.0, "escnn", 2.5, "ms", 3],
        ["step: saved for backward", 2.0, 8.0, "escnn", 4.0, "MB", 1],
    ]


@pytest.mark.slow
def test_servers_measure_and_report_what_fails():
    with Servers(["ours", "unconstrained"]) as servers:
        measurements = servers.measure(make_block_case(), num_repeats=2)
        for measurement in measurements.values():
            assert len(measurement.times_ms) == 2
            assert min(measurement.times_ms) > 0
        # ELU works in place, so torch keeps the input, the convolution's result and the end's; and
        # a few numbers for each channel.  The kernel is a parameter.
        num_bytes = 4 * 2 * 9**3 * (20 + 30 + 30)
        saved_MB = measurements["unconstrained"].saved_MB
        assert saved_MB == pytest.approx(num_bytes / 1e6, abs=0.002)

        with pytest.raises(PeerError, match="octahedral_7"):
            servers.measure(make_block_case(grid_points=7), num_repeats=1)


class ServerHere:
    """Answers as the process of a library does, without starting one."""

    def __init__(self, library):
        self.trainer = Trainer(library)

    def read_answer(self):
        return {}

    def build(self, case):
        return self.ask("build", case=dump_case(case))

    def ask(self, do, **arguments):
        return getattr(self.trainer, do)(**arguments)

    def close(self):
        pass


@pytest.fixture
def small_cases(monkeypatch):
    """Replace the networks by small ones, and their processes by this one."""
    monkeypatch.setattr("benchmarks.peers.client.Server", ServerHere)
    monkeypatch.setattr("benchmarks.training.Server", ServerHere)
    monkeypatch.setattr("benchmarks.peers.client.NUM_WARMUP_STEPS", 0)
    monkeypatch.setattr("benchmarks.layers.WIDTHS", ((1, 1, 1),))
    monkeypatch.setattr("benchmarks.layers.NUM_QUICK_CASES", 1)
    monkeypatch.setattr("benchmarks.training.SIZE_VOXELS", 11)
    monkeypatch.setattr("benchmarks.training.QUICK_MODELS", ((1, (1, 1), 1),))
    monkeypatch.setattr("benchmarks.training.LARGEST_MODEL", (1, (1, 1), 1))


def test_a_gpu_is_measured_as_long_as_there_is_time(small_cases, monkeypatch, capsys):
    """On the CPU, with small models."""
    monkeypatch.setattr("benchmarks.peers.client.PEERS_PYTHON", Path("nowhere"))
    monkeypatch.setattr("benchmarks.training.MODELS", ((1, (1, 1), 1),))
    monkeypatch.setattr("benchmarks.gpu.PRECISIONS", {"32-true": "float32"})
    for name, value in {
        "BATCH_SIZE": 1, "SIZE_VOXELS": 11, "QUICK_NUM_TURNS": 1, "NUM_STEPS": 1,
    }.items():  # fmt: skip
        monkeypatch.setattr(gpu, name, value)
    kinds = {
        "VAE": {"model": {"layers": ["1x0e"], "latent": "1x0e"}},
        "neighbor location": {
            "kind": "neighbor_location", "data": {"size_voxels": 21},
            "model": {"layers": ["1x0e"], "features": "1x0e", "views": {"size_voxels": 7}},
        },
        "denoiser of voxels": {
            "kind": "diffusion", "model": {"layers": ["1x0e"], "sampler": {"num_steps": 2}},
        },
    }  # fmt: skip
    monkeypatch.setattr(gpu, "KINDS", kinds)
    rows = gpu.run(quick=True, device="cpu")
    assert [list(row) for row in rows] == [ROW_KEYS] * len(rows)
    assert all(row["ours"] > 0 for row in rows)
    found = "\n".join(row["name"] for row in rows)
    for what in ("VAE L = 1", "neighbor location", "denoiser", "loader", "sample", "images",
                 "convolution, "):  # fmt: skip
        assert what in found
    capsys.readouterr()
    monkeypatch.setattr(gpu, "LIMIT_S", -1)
    assert gpu.run(quick=True, device="cpu") == []
    assert "no time left for: VAE L = 1" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_none_is_measured(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "gpu"])
    assert command_line.main() == 2
    assert capsys.readouterr() == ("", "benchmarks gpu: torch finds no CUDA GPU here\n")


def make_environment(folder, *, is_ready):
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    if is_ready:
        (folder / "ready").touch()
    return python


@pytest.mark.parametrize("has_python", [False, True])
@pytest.mark.parametrize("name", ["layers", "training"])
def test_without_peers_the_others_are_compared(
    name, has_python, small_cases, monkeypatch, tmp_path, capsys
):
    """has_python: `make bench-peers` was cut off before it had installed escnn"""
    python = tmp_path / "bin" / "python"
    if has_python:
        make_environment(tmp_path, is_ready=False)
    monkeypatch.setattr("benchmarks.peers.client.PEERS_PYTHON", python)
    path = tmp_path / "rows.json"
    monkeypatch.setattr(sys, "argv", ["benchmarks", name, "--quick", "--json", str(path)])
    assert command_line.main() == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "escnn is left out: it is not installed; run `make bench-peers`"
    rows = json.loads(path.read_text())
    assert [list(row) for row in rows] == [ROW_KEYS] * len(rows)
    assert {row["reference_name"] for row in rows} == {"torch, unconstrained"}
    assert {row["unit"] for row in rows} >= {"ms", "MB"}


def test_peers_are_found_once_they_are_installed(tmp_path, capsys):
    assert check_peer("exmemo", make_environment(tmp_path, is_ready=True))
    assert capsys.readouterr().err == ""


def test_the_usage_names_every_benchmark():
    names = command_line.list_benchmarks()
    listed = ", ".join(names[:-1]) + f" or {names[-1]}."
    assert f"<name> {listed} " in " ".join(command_line.__doc__.split())
    for name in names:
        assert callable(importlib.import_module(f"benchmarks.{name}").run)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of what git tracks, in which no other library is installed."""
    folder = tmp_path_factory.mktemp("clone")
    git = ["git", "-C", str(ROOT), "ls-files", "-z"]
    try:
        names = subprocess.run(git, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git repository")
    for name in filter(None, names.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("build", None),
        ("devices", None),
        ("feed", None),
        ("grids", "escnn"),
        ("layers", "escnn"),
        ("notebook", "exmemo"),
        ("training", "escnn"),
        ("voxelize", None),
    ],
)
def test_each_benchmark_runs_in_a_fresh_clone(name, peer, clone):
    command = [sys.executable, "-m", "benchmarks", name, "--quick", "--json", "rows.json"]
    env = os.environ | {"PYTHONPATH": str(clone)}
    done = subprocess.run(command, cwd=clone, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads((clone / "rows.json").read_text())
    assert rows
    assert [list(row) for row in rows] == [ROW_KEYS] * len(rows)
    advice = [line for line in done.stderr.splitlines() if "make bench-peers" in line]
    message = f"{peer} is left out: it is not installed; run `make bench-peers`"
    assert advice == ([message] if peer else [])


@pytest.mark.skipif(not PROCESSOR_TIMES.exists(), reason="the system doesn't report them")
def test_our_own_work_is_not_that_of_others(monkeypatch, tmp_path):
    """In 10 s, all processors were busy for 3 s, of which 1 s was this program's."""
    path, ticks = tmp_path / "stat", os.sysconf("SC_CLK_TCK")
    monkeypatch.setattr(machine, "PROCESSOR_TIMES", path)
    monkeypatch.setattr(machine.time, "monotonic", lambda: 5.0)
    monkeypatch.setattr(machine.os, "times", lambda: (1.0, 0.5, 0.25, 0.25, 9.0))
    # user, nice, system, idle, waiting for input, two kinds of interrupts, stolen; two kinds of
    # guests, which the first two hold
    path.write_text("cpu  100 10 20 5000 70 1 2 3 40 50\ncpu0 1\n")
    watch = OthersWatch()
    monkeypatch.setattr(machine.time, "monotonic", lambda: 15.0)
    monkeypatch.setattr(machine.os, "times", lambda: (1.5, 0.75, 0.25, 0.5, 9.0))
    user, nice = 100 + ticks, 10 + ticks
    path.write_text(f"cpu  {user} {nice} {20 + ticks} 9000 900 1 2 3 400 500\ncpu0 1\n")
    assert watch.measure_share() == pytest.approx((3 - 1) / (10 * os.cpu_count()))


def test_an_unknown_benchmark_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "layer"])
    assert command_line.main() == 2
    message = "no benchmark 'layer'; expected one of build, devices, diffusion, feed, gates, "
    assert capsys.readouterr().err.startswith(message)


def test_the_table_lines_up_and_json_holds_the_rows(monkeypatch, tmp_path, capsys):
    rows = [
        dict(zip(ROW_KEYS, ["fast", 1.0, 1234.5, "escnn", 1234.5, "ms", 3], strict=True)),
        dict(zip(ROW_KEYS, ["alone", 20.0, None, None, None, "s", 50], strict=True)),
    ]
    monkeypatch.setattr("benchmarks.layers.run", lambda quick: rows)
    path = tmp_path / "rows.json"
    monkeypatch.setattr(sys, "argv", ["benchmarks", "layers", "--json", str(path)])
    assert command_line.main() == 0
    assert json.loads(path.read_text()) == rows
    assert capsys.readouterr().out.splitlines() == [
        "       ours  reference         ratio  unit   n",
        "fast      1       1234  escnn   1234  ms     3",
        "alone    20                           s     50",
    ]
