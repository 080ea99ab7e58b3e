"""The compiled operations against the formulas, and their random masks against what random means."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import gpt_experiments
from gpt_experiments.kernels import KernelWarning, add_dropped, causal_attention, feed_forward
from gpt_experiments.kernels.operations import compiled_functions
from tests.conftest import generated_text

compiled = pytest.mark.skipif(compiled_functions() is None, reason="needs Numba")


def plain(qkv: Tensor, scale: float) -> Tensor:
    """Attention as the formula has it, without dropout."""
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    scores = (q @ k.transpose(-2, -1) * scale).masked_fill(
        torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).triu(1), float("-inf")
    )
    return (scores.softmax(-1) @ v).transpose(1, 2)


@compiled
@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 4), st.sampled_from([1, 3, 8, 16, 17, 40])),
    spread=st.sampled_from([0.01, 1.0, 4.0]),
    seed=st.integers(0, 1000),
    dropout=st.sampled_from([0.0, 1e-12]),  # of the latter a mask is drawn, which keeps all
)
def test_where_nothing_is_dropped_values_and_gradients_are_the_formulas(
    shape: tuple[int, int, int, int], spread: float, seed: int, dropout: float
) -> None:
    n_batch, n_time, n_head, head_size = shape
    generator = torch.Generator().manual_seed(seed)
    qkv = torch.randn(n_batch, n_time, 3, n_head, head_size, generator=generator, dtype=torch.float64) * spread
    grad = torch.randn(n_batch, n_time, n_head, head_size, generator=generator, dtype=torch.float64)
    exact, ours = qkv.clone().requires_grad_(), qkv.float().requires_grad_()
    expected, found = plain(exact, 0.3), causal_attention(ours, scale=0.3, dropout=dropout)
    expected.backward(grad)
    found.backward(grad.float())
    assert exact.grad is not None
    assert ours.grad is not None
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5 * spread * max(1.0, spread))
    torch.testing.assert_close(ours.grad.double(), exact.grad, rtol=1e-4, atol=2e-5 * max(1.0, spread) ** 2)


def recovered_weights(dropout: float, n_time: int = 64, heads: int = 3) -> Tensor:
    """The weights after dropout (heads, T, T): with the identity as values they are the output."""
    qkv = torch.zeros(1, n_time, 3, heads, n_time)
    qkv[0, :, 2] = torch.eye(n_time)[:, None]
    return causal_attention(qkv, scale=1.0, dropout=dropout)[0].transpose(0, 1)


@compiled
def test_weights_are_dropped_as_often_as_asked_and_the_others_scaled_up() -> None:
    torch.manual_seed(0)
    p, uniform = 0.1, 1 / torch.arange(1, 65).float()[:, None]
    seen = torch.stack([recovered_weights(p) for _ in range(60)])  # (60, heads, T, T)
    earlier = torch.ones(64, 64, dtype=torch.bool).tril().expand_as(seen)
    kept = seen[earlier] > 0
    n = kept.numel()
    assert abs(float((~kept).float().mean()) - p) < 4 * (p * (1 - p) / n) ** 0.5
    scaled = (seen / uniform)[earlier][kept]
    torch.testing.assert_close(scaled, torch.full_like(scaled, 1 / (1 - p)), rtol=1e-5, atol=0)


@compiled
def test_masks_are_independent_between_rows_columns_heads_and_calls() -> None:
    torch.manual_seed(1)
    masks = torch.stack([recovered_weights(0.5) for _ in range(40)])[:, :, 32:, :32] > 0  # all earlier: (40, 3, 32, 32)
    values = masks.float() - 0.5
    n = values.numel()
    for shifted in (
        values.roll(1, 0),
        values.roll(1, 1),
        values.roll(1, 2),
        values.roll(1, 3),
        values.roll((1, 1), (2, 3)),
    ):
        correlation = float((values * shifted).mean() / 0.25)
        assert abs(correlation) < 5 / n**0.5
    first, again = masks[0], masks[1]
    assert not torch.equal(first, again)


@compiled
def test_the_backward_pass_drops_what_the_forward_pass_dropped() -> None:
    """With the mask held by the seed, the gradient is that of finite differences."""
    torch.manual_seed(2)
    qkv = torch.randn(1, 5, 3, 2, 4)

    def loss(x: Tensor) -> Tensor:
        torch.manual_seed(7)
        return causal_attention(x, scale=0.5, dropout=0.4).square().sum()

    x = qkv.clone().requires_grad_()
    loss(x).backward()
    assert x.grad is not None
    step = 1e-2
    for index in [(0, 4, 0, 1, 2), (0, 0, 1, 0, 3), (0, 2, 2, 1, 0), (0, 3, 1, 1, 1)]:
        up, down = qkv.clone(), qkv.clone()
        up[index] += step
        down[index] -= step
        slope = float(loss(up) - loss(down)) / (2 * step)
        assert float(x.grad[index]) == pytest.approx(slope, abs=5e-3, rel=2e-2)


@compiled
def test_scores_far_apart_give_the_formulas_weights_and_one_that_is_nan_is_not_hidden() -> None:
    qkv = torch.zeros(1, 40, 3, 1, 4)
    qkv[0, :, 0], qkv[0, :, 1] = 30.0, torch.linspace(-30, 30, 40)[:, None, None]  # scores from -3,600 to 3,600
    qkv[0, :, 2] = torch.arange(40.0)[:, None, None]
    torch.testing.assert_close(causal_attention(qkv, scale=1.0, dropout=0.0), plain(qkv, 1.0))
    qkv[0, 20, 1] = float("nan")
    found = causal_attention(qkv, scale=1.0, dropout=0.0)[0].isnan().flatten(1).any(1)
    assert found.tolist() == [False] * 20 + [True] * 20


@compiled
def test_the_stream_gains_what_is_kept_scaled_up_and_its_gradient_alike() -> None:
    torch.manual_seed(3)
    x, y = torch.full((200, 7, 33), 5.0, requires_grad=True), torch.ones(200, 7, 33, requires_grad=True)
    out = add_dropped(x, y, dropout=0.3)
    kept = out > 5
    assert float(kept.float().mean()) == pytest.approx(0.7, abs=4 * (0.21 / x.numel()) ** 0.5)
    torch.testing.assert_close(out[kept], torch.full_like(out[kept], 5 + 1 / 0.7))
    assert torch.equal(out[~kept], torch.full_like(out[~kept], 5.0))
    out.sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert torch.equal(x.grad, torch.ones_like(x))
    torch.testing.assert_close(y.grad, kept / 0.7)
    assert torch.equal(add_dropped(x, y, dropout=0.0), x + y)


@compiled
@settings(max_examples=20, deadline=None)
@given(
    rows=st.integers(1, 40),
    width=st.sampled_from([1, 5, 16]),
    hidden=st.sampled_from([1, 64, 20_000]),
    seed=st.integers(0, 99),
)
def test_the_feed_forward_in_parts_is_the_formula(rows: int, width: int, hidden: int, seed: int) -> None:
    """A hidden layer of 20,000 is cut into parts of six rows."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(rows, width), (hidden, width), (hidden,), (width, hidden), (width,)]
    exact = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    # Whole numbers and halves, so that no sum is so near 0 that rounding decides which side of the ReLU it is on.
    exact[:3] = [exact[0].round(), exact[1].round(), exact[2].floor() + 0.5]
    exact = [tensor.requires_grad_() for tensor in exact]
    ours = [tensor.detach().float().requires_grad_() for tensor in exact]
    x, w1, b1, w2, b2 = exact
    expected = F.linear(F.relu(F.linear(x, w1, b1)), w2, b2)
    found = feed_forward(*ours)
    grad = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    expected.backward(grad)
    found.backward(grad.float())
    scale = float(expected.detach().abs().max())
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5 * scale)
    with torch.no_grad():  # few rows are computed at once
        torch.testing.assert_close(feed_forward(*ours).double(), expected, rtol=1e-4, atol=1e-5 * scale)
    for mine, theirs in zip(ours, exact, strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        torch.testing.assert_close(
            mine.grad.double(), theirs.grad, rtol=1e-4, atol=1e-5 * float(theirs.grad.abs().max())
        )


@compiled
def test_autocast_changes_a_result_by_rounding_alone() -> None:
    """Masks and all: what is dropped is the same."""

    def result() -> Tensor:
        torch.manual_seed(9)
        x, weight = torch.randn(3, 20, 16), torch.randn(48, 16) / 4
        qkv = F.linear(x, weight).unflatten(2, (3, 2, 8))
        attended = causal_attention(qkv, scale=0.5, dropout=0.3).flatten(2)
        return add_dropped(x, F.linear(attended, weight[:16]), dropout=0.3)

    exact = result()
    with torch.autocast("cpu", torch.bfloat16):
        rough = result()
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.05, atol=0.05)
    assert not torch.equal(rough, exact)


