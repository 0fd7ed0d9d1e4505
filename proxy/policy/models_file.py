"""models.yaml: what an operator has found out of models, which goes before what they claim to be.

An entry with a digest holds for that very model. When the model server has another one under the name, the entry does
not apply any more: nobody has looked at that one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct

from proxy.errors import PolicyError
from proxy.policy.document import Document, KeyPath, Problem, Source, Unreadable, lines_of
from proxy.policy.names import normalise_model
from proxy.policy.reader import read_struct
from proxy.policy.schema import DATE, DIGEST, Alignment

Remark = Annotated[str, Meta(max_length=500)]


class ReviewedModel(Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator has found out of one model."""

    status: Annotated[Alignment, Meta(description="what it is")]
    model: Annotated[str, Meta(min_length=1, max_length=500, description="its name, as the model server has it")] = ""
    digest: Annotated[str, Meta(pattern=DIGEST, description="its digest, or how that begins")] = ""
    reviewed_by: Annotated[Remark, Meta(description="who has looked")] = ""
    on: Annotated[str, Meta(pattern=DATE, description="when: a date")] = ""
    note: Annotated[Remark, Meta(description="for people")] = ""


class ModelsFile(Struct, frozen=True, forbid_unknown_fields=True):
    """models.yaml."""

    version: Annotated[Literal[1], Meta(description="version of this format")]
    models: Annotated[tuple[ReviewedModel, ...], Meta(description="one entry for each model")] = ()


class Review(NamedTuple):
    """One entry.

    model:  its name, normalised; "": only the digest counts
    digest: how it begins; "": any
    place:  `models.yaml:3:5`
    """

    status: Alignment
    model: str
    digest: str
    reviewed_by: str
    on: str
    note: str
    place: str

    def names(self, names: Iterable[str]) -> bool:
        """Whether it is for a model of one of these names; without a name it may be for any."""
        return not self.model or self.model in names

    def fits(self, digest: str) -> bool:
        """Whether it is for a model with this digest."""
        return not self.digest or digest.startswith(self.digest)


class Reviews:
    """All entries of a file."""

    def __init__(self, entries: tuple[Review, ...] = ()) -> None:
        self.entries = entries

    def find(self, names: Iterable[str], digest: str) -> Review | None:
        """The entry for a model: one with name and digest goes before one with the digest, that before one with the
        name. `names`: what the model server calls it, normalised."""
        names = frozenset(names)
        fitting = [one for one in self.entries if one.names(names) and one.fits(_bare(digest))]
        return max(fitting, key=lambda one: (bool(one.digest), bool(one.model)), default=None)

    def lapsed(self, names: Iterable[str], digest: str) -> Review | None:
        """An entry that is for a model of this name, but with another digest; None if one applies."""
        names = frozenset(names)
        if self.find(names, digest) is not None:
            return None
        return next((one for one in self.entries if one.model in names and not one.fits(_bare(digest))), None)


NO_REVIEWS = Reviews()


class ModelsDocument(Document):
    """The file, composed."""

    noun = "list of models"
    begins = "start with `version: 1` and `models:`"
    entries = ("models", "model", "model")


def read_models_file(source: Source) -> Reviews:
    """Raises PolicyError with every problem, each with file, line and column."""
    try:
        document = ModelsDocument(source)
    except Unreadable as error:
        raise PolicyError([str(error.problem)]) from None
    if document.has(("policy",)):
        hint = "give the policy's file another name"
        raise PolicyError([str(document.problem(document.root, "this is a policy, not a list of models", hint))])
    file, problems = read_struct(document, ModelsFile)
    problems += [] if problems else _entry_problems(file, document)
    if problems:
        raise PolicyError(lines_of(problems))
    return Reviews(tuple(_review(entry, document, number) for number, entry in enumerate(file.models)))


def _entry_problems(file: ModelsFile, document: Document) -> list[Problem]:
    problems, seen = [], dict[tuple[str, str], int]()
    for number, entry in enumerate(file.models):
        path: KeyPath = ("models", number)
        node = document.at(path)
        key = normalise_model(entry.model), _bare(entry.digest)
        if not any(key):
            problems.append(document.problem(node, "it names no model", "give `model`, `digest` or both", path))
        elif key in seen:
            problems.append(
                document.problem(node, f"it is given before (line {seen[key]})", "keep one of the two", path)
            )
        seen.setdefault(key, node.start_mark.line + 1)
    return problems


def _review(entry: ReviewedModel, document: Document, number: int) -> Review:
    mark = document.at(("models", number)).start_mark
    place = f"{document.name}:{mark.line + 1}:{mark.column + 1}"
    model, digest = normalise_model(entry.model), _bare(entry.digest)
    return Review(entry.status, model, digest, entry.reviewed_by, entry.on, entry.note, place)


def _bare(digest: str) -> str:
    return digest.removeprefix("sha256:")
