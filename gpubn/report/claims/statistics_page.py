"""statistics.md: how a verdict comes about, in a page for a student."""

from collections.abc import Sequence
from textwrap import fill

from gpubn.report.claims import rules
from gpubn.report.claims.decide import SIGNIFICANT, Decision
from gpubn.report.statistics import CONFIDENCE

PAGE = """# How a verdict comes about

**One number, one yardstick.** Every claim has one primary quantity, say the logarithm of the loss
without batchnorm over that with it, and one smallest effect that matters, say a tenth. Everything
else in its table is shown and not tested. A difference that is real and too small to matter counts
as a failure.

**Cases.** A claim may hold for ReLU and fail for tanh. So the quantity is measured in each such
case: {cases} cases for {claims} claims. A case is *shown* where the quantity lies beyond what
matters, *fails* where it is shown to lie short of it, and is *open* otherwise. "No significant
difference" is no failure, and a condition is stated only with a case on either side of it.

**Seeds.** A case has {n} values, one a seed: own weights, own order of the data, own images. The
arms of a comparison share the seed, so that differences are paired. The interval is that of their
mean by Student's t, at {confidence:g}%.

**Many tests.** Each case is held against two bounds by a t-test, {tests} tests in all. If each were
allowed to err once in twenty, several verdicts would be wrong by chance. Holm's method asks more of
the smallest p-values: the chance that *any* of these tests errs stays at {percent:g}%, for values
that scatter normally. {exact} claims are identities or facts, with a tolerance and no p.

**Printed numbers.** A document's number comes from one run of its author. It is held against the
spread of single runs of ours (the predictive interval, mean ± t s √(1 + 1/n)), not against the
narrower interval of our mean. One ordinary number in twenty is called another value by this.

**What this cannot do.** Seeds tell of chance, not of choice: another width, dataset or budget may
give another verdict. So each names its network. {undecided} claims are *undecided*.
"""


def page(decisions: Sequence[Decision]) -> str:
    """The page, with the numbers of these decisions."""
    decided = [d for d in decisions if d.claim and d.verdict]
    exact = [d for d in decided if d.claim and d.claim.kind == rules.EXACT]
    tested = [d for d in decided if d not in exact]
    seeds = sorted(
        {d.evidence.estimates[o.case.quantity].n for d in tested for o in d.outcomes} or {0}
    )
    text = PAGE.format(
        cases=sum(len(d.outcomes) for d in decided),
        claims=len(decided),
        n=f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else seeds[0],
        tests=2 * sum(len(d.outcomes) for d in tested),
        confidence=100 * CONFIDENCE,
        percent=100 * SIGNIFICANT,
        exact=len(exact),
        undecided=sum(d.verdict is not None and d.verdict.word == rules.UNDECIDED for d in decided),
    )
    return "\n\n".join(fill(part, 100) for part in text.split("\n\n")) + "\n"
