"""The console command ``qabel-block``: what an operator does to a ledger and its
storage beside the running server (PROTOCOL section 8)."""
