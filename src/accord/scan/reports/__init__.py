"""What leaves the platform about a case: CyberTipline reports, signed webhooks, summaries.

Job: a report in the exact form, made once, whatever crashes; a webhook until it is taken; a summary
for people.
Refuses: to send anything that was not switched on by name; to say of a file that it was viewed
when nobody did; a second report of one case.
Entry points: `filing.file_report`, `webhook.deliver`, `summary.pdf_of`.
Source: docs/spec/reports.md.
"""
