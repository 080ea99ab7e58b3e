"""Whether a version becomes the champion: only if a test on fresh seeds says so, or the user does."""

from __future__ import annotations

from dataclasses import dataclass

from gpt_experiments.analysis.contest import Contest
from gpt_experiments.tracking.registry import RegisteredVersion


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """A version against the champion.

    Attributes:
        wins: whether it gets the alias.
        why: a sentence.
    """

    wins: bool
    why: str


def challenge(
    version: RegisteredVersion, champion: RegisteredVersion | None, between: Contest | None, *, force: bool
) -> Challenge:
    """Decide who is the champion.

    Without `force`, the version must be better by a test on fresh seeds of the same corpus, or equivalent with fewer
    parameters. Where one of the two has fewer than two fresh seeds, there is no test, and the champion stays.

    Args:
        between: the version minus the champion; None where no test is possible.
    """
    number = version.version
    if champion is None:
        return Challenge(wins=True, why=f"version {number} is the champion: there was none")
    if champion.version == number:
        return Challenge(wins=True, why=f"version {number} is the champion already")
    why, wins = _judge(version, champion, between)
    if wins:
        return Challenge(wins=True, why=f"version {number} is now the champion: {why}")
    if force:
        return Challenge(wins=True, why=f"version {number} is now the champion because of --force, although {why}")
    remedy = f"use --force to make version {number} the champion"
    return Challenge(wins=False, why=f"version {champion.version} stays the champion: {why}; {remedy}")


def _judge(version: RegisteredVersion, champion: RegisteredVersion, between: Contest | None) -> tuple[str, bool]:
    """What speaks for or against the version, and whether it is enough."""
    if None in (champion.corpus_digest, champion.val_loss):
        return f"the loss or the corpus of version {champion.version}, the champion, is not recorded", False
    if champion.corpus_digest != version.corpus_digest:
        return (
            f"version {champion.version}, the champion, was trained on another text, {champion.corpus}, "
            f"so its loss cannot be compared with one on {version.corpus}"
        ), False
    if between is None:
        return _untested(version, champion), False
    found = f"{between_text(between)}, against version {champion.version}, the champion so far"
    if between.is_better:
        return f"its loss on fresh seeds is lower by a test: {found}", True
    if not between.is_equivalent:
        verdict = "higher" if between.verdict == "worse" else "not lower by a test"
        more = "" if between.verdict == "worse" else "; more fresh seeds (--confirm) would say more"
        return f"its loss on fresh seeds is {verdict}: {found}{more}", False
    same = f"its loss on fresh seeds is equivalent, within {between.margin:g} nats: {found}"
    if version.n_params is not None and champion.n_params is not None and version.n_params < champion.n_params:
        return f"{same}; and it has fewer parameters, {version.n_params:,} instead of {champion.n_params:,}", True
    return f"{same}; but it has no fewer parameters", False


def between_text(between: Contest) -> str:
    """The difference in words: `-0.0123 ± 0.0040 nats per character, paired by 3 seeds, p = 0.004`."""
    how = (
        f"paired by {between.seeds[0]} seeds"
        if between.is_paired
        else f"Welch's test with {between.seeds[0]} and {between.seeds[1]} seeds"
    )
    return f"{between.difference:+.4f} ± {between.half_width:.4f} nats per character, {how}, p = {between.p_value:.2g}"


def _untested(version: RegisteredVersion, champion: RegisteredVersion) -> str:
    lacking = [one for one in (version, champion) if not one.fresh or len(one.fresh) < 2]
    who = f"version {lacking[0].version} does not have" if len(lacking) == 1 else "neither has"
    return (
        f"its loss is {version.val_loss:.4f} and the champion's {champion.val_loss:.4f}, but no test is possible, "
        f"because {who} two fresh seeds"
    )
