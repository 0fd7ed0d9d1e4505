"""All models with what they claim to be, why, and which policies apply: for /admin/models and `safety-proxy models`."""

from __future__ import annotations

from typing import Any

from proxy.policy.names import normalise_model
from proxy.policy.plan import PlanQuery
from proxy.policy.policyset import PolicySet
from proxy.server.models.alignments import Row


def overview(backend: str, rows: list[Row], policies: PolicySet) -> list[dict[str, Any]]:
    """A row for each model of one model server."""
    return [{"model": row.name, "backend": backend, **_said(row), "policies": applying(row, policies)} for row in rows]


def applying(row: Row, policies: PolicySet) -> list[str]:
    """The names of the policies for requests to a model; of those that only watch with a remark."""
    query = PlanQuery(normalise_model(row.name), None, row.claim.status)
    fitting = [policy for policy in policies.policies if policy.applies(query)]
    return [policy.name if policy.enforced else f"{policy.name} (monitor)" for policy in fitting]


def _said(row: Row) -> dict[str, Any]:
    claim, review = row.claim, row.review
    return {
        "status": claim.status,
        "kind": claim.kind,
        "local": claim.local,
        "digest": claim.digest or None,
        "why": claim.why,
        "disagree": claim.disagree,
        "evidence": [one.as_json() for one in claim.evidence],
        "review": None if review is None else review._asdict(),
    }