@compiled
def test_a_result_does_not_depend_on_the_number_of_threads() -> None:
    def results(threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        torch.manual_seed(8)
        qkv = torch.randn(5, 20, 3, 2, 8, requires_grad=True)
        stream = torch.randn(5, 20, 16)
        out = add_dropped(stream, causal_attention(qkv, scale=0.5, dropout=0.3).flatten(2), dropout=0.3)
        out.square().sum().backward()
        assert qkv.grad is not None
        return [out, qkv.grad]

    before = torch.get_num_threads()
    try:
        for one, three in zip(results(1), results(3), strict=True):
            assert torch.equal(one, three)
    finally:
        torch.set_num_threads(before)


@compiled
def test_equal_seeds_give_equal_masks_and_no_draw_is_made_without_dropout() -> None:
    torch.manual_seed(4)
    first = recovered_weights(0.2)
    torch.manual_seed(4)
    assert torch.equal(recovered_weights(0.2), first)
    torch.manual_seed(5)
    recovered_weights(0.0)
    untouched = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), untouched)


@pytest.mark.usefixtures("not_yet_loaded")
def test_without_numba_pytorch_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    torch.manual_seed(6)
    qkv = torch.randn(2, 9, 3, 2, 4)
    torch.testing.assert_close(causal_attention(qkv, scale=0.5, dropout=0.0), plain(qkv, 0.5))
    weights = recovered_weights(0.5)
    assert 0.3 < float((weights[:, 32:, :32] > 0).float().mean()) < 0.7
    out = add_dropped(torch.ones(100, 100), torch.ones(100, 100), dropout=0.5)
    assert set(out.unique().tolist()) == {1.0, 3.0}
    x, w1, b1, w2, b2 = (torch.randn(shape) for shape in [(7, 3), (12, 3), (12,), (3, 12), (3,)])
    torch.testing.assert_close(feed_forward(x, w1, b1, w2, b2), (x @ w1.T + b1).relu() @ w2.T + b2)


