"""The workflow interpreter: `decide`, its steps, reactions, undo and migration; pure."""
