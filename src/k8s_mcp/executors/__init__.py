"""What carries a run out: `local`, a child process; `kubernetes`, a Job pod. Both start the same runner."""