@compiled
@pytest.mark.slow
def test_a_processor_with_short_vectors_computes_the_same(tmp_path: Path) -> None:
    """In a process of its own whose Numba believes that there is no AVX-512."""
    program = """
import llvmlite.binding as llvm, torch
features = {name: has and not name.startswith("avx512") for name, has in llvm.get_host_cpu_features().items()}
llvm.get_host_cpu_features = lambda: llvm.FeatureMap(features)
from gpt_experiments.kernels import causal_attention, simd
torch.manual_seed(0)
qkv = torch.randn(2, 37, 3, 3, 12, requires_grad=True)
out = causal_attention(qkv, scale=0.3, dropout=0.2)
out.square().sum().backward()
print(simd.LANES, out.detach().double().sum().item(), qkv.grad.double().abs().sum().item())
"""
    found = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    torch.manual_seed(0)
    qkv = torch.randn(2, 37, 3, 3, 12, requires_grad=True)
    out = causal_attention(qkv, scale=0.3, dropout=0.2)
    out.square().sum().backward()
    assert qkv.grad is not None
    assert found[0] == "8"
    assert float(found[1]) == pytest.approx(out.detach().double().sum().item(), abs=1e-4)
    assert float(found[2]) == pytest.approx(qkv.grad.double().abs().sum().item(), rel=1e-5)


