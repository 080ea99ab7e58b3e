"""`register` as a user types it."""

from __future__ import annotations

import dataclasses
import re
import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient

from gpt_experiments.app.register import find_text
from gpt_experiments.cli import program
from gpt_experiments.config import Trial
from gpt_experiments.corpus import Corpus
from gpt_experiments.corpus.sources import TINY_SHAKESPEARE, load_corpus
from gpt_experiments.errors import CorpusError
from gpt_experiments.models.fresh_seeds import WantedCorpus
from gpt_experiments.tracking import Store
from tests.support.stores import BASELINE, add_run, add_sweep


def run(*arguments: object) -> Result:
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


def commands(result: Result) -> list[list[str]]:
    """What a shell would make of the lines that begin with a command."""
    _, _, after = result.output.partition("Next:")
    lines = [line for line in after.splitlines() if "models:/" in line or "curl" in line]
    return [shlex.split(re.split(r" {3,}(?=text from it|serve it|ask the server)", line)[0]) for line in lines]


def test_it_says_what_it_did_and_the_commands_it_prints_work(store_uri: str, corpus: Corpus) -> None:
    add_sweep(Store(store_uri), corpus, {2: [2.5], 4: [2.0]})
    result = run("register", "--confirm", 0, "--tracking-uri", store_uri)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[2].startswith("its loss is optimistic, because the same trials chose and measured it")
    assert lines[0].startswith("sweep mine: the best of 2 variants is n_head=4, mean validation loss 2.0000 nats")
    assert lines[3:5] == [
        "registered it as version 1 of gpt-experiments",
        "version 1 is the champion: there was none",
    ]

    generate, serve, post = commands(result)
    assert generate[1:4] == ["-m", "gpt_experiments", "generate"]
    text = run(*generate[3:], "--max-new-tokens", 20)
    assert text.exit_code == 0, text.output
    assert text.output.startswith("KING HENRY:")
    assert f"MLFLOW_TRACKING_URI={store_uri}" in serve
    assert " ".join(serve).endswith(
        "-m mlflow models serve -m models:/gpt-experiments@champion --env-manager local -p 5001"
    )
    assert post[-1] == '{"inputs": ["KING HENRY:"], "params": {"max_new_tokens": 200}}'


def test_where_the_champion_stays_the_commands_name_the_version(store_uri: str, corpus: Corpus) -> None:
    store = Store(store_uri)
    first, second = add_run(store, corpus, 2.0), add_run(store, corpus, 2.5)
    options = ("--tracking-uri", store_uri, "--name", "m")
    run("register", first, *options)
    stays = run("register", second, *options)
    assert "version 1 stays the champion" in stays.output
    assert "models:/m/2" in commands(stays)[0]
    assert "models:/m@champion" in commands(run("register", second, *options, "--force"))[0]
    assert str(MlflowClient(tracking_uri=store_uri).get_model_version_by_alias("m", "champion").version) == "2"


def add_fresh(store: Store, corpus: Corpus) -> None:
    """The trials that would confirm the sweep `mine`, whose better variant has four heads."""
    shape = dataclasses.replace(BASELINE, n_head=4)
    for seed, loss in ((1_000_001, 2.1), (1_000_002, 2.2)):
        add_run(store, corpus, loss, trial=Trial(shape=shape, seed=seed))


def test_a_sweep_is_confirmed_unless_told_otherwise_and_a_run_is_not(store_uri: str, corpus: Corpus) -> None:
    store = Store(store_uri)
    sweep = add_sweep(store, corpus, {2: [2.5], 4: [2.0]})
    add_fresh(store, corpus)
    by_default = run("register", sweep, "--tracking-uri", store_uri)
    assert (by_default.exit_code, by_default.stdout.splitlines()[2].split(",")[0]) == (1, "1 trial to train")
    assert "sweep mine was trained on generated" in by_default.stderr
    assert "give that text with --data FILE, or --confirm 0 to train nothing" in by_default.stderr

    confirmed = run("register", "--confirm", 2, "--tracking-uri", store_uri)
    assert confirmed.exit_code == 0, confirmed.output
    said = confirmed.output.splitlines()
    assert said[2] == "all trials on fresh seeds are finished already: nothing is trained"
    assert said[3].startswith(
        "on 2 fresh seeds that had no part in the choice (1000001, 1000002) its mean validation loss is 2.1500 ± 0.6353"
    )
    assert len(said) == len(set(said)) + said.count("") - 1  # nothing is said twice

    alone = run("register", add_run(store, corpus, 1.0), "--tracking-uri", store_uri)
    assert "one run was named, so its loss is that of one seed" in alone.output
    assert "version 1 stays the champion: its loss is 1.0000 and the champion's 2.1500" in alone.output


