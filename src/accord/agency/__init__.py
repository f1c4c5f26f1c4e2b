"""The agency's side: seal and publish batches, keep group keys, govern, write rules.

Job: what needs an agency's private keys and randomness.
Refuses: to sign what the ledger would reject anyway, with the reason and the mend.
Entry points: `sealing.seal_batch`, `keeper.Keeper`, `desk.Desk`, `rulefile.parse_rule_file`.
"""