@pytest.fixture
def not_yet_loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that has not loaded the kernels."""
    for module in ("simd", "dropout", "attention", "autograd"):
        monkeypatch.delitem(sys.modules, f"gpt_experiments.kernels.{module}", raising=False)
        monkeypatch.delattr(f"gpt_experiments.kernels.{module}", raising=False)
    compiled_functions.cache_clear()
    yield
    compiled_functions.cache_clear()


@pytest.mark.usefixtures("not_yet_loaded")
def test_numba_that_is_not_there_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    assert compiled_functions() is None


@pytest.mark.usefixtures("not_yet_loaded")
def test_numba_that_does_not_run_is_reported_and_pytorch_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that does not fit the compiler below it, or that lacks what the kernels use, raises anything."""

    class Broken(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise RuntimeError("its LLVM is another one")

    numba = Broken("numba")
    numba.__spec__ = ModuleSpec("numba", None)
    monkeypatch.setitem(sys.modules, "numba", numba)
    qkv = torch.randn(2, 9, 3, 2, 4)
    with pytest.warns(KernelWarning, match=r"does not run here \(.*its LLVM is another one.*PyTorch's own attention"):
        attended = causal_attention(qkv, scale=0.5, dropout=0.0)
    torch.testing.assert_close(attended, plain(qkv, 0.5))


@pytest.fixture
def read_only_package(tmp_path: Path) -> dict[str, str]:
    """The environment of a process whose package and home cannot be written, by whatever user."""
    copied = tmp_path / "read-only" / "gpt_experiments"
    shutil.copytree(Path(gpt_experiments.__file__).parent, copied, ignore=shutil.ignore_patterns("__pycache__"))
    in_the_way = [copied / "kernels" / "__pycache__", tmp_path / "home"]
    for path in in_the_way:
        path.write_text("a file where the folder should be")
    environment = {
        name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
    }
    return environment | {"PYTHONPATH": str(copied.parent), "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path)}


DROPS = """
import resource, sys
from gpt_experiments.kernels import operations
if len(sys.argv) > 1:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
import torch
out = operations.add_dropped(torch.ones(100, 100), torch.ones(100, 100), dropout=0.5)
print(operations.__file__, operations.compiled_functions().are_kept(), sorted(set(out.unique().tolist())))
"""


@pytest.mark.slow
@compiled
@pytest.mark.parametrize("why", ["no folder", "an impossible folder", "no room"])
def test_kernels_that_cannot_be_kept_are_compiled_for_the_process_with_a_warning(
    why: str, tmp_path: Path, read_only_package: dict[str, str]
) -> None:
    environment, bytes_left = dict(read_only_package), []
    if why == "an impossible folder":
        environment["NUMBA_CACHE_DIR"] = str(tmp_path / "home" / "numba")
    if why == "no room":
        environment["NUMBA_CACHE_DIR"], bytes_left = str(tmp_path / "numba"), ["50000"]
    answer = subprocess.run(
        [sys.executable, "-c", DROPS, *bytes_left],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == f"{tmp_path}/read-only/gpt_experiments/kernels/operations.py False [1.0, 3.0]\n"
    assert "KernelWarning: Numba finds no folder" in answer.stderr
    assert "set NUMBA_CACHE_DIR to a folder that can be written" in answer.stderr


@compiled
@pytest.mark.thorough
@pytest.mark.slow
def test_a_trial_trains_where_kernels_cannot_be_kept_and_the_user_learns_the_cure(
    tmp_path: Path, read_only_package: dict[str, str]
) -> None:
    """And with the cure nothing is said, and the kernels are kept."""
    (tmp_path / "text.txt").write_text(generated_text(4000))
    options = ["--data", "text.txt", "--device", "cpu", "--steps", "1", "--batch-size", "1", "--block-size", "8"]

    def train(seed: int, **more: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "gpt_experiments", "train", *options, "--seed", str(seed)],
            cwd=tmp_path,
            env=read_only_package | more,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return " ".join((done.stdout + done.stderr).split())

    assert "set NUMBA_CACHE_DIR to a folder that can be written" in train(1)
    assert "NUMBA_CACHE_DIR" not in train(2, NUMBA_CACHE_DIR=str(tmp_path / "numba"))
    assert list((tmp_path / "numba").rglob("*.nbc"))
