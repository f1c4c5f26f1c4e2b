"""A small cloud drive that screens every file through a gateway before anybody sees it.

A stand-alone web app: it knows the gateway's HTTP API and nothing else of the system behind it.
It refuses to show what was not screened, to show staff a picture that was matched, and to tell an
uploader more than the rule's own words.
Entry points: `python -m clouddrive`, `web.build_app`.
"""
