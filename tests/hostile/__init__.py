"""Programs that try to exhaust, read, forge, escape or outlive the sandbox."""
