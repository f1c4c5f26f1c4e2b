"""The agency's side: seal and publish batches, keep group keys, govern, write rules.

Job: what needs an agency's private keys and randomness.
Refuses: listings that say too little, rule files with any mistake, epochs that do not open.
Entry points: `desk.Desk`, `keeper.Keeper`, `book.AgencyBook`, `rulefile.parse_rule_file`,
`application.parse_application`, `founding.found_trial`, `sealing.seal_batch`.
"""
