"""The room that speaks SQL: executions, their programs and their output."""
