"""What one can do with executions: submit, wait, cancel, and what becomes of a dead server's."""
