"""The public types of languages: their versions and their packages."""

import strawberry

from app.api.enums import LanguageId
from app.api.scalars import BigInt
from app.domain import environment as domain
from app.domain.language import Language as DomainLanguage
from app.domain.ports import Support


@strawberry.type(description="A package of an environment.")
class Package:
    name: str = strawberry.field(description="As its registry calls it.")
    version: str = strawberry.field(description="Exactly.")


@strawberry.type(description="Packages for programs of one language, under one name.")
class Environment:
    environment: strawberry.Private[domain.Environment]
    id: str = strawberry.field(description="For `environment` of `executeCode`.")
    is_available: bool = strawberry.field(description="Whether a program can have it here.")
    unavailable_reason: str | None = strawberry.field(
        description="Why it cannot be had here, and what an operator can do."
    )

    @classmethod
    def of(cls, environment: domain.Environment, support: Support) -> "Environment":
        """Translate; what is not known of one that others may have is no reason against it."""
        state = support.environments.get(environment.id)
        reason = state.reason if state else support.reason
        return cls(
            environment=environment,
            id=environment.id,
            is_available=reason is None,
            unavailable_reason=reason,
        )

    @strawberry.field(description="What is in it: what was asked for, and what that needs.")
    def packages(self) -> list[Package]:
        return [Package(name=each.name, version=each.version) for each in self.environment.packages]


@strawberry.type(description="A programming language, and whether it can be run here.")
class Language:
    id: LanguageId = strawberry.field(description="The language in inputs and filters.")
    name: str = strawberry.field(description="The language as people call it.")
    version: str | None = strawberry.field(description="The version that runs, if one does.")
    versions: list[str] = strawberry.field(
        description="Those that `languageVersion` can choose from, the usual one first; empty "
        "where they are not known, as on a server that runs nothing itself."
    )
    is_available: bool = strawberry.field(description="Whether it can be run here.")
    unavailable_reason: str | None = strawberry.field(
        description="Why it cannot be run here, and what an operator can do."
    )
    default_memory_bytes: BigInt | None = strawberry.field(
        description="The memory that its programs have by default, where that is more than usual."
    )
    is_compiled: bool = strawberry.field(
        description="Whether programs are compiled first, with limits and an outcome of its own."
    )
    has_function_tests: bool = strawberry.field(
        description="Whether tests can `call` a function of a program."
    )
    editor_mode: str = strawberry.field(
        description="Its name in code editors such as CodeMirror and Monaco."
    )
    file_extension: str = strawberry.field(description="As editors know it, with its dot.")
    example: str = strawberry.field(description="A program that prints `Hello, world!`.")

    environments: list[Environment] = strawberry.field(
        description="Packages that its programs can have, under their names."
    )

    @classmethod
    def of(cls, language: DomainLanguage, support: Support) -> "Language":
        """Translate."""
        return cls(
            id=LanguageId(language.id),
            name=language.name,
            version=support.version,
            versions=list(support.versions or ()),
            is_available=support.is_available,
            unavailable_reason=support.reason,
            default_memory_bytes=None if language.memory is None else BigInt(language.memory),
            is_compiled=language.is_compiled,
            has_function_tests=language.harness is not None,
            editor_mode=language.editor_mode,
            file_extension=language.file_extension,
            example=language.example,
            environments=[Environment.of(each, support) for each in language.environments],
        )
