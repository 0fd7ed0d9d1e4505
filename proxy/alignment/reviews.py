"""An operator's review in place of what a model claims to be."""

from __future__ import annotations

from proxy.alignment.claims import MAX_EVIDENCE, Claim, Evidence, Signal
from proxy.policy.models_file import Review


def reviewed(claim: Claim, review: Review) -> Claim:
    """The claim with the review's status. The review stands before the other evidence, which stays to be seen."""
    when = f", reviewed on {review.on}" if review.on else ""
    for_digest = ", for this digest" if review.digest else ""
    evidence = Evidence(Signal.REVIEW, review.status, f"the operator says so{when}{for_digest}")
    return claim._replace(status=review.status, evidence=(evidence, *claim.evidence)[:MAX_EVIDENCE])
