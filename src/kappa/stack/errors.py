"""What goes wrong with a stack, for people: what is missing, what could not be installed, what does not start."""

from __future__ import annotations

from kappa.errors import KappaError


class ToolMissing(KappaError):
    """A program, or a user, that a stack needs is not on this machine, or is too old.

    Attributes:
        tool: Its name.
        purpose: What it is needed for.
        found: What was found instead.
    """

    def __init__(self, *, tool: str, purpose: str, found: str, next_step: str) -> None:
        super().__init__(f"{tool} {found}: {purpose}", next_step=next_step)
        self.tool, self.purpose, self.found = tool, purpose, found


class InstallFailed(KappaError):
    """What a stack runs could not be fetched or built. Nothing was left half done; the same command may succeed later.

    Attributes:
        what: What was to be installed.
        output: The last lines of the program that tried.
    """

    retryable = True

    def __init__(self, *, what: str, output: str) -> None:
        super().__init__(
            f"could not install {what}:\n{output}",
            next_step="see whether its repositories can be reached, then run the command again",
        )
        self.what, self.output = what, output


class PartFailed(KappaError):
    """A part of a stack ended, or did not answer, before it was ready. The other parts go on.

    Attributes:
        part: Its name.
        reason: What happened.
        output: The last lines of its log.
    """

    def __init__(self, *, part: str, reason: str, output: str, log: str) -> None:
        super().__init__(
            f"{part} {reason}" + (f"; its last words:\n{output}" if output else "; its log is empty"),
            where=log,
            next_step="repair what it complains of, then run the command again: what is up stays up",
        )
        self.part, self.reason, self.output = part, reason, output
