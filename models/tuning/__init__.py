"""Trains an encoder further (`safeguard tune`). Needs the extra ``tune``; nothing that serves imports it."""
