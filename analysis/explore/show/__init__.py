"""What a run says and hands out: its table, its progress, its summary."""
