"""From a match to a person's answer: cases, quarantine, the review queue and what follows from it.

Job: keep what was matched and why; hold the file, encrypted to a key that is named; let one
reviewer at a time decide; make the duties that follow tasks with deadlines; prove that what was
destroyed is gone.
Refuses: two reviewers on one case; a destruction under a hold or before its time.
Entry points: `store.CaseStore`, `desk.CaseDesk`, `intake.taking_in`, `quarantine.Quarantine`.
Source: docs/spec/cases.md.
"""
