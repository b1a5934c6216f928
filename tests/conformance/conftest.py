"""Fixtures shared with the end-to-end tests."""

from tests.end_to_end.conftest import loop_thread as loop_thread
