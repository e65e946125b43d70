//! Whole control planes in one process, asked the questions that users ask: see `tests/`.
