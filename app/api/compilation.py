"""How a program was compiled, as the public API tells it."""

import strawberry

from app.api.context import Info
from app.api.enums import ExecutionStatus
from app.api.figures import ResourceUsage
from app.api.output import read
from app.domain import execution as domain


@strawberry.type(description="How a program was compiled.")
class CompilePhase:
    compilation: strawberry.Private[domain.Compilation]
    status: ExecutionStatus = strawberry.field(
        description="How the compiler ended: SUCCEEDED, FAILED, CRASHED or with a limit exceeded."
    )
    exit_code: int | None = strawberry.field(description="Null unless the compiler exited.")
    message: str | None = strawberry.field(
        description="What is wrong when a compiler ended well without a program to run."
    )
    is_cached: bool = strawberry.field(
        description="Whether an equal program of yours had been compiled before, so that nothing "
        "had to be done; the messages are those of that time."
    )

    @classmethod
    def of(cls, compilation: domain.Compilation) -> "CompilePhase":
        """Translate."""
        outcome = compilation.outcome
        return cls(
            compilation=compilation,
            status=ExecutionStatus(outcome.status),
            exit_code=outcome.exit_code,
            message=outcome.message,
            is_cached=compilation.is_cached,
        )

    @strawberry.field(
        description="What the compiler wrote to standard output: its beginning and its end."
    )
    def stdout(self, info: Info) -> str:
        return read(info, self.compilation.stdout, None)

    @strawberry.field(
        description="What the compiler wrote to standard error: its beginning and its end."
    )
    def stderr(self, info: Info) -> str:
        return read(info, self.compilation.stderr, None)

    @strawberry.field(description="What the compiler has used; null when nothing had to be done.")
    def usage(self) -> ResourceUsage | None:
        usage = self.compilation.outcome.usage
        return ResourceUsage.of(usage) if usage else None
