"""The second fold: what the opened batches and the statements about them add up to.

Job: columns of listings with who published, endorsed and disputed them; from these what a
platform must screen where, and the Merkle root it attests.
Refuses: entries out of order, a fold version voted in that this software does not have.
Every holder of the same group keys computes the same arrays and the same `registry_digest`.
Entry points: `listings.Registry`, `obligation.platform_obligations`, `views.listing_view`,
`feedback.FeedbackFold`, `figures.figures`, `removal.removals`.
Rules: docs/spec/registry.md.
"""

from accord.registry.listings import (
    FOLD_VERSION,
    Misrelease,
    Registry,
    Snapshot,
    registry_digest,
)
from accord.registry.obligation import (
    Certifier,
    Coverage,
    Obligation,
    PlatformObligations,
    certifiers,
    obligation,
    platform_obligations,
)

__all__ = [
    "FOLD_VERSION",
    "Certifier",
    "Coverage",
    "Misrelease",
    "Obligation",
    "PlatformObligations",
    "Registry",
    "Snapshot",
    "certifiers",
    "obligation",
    "platform_obligations",
    "registry_digest",
]