def test_the_text_is_found_where_it_came_from(store_uri: str, tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.txt").write_text(text)
    corpus, other = load_corpus(tmp_path / "mine.txt"), Corpus.from_text(text[:9000], name="other")
    wanted = WantedCorpus(of="sweep mine", name="mine.txt", digest=corpus.digest, source=corpus.source)
    asked: list[str | None] = []

    def load(path: str | None) -> Corpus:
        asked.append(path)
        return load_corpus(path) if path == corpus.source else other

    assert find_text(wanted, None, load).digest == corpus.digest
    assert asked == [corpus.source]
    with pytest.raises(CorpusError, match=r"sweep mine was trained on mine\.txt .* but --data is other"):
        find_text(wanted, "other.txt", load)
    with pytest.raises(CorpusError, match="which is not here; give that text with --data FILE"):
        find_text(dataclasses.replace(wanted, source="/nowhere"), None, load)
    assert len(asked) == 2  # the default text is another one, and is not fetched
    shakespeare = dataclasses.replace(wanted, source=None, digest=TINY_SHAKESPEARE.sha256)
    with pytest.raises(CorpusError):
        find_text(shakespeare, None, load)
    assert asked[-1] is None


def test_numbers_out_of_range_are_misuse(store_uri: str) -> None:
    for option, value, message in (
        ("--confirm", -1, "confirm must be at least 0"),
        ("--confirm", 101, "confirm must be at most 100"),
        ("--margin", 0, "margin must be a number of nats"),
        ("--contenders", 0, "contenders must be at least 1"),
        ("--workers", 0, "workers must be at least 1"),
    ):
        result = run("register", option, value, "--tracking-uri", store_uri)
        assert (result.exit_code, message in result.output) == (2, True), result.output


def test_a_character_that_the_model_does_not_know_is_reported(store_uri: str, corpus: Corpus) -> None:
    run("register", add_run(Store(store_uri), corpus, 2.0), "--tracking-uri", store_uri)
    for prompt, reported in (("naïve", "'ï' (LATIN SMALL LETTER I WITH DIAERESIS)"), ("", "the prompt is empty")):
        result = run("generate", "models:/gpt-experiments@champion", "--prompt", prompt, "--tracking-uri", store_uri)
        assert result.exit_code in (1, 2)
        assert reported in result.output


def test_mistakes_are_reported_and_make_no_store(store_uri: str, tmp_path: Path) -> None:
    result = run("register", "--tracking-uri", f"sqlite:///{tmp_path}/absent.db")
    assert (result.exit_code, "there is nothing to register" in result.output) == (1, True)
    assert not (tmp_path / "absent.db").exists()
    result = run("register", "--tracking-uri", store_uri, "--experiment", "absent")
    assert (result.exit_code, "no experiment 'absent'" in result.output) == (1, True)
    Store(store_uri)
    result = run("register", "nothing", "--tracking-uri", store_uri)
    assert (result.exit_code, "it holds no sweep yet" in result.output) == (1, True)
    result = run("register", "--tracking-uri", store_uri, "--name", "a:b")
    assert (result.exit_code, "but got 'a:b'" in result.output) == (2, True)


def test_serving_needs_no_path_where_this_pythons_programs_are_on_it(
    store_uri: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = add_run(Store(store_uri), corpus, 2.0)
    folder = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", "/nowhere")
    assert f"PATH={folder}:$PATH" in commands(run("register", run_id, "--tracking-uri", store_uri))[1]
    monkeypatch.setenv("PATH", folder)
    assert "PATH=" not in " ".join(commands(run("register", run_id, "--tracking-uri", store_uri))[1])
