"""The judgement of what each test leaves behind."""

from tests.judging import judged

__all__ = ["judged"]
