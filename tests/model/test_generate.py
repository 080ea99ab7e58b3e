"""Sampling text."""

from __future__ import annotations

import pytest
import torch

from gpt_experiments.config import ModelConfig
from gpt_experiments.errors import CheckpointError, ConfigError
from gpt_experiments.model import GPT, generate
from gpt_experiments.parameters import Shape


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(0)
    return GPT(ModelConfig(shape=Shape(n_head=2, n_layer=2, n_embed=16, block_size=8), vocab_size=12))


PROMPT = torch.tensor([3, 1, 4])


def test_the_prompt_is_kept_and_the_length_is_exact_beyond_the_context(model: GPT) -> None:
    tokens = generate(model, PROMPT, max_new_tokens=30, seed=1, num_samples=5)
    assert tokens.shape == (5, 33)
    assert (tokens[:, :3] == PROMPT).all()
    assert tokens.min() >= 0
    assert tokens.max() < 12
    assert len({tuple(row.tolist()) for row in tokens}) == 5


def test_the_seed_alone_decides_whatever_torch_has_drawn(model: GPT) -> None:
    first = generate(model, PROMPT, max_new_tokens=20, seed=7)
    torch.rand(3)
    assert torch.equal(first, generate(model, PROMPT, max_new_tokens=20, seed=7))
    assert not torch.equal(first, generate(model, PROMPT, max_new_tokens=20, seed=8))


def test_sampling_leaves_torchs_own_generator_and_the_models_mode_alone(model: GPT) -> None:
    model.train()
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    generate(model, PROMPT, max_new_tokens=4, seed=0)
    assert torch.equal(torch.rand(4), expected)
    assert model.training


def test_greedy_takes_the_argmax_and_top_1_is_the_same(model: GPT) -> None:
    greedy = generate(model, PROMPT, max_new_tokens=5, seed=0, temperature=0)
    model.eval()
    for end in range(3, 8):
        assert greedy[0, end] == model(greedy[:, :end])[0, -1].argmax()
    assert torch.equal(greedy, generate(model, PROMPT, max_new_tokens=5, seed=9, top_k=1))


@pytest.mark.parametrize("prompt_length", [1, 5, 8, 11])
def test_every_character_is_drawn_from_what_the_model_says_after_the_last_block_size(prompt_length: int) -> None:
    torch.manual_seed(1)
    variant = Shape(n_head=4, n_layer=3, n_embed=32, dropout=0.3, block_size=8)
    model = GPT(ModelConfig(shape=variant, vocab_size=12))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # far from uniform, so that a wrong key or position is another character
    prompt = torch.randint(12, (prompt_length,))
    drawn = generate(model, prompt, max_new_tokens=25, seed=3, num_samples=4)
    model.eval()
    generator, tokens = torch.Generator().manual_seed(3), prompt.expand(4, -1)
    for _ in range(25):
        following = torch.multinomial(model(tokens[:, -8:])[:, -1].softmax(-1), 1, generator=generator)
        tokens = torch.cat([tokens, following], dim=1)
    assert torch.equal(drawn, tokens)


def test_top_k_keeps_the_likeliest_alone(model: GPT) -> None:
    model.eval()
    likeliest = set(model(PROMPT[None])[0, -1].topk(3).indices.tolist())
    drawn = generate(model, PROMPT, max_new_tokens=1, seed=0, top_k=3, num_samples=400)[:, -1]
    assert set(drawn.tolist()) == likeliest


def test_frequencies_follow_the_softmax_at_the_temperature(model: GPT) -> None:
    model.eval()
    expected = (model(PROMPT[None])[0, -1] / 0.5).softmax(0)
    drawn = generate(model, PROMPT, max_new_tokens=1, seed=0, temperature=0.5, num_samples=20_000)[:, -1]
    torch.testing.assert_close(drawn.bincount(minlength=12) / 20_000, expected.detach(), atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature must be a finite number of at least 0, but got -1.0"),
        ({"temperature": float("nan")}, "temperature must be a finite number"),
        ({"temperature": float("inf")}, "temperature must be a finite number"),
        ({"top_k": -1}, "top_k must be at least 0, but got -1"),
        ({"seed": -1}, "seed must be at least 0, but got -1"),
        ({"seed": 2**63}, "seed must be at most 9,223,372,036,854,775,807, but got 9223372036854775808"),
        ({"seed": 10**500}, "seed must be at most .*, but got a number of 501 digits; give a smaller one"),
        ({"seed": True}, "seed must be a whole number, but got True"),
        ({"max_new_tokens": 10**30}, "max_new_tokens must be at most 1,000,000"),
        ({"num_samples": 10**12}, "ask for num_samples of at most"),
        ({"max_new_tokens": 1_000_000, "num_samples": 1000}, "ask for num_samples of at most 9"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, but got 0"),
        ({"num_samples": -2}, "num_samples must be at least 1, but got -2"),
    ],
)
def test_options_out_of_range_are_refused(model: GPT, options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        generate(model, PROMPT, **{"max_new_tokens": 3, "seed": 0, **options})  # type: ignore[arg-type]


def test_an_empty_prompt_is_refused(model: GPT) -> None:
    with pytest.raises(ConfigError, match="the prompt is empty"):
        generate(model, PROMPT[:0], max_new_tokens=3, seed=0)


@pytest.mark.parametrize("temperature", [5e-324, 1e-310, 1e-40, 1e-9])
def test_a_temperature_near_zero_draws_the_likeliest(model: GPT, temperature: float) -> None:
    greedy = generate(model, PROMPT, max_new_tokens=12, seed=0, temperature=0)
    assert torch.equal(greedy, generate(model, PROMPT, max_new_tokens=12, seed=5, temperature=temperature))


def test_a_very_high_temperature_draws_evenly(model: GPT) -> None:
    drawn = generate(model, PROMPT, max_new_tokens=1, seed=0, temperature=1e308, num_samples=12_000)[:, -1]
    assert drawn.bincount(minlength=12).min() > 800


def test_top_0_samples_among_all(model: GPT) -> None:
    everything = generate(model, PROMPT, max_new_tokens=20, seed=7)
    assert torch.equal(everything, generate(model, PROMPT, max_new_tokens=20, seed=7, top_k=0))
    assert torch.equal(everything, generate(model, PROMPT, max_new_tokens=20, seed=7, top_k=10**30))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e38])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_whose_logits_are_not_finite_is_refused(value: float, temperature: float) -> None:
    broken = GPT(ModelConfig(shape=Shape(n_head=2, n_layer=1, n_embed=16, block_size=8), vocab_size=12))
    with torch.no_grad():
        broken.lm_head.weight.fill_(value)
        broken.lm_head.bias.fill_(value)
        broken.ln_f.bias.fill_(1.0)
    with pytest.raises(CheckpointError, match="logits are not finite"):
        generate(broken, PROMPT, max_new_tokens=3, seed=0, temperature=temperature)
