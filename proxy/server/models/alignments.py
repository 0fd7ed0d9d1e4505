"""What the models of a model server claim to be: asked beside the requests, and remembered by digest.

A request uses what is known when it arrives. If that is old, a look starts in the background, and the request does not
wait for it, unless the operator asks for a status (`require_alignment`). What nobody has looked at is `unknown`; so is
what the model server has not said for long.

Only what the model server lists counts. The name that a client writes says nothing: whoever asks for `x-instruct` must
not get the policies for instruct models by that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic
from typing import Any, NamedTuple, Protocol

from proxy.alignment.claims import NOT_LISTED, NOT_LOOKED_AT, SILENT, Claim
from proxy.alignment.reviews import reviewed
from proxy.errors import BadRequest, UpstreamError, UpstreamTimeout
from proxy.policy.models_file import NO_REVIEWS, Review, Reviews
from proxy.policy.names import normalise_model
from proxy.policy.schema import Alignment
from proxy.server.models.api import ModelServerApi
from proxy.server.models.listing import Listed, Listing, Lists

log = logging.getLogger("safety_proxy.server")

WITHOUT_TEXT = frozenset(("openai_embeddings", "ollama_embed", "ollama_embeddings", "lmstudio_v0_embeddings"))
"""Dialects whose answers are numbers: nothing that a model says comes out of them, whatever it is."""
REFRESH_AFTER = 10.0  # seconds after which the list is asked again
AGAIN_AFTER = 1.0  # the same for a model that is not in the list: it may be new
EXPIRES_AFTER = 600.0  # seconds after which what the model server said counts as unknown
WAIT = (
    6.0  # seconds that a request waits for a look, where a status is required; a list and a description have five each
)
INTERVAL = 30.0  # seconds between two looks at all models
MAX_MODELS = 200  # that are looked at without being asked for
MAX_WANTED = 1000  # names that requests ask for during one look
NEVER = float("-inf")


class Row(NamedTuple):
    """A model in an overview, with the operator's review; None: there is none that applies."""

    name: str
    claim: Claim
    review: Review | None = None


@dataclass(slots=True)
class _Model:
    """A listed model.

    claim:    what it claims to be; None: it has not been described yet
    tried_at: when its description was last asked for
    row:      what follows from the claim and these reviews
    """

    listed: Listed
    claim: Claim | None
    tried_at: float = NEVER
    row: tuple[Claim | None, Reviews, Row] | None = None


class ReviewSource(Protocol):
    """Where an operator's reviews come from: `proxy.policy.models_store.ModelsStore`."""

    @property
    def current(self) -> Reviews:
        """Those in force."""


class NoReviews:
    """There are none."""

    current = NO_REVIEWS


def tell_nobody(_: object) -> None:
    """Nobody wants to know."""


class Alignments:
    """The models of one model server.

    report: is told of all models after each look; lapsed: of a review that does not apply any more
    """

    def __init__(self, api: ModelServerApi, clock: Callable[[], float] = monotonic) -> None:
        self.report: Callable[[list[Row]], None] = tell_nobody
        self.lapsed: Callable[[Review], None] = tell_nobody
        self.reviews: ReviewSource = NoReviews()
        self._api = api
        self._clock = clock
        self._lists = Lists(api)
        self._models: dict[str, _Model] = {}  # by each name
        self._only: _Model | None = None
        self._asked_at = self._said_at = NEVER
        self._looking: asyncio.Task[None] | None = None
        self._wanted: set[str] = set()
        self._applied: dict[str, Review] = {}  # by the listed name: the latest review that applied
        self._statuses: dict[str, Alignment] = {}  # by the listed name: what is in the log
        self._told: set[tuple[str, str, str]] = set()  # lapsed reviews that are in the log

    def get(self, name: str) -> Claim:
        """What is known now. Starts a look when one is due."""
        model = normalise_model(name)
        if self._is_due(model):
            self._look(model)
        return self._claim(model)

    def known(self, name: str) -> Claim:
        """The same, and nothing is asked."""
        return self._claim(normalise_model(name))

    def shown(self, name: str) -> dict[str, Any] | None:
        """What a client is told in a list of models; None: nobody has looked yet. Nothing is asked."""
        claim = self.known(name)
        if claim is NOT_LOOKED_AT:
            return None
        return {"alignment": claim.status, "evidence": [one.as_json() for one in claim.evidence]}

    async def for_request(self, name: str, required: Alignment | None, *, is_needed: bool) -> None:
        """Before what is `known` counts for one request.

        required:  the status that its model has to have; raises as `require`
        is_needed: some policy depends on it, so a look starts when one is due
        """
        if required is not None:
            await self.require(name, required)
        elif is_needed:
            self.get(name)

    async def require(self, name: str, status: Alignment) -> Claim:
        """What is known of a model that has to have a status. Waits for a look where nothing is known.

        Raises BadRequest if it has another status, UpstreamTimeout if the model server does not say which.
        """
        model = normalise_model(name)
        claim = self.get(name)
        if claim.status != status and self._is_looking:
            await self._end_of_look(WAIT)
            claim = self._claim(model)
        if claim.status == status:
            return claim
        if claim.evidence in (NOT_LOOKED_AT.evidence, SILENT.evidence):
            unsaid = f"The model server has not said what the model {name[:80]!a} is; no prompt is sent before that"
            raise UpstreamTimeout(f"{unsaid} (setting require_alignment)", "timeout", 503)
        told = f"it has to be {status} (setting require_alignment), and it is {claim.status}: {claim.why}"
        raise BadRequest(f"The model {name[:80]!a} is not served here: {told}", "model", "model_not_aligned")

    async def look_at_all(self) -> None:
        """Ask for the list, and for the description of every model whose digest is new."""
        await self._end_of_look()
        self._look(None)
        await self._end_of_look()

    async def run(self) -> None:
        """Look every INTERVAL, until cancelled."""
        while True:
            await self.look_at_all()
            await asyncio.sleep(INTERVAL)

    def rows(self) -> list[Row]:
        """All models, in the order of the model server's list."""
        models = {id(one): one for one in self._models.values()}
        return [self._row(one) for one in models.values()]

    def reviews_changed(self) -> None:
        """The operator's reviews are others now."""
        if self._said_at != NEVER:
            self._tell()

    @property
    def answered(self) -> bool:
        """Whether the model server has said within EXPIRES_AFTER which models it has."""
        return self._clock() - self._said_at < EXPIRES_AFTER

    # -- what is known

    def _claim(self, model: str) -> Claim:
        if self._asked_at == NEVER:
            return NOT_LOOKED_AT
        if not self.answered:
            return NOT_LOOKED_AT if self._is_looking else SILENT
        found = self._only or self._models.get(model)
        return NOT_LISTED if found is None else self._row(found).claim

    def _row(self, model: _Model) -> Row:
        reviews = self.reviews.current
        if model.row is None or model.row[0] is not model.claim or model.row[1] is not reviews:
            listed = model.listed
            review = reviews.find(listed.names, listed.digest)
            claim = model.claim or SILENT._replace(digest=listed.digest)
            row = Row(listed.name, claim if review is None else reviewed(claim, review), review)
            model.row = model.claim, reviews, row
        return model.row[2]

    # -- looks

    @property
    def _is_looking(self) -> bool:
        return self._looking is not None and not self._looking.done()

    async def _end_of_look(self, within: float | None = None) -> None:
        """Wait until no look runs; `within`: seconds, for the one that runs now."""
        while self._looking is not None and not self._looking.done():
            await asyncio.wait([self._looking], timeout=within)
            if within is not None:
                return

    def _is_due(self, model: str) -> bool:
        found, now = self._only or self._models.get(model), self._clock()
        if self._is_looking and (found is None or found.claim is None):
            return len(self._wanted) < MAX_WANTED  # the look that runs takes it along
        if found is None:
            return now - self._asked_at >= AGAIN_AFTER
        if found.claim is None:
            return now - found.tried_at >= AGAIN_AFTER
        return now - self._asked_at >= REFRESH_AFTER

    def _look(self, model: str | None) -> None:
        """Start a look, or let the one that runs look at this model too. None: at all."""
        if model is not None:
            self._wanted.add(model)
        if not self._is_looking:
            self._asked_at = self._clock()
            self._looking = self._api.start(self._run_look(everything=model is None))

    async def _run_look(self, *, everything: bool) -> None:
        try:
            self._take(await self._lists.fetch())
            while (model := self._next(everything)) is not None:
                await self._describe(model)
        except UpstreamError as error:
            log.debug("the model server does not say which models it has: %s", error.for_log)
        except Exception:
            log.exception("what the model server says of its models cannot be read; please report this")
        finally:
            self._wanted.clear()
            self._tell()

    def _next(self, everything: bool) -> _Model | None:
        """A model to describe: first of those that requests are for; others may come to be wanted meanwhile."""
        wanted = [self._models[name] for name in self._wanted if name in self._models]
        rest = list(self._models.values())[:MAX_MODELS] if everything else []
        return next((one for one in (*wanted, *rest) if one.claim is None and one.tried_at < self._said_at), None)

    async def _describe(self, model: _Model) -> None:
        model.tried_at = self._clock()
        try:
            model.claim = await self._lists.describe(model.listed)
        except UpstreamError as error:
            log.debug("model %.200a is not described: %s", model.listed.name, error.for_log)

    def _take(self, listing: Listing) -> None:
        """Keep what is known of models whose digest is the same."""
        self._said_at = self._clock()
        before, self._models, self._only = self._models, {}, None
        for listed in listing.models:
            model = _Model(listed, listed.claim or _same(before, listed))
            self._models.update(dict.fromkeys(listed.names, model))
            self._only = model if listing.only else None

    def _tell(self) -> None:
        rows = self.rows()
        for row, model in zip(rows, _distinct(self._models.values()), strict=True):
            self._watch_review(row, model.listed)
            if model.claim is not None:
                self._watch_status(row)
        self.report(rows)

    def _watch_status(self, row: Row) -> None:
        """Log what a model is when that is first known, if it is not instruct, and when it has changed."""
        before, status = self._statuses.get(row.name), row.claim.status
        self._statuses[row.name] = status
        if before is None and status in ("base", "unaligned"):
            log.info("model %.200a is %s: %s", row.name, status, row.claim.why)
        elif before not in (None, status):
            log.warning("model %.200a is %s, and was %s: %s", row.name, status, before, row.claim.why)

    def _watch_review(self, row: Row, listed: Listed) -> None:
        """Tell, once, that a review was for a model with another digest."""
        reviews = self.reviews.current
        if row.review is not None:
            self._applied[listed.name] = row.review
            return
        before = self._applied.get(listed.name)
        was_pinned = before is not None and before in reviews.entries and bool(before.digest)
        lapsed = reviews.lapsed(listed.names, listed.digest) or (before if was_pinned else None)
        if lapsed is None or (key := (lapsed.place, lapsed.digest, listed.digest)) in self._told:
            return
        self._told.add(key)
        has = f"has {listed.digest[:12]}" if listed.digest else "tells no digests"
        log.warning(
            "%s: the review of model %.200a does not apply: it is for the digest %s, and the model server %s; look at "
            "the model again",
            *(lapsed.place, listed.name, lapsed.digest[:12], has),
        )
        self.lapsed(lapsed)


def _same(before: dict[str, _Model], listed: Listed) -> Claim | None:
    """What was known of a model, if it is still that model."""
    for name in listed.names:
        model = before.get(name)
        if model is not None and listed.digest and model.listed.digest == listed.digest:
            return model.claim
    return None


def _distinct(models: Iterable[_Model]) -> list[_Model]:
    return list({id(one): one for one in models}.values())
