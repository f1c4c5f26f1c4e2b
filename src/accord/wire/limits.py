"""Every limit, with its unit and its reason. Nothing in Accord is unbounded."""

from typing import Final

# Encoding
CBOR_DEPTH_MAX: Final = 16  # Nesting of any document here is below 10.
TEXT_CHARS_MAX: Final = 4096  # One text field, unless its record says otherwise.

# Statements
BATCH_LISTINGS_MAX: Final = (
    10_000  # One person can still answer for it; one block still carries it.
)
LISTING_VIEWS_MAX: Final = 255  # Patches of a picture, and frames of a film: a byte counts them.
BLOB_BYTES_MAX: Final = 900_000  # Below the engine's 1 MiB transaction, with room for the envelope.
ENVELOPE_BYTES_MAX: Final = 61_440  # A C2SP entry bundle gives an entry 65,535 bytes.
TRANSACTION_BYTES_MAX: Final = ENVELOPE_BYTES_MAX + BLOB_BYTES_MAX + 64
REFS_MAX: Final = 1_000  # Ref ranges in one endorse, dispute or withdraw.
WRAPS_MAX: Final = 400  # Epoch-key wraps in one statement: 470 KB with X-Wing.
KEYS_MAX: Final = 32  # Role keys of one member.
DECRYPTORS_MAX: Final = 4  # Of these, decryption keys: every epoch is wrapped to each.
KEYSETS_DAY_MAX: Final = 24  # Keysets of one member in a day: each leaves rows for ever.
RECIPIENTS_MAX: Final = 4_096  # Holders of one epoch key: 1,024 members with 4 keys each.
GROUPS_MAX: Final = 16  # Release groups of one batch, one platform, one consortium.
AGENCIES_MAX: Final = 64  # Publishers and endorsers are bit masks in one 64-bit word.
JURISDICTIONS_MAX: Final = 64  # Jurisdictions of one member.
CLASSES_MAX: Final = 256  # Classes that a consortium admits: a closed list that people can read.
FEEDBACK_WORDS_MAX: Final = 10_000  # In one statement: 150 KB.
FEEDBACK_ALGORITHMS_MAX: Final = 16  # Algorithms that one statement's words name.
STATEMENT_LIFE_MS_MAX: Final = 3_600_000  # `not_after` lies at most an hour ahead of block time.

# Ledger
BLOCK_TRANSACTIONS_MAX: Final = 512
BLOCK_BYTES_MAX: Final = 4_000_000  # The engine's block size.
MEMBER_BLOCK_BYTES_MAX: Final = (
    2_000_000  # One member's share of a block, so none crowds out the rest.
)
EPOCH_PENDING_MS_MAX: Final = 60_000  # A pending epoch nobody acknowledges may then be replaced.
ROTATION_GRACE_MS: Final = 600_000  # After a removal, publishing under the old epoch stops by then.
PROPOSALS_OPEN_MAX: Final = 64  # Undecided proposals of one agency: each entry looks at all.
CONTINUATIONS_MAX: Final = 16  # Times a consortium goes on from a new genesis; each is a calamity.
STATEMENTS_HOUR_MAX: Final = 36_000  # Of one member: what the ledger must remember stays small.
# Of one platform in a day: reviewers of 100,000 files, said in batches five minutes apart. With a
# wrap for each of 64 agencies a day of it is at most 24 MB in every store.
FEEDBACK_DAY_WORDS_MAX: Final = 100_000
FEEDBACK_DAY_STATEMENTS_MAX: Final = 288

# Log
COSIGNATURES_MAX: Final = 128  # Signature lines of one checkpoint.
CHECKPOINT_BYTES_MAX: Final = 65_536
LOG_SIZE_MAX: Final = 2**63 - 1  # Leaves; sizes and times fit a signed 64-bit integer everywhere.
LOG_ENTRY_BYTES_MAX: Final = 65_535  # A C2SP entry bundle gives a length two bytes.
KEY_NAME_BYTES_MAX: Final = 255  # A note's key name; C2SP's newer cosignatures allow no more.
POLICY_BYTES_MAX: Final = 65_536  # A policy of 64 agencies and 64 witnesses has 20 KB.
POLICY_LINES_MAX: Final = 512  # Logs, witnesses and groups of one policy, comments included.
COSIGN_AGAIN_MS: Final = (
    300_000  # A freeze is visible: heads are signed again though nothing changed.
)
FRESH_MS_MAX: Final = 3_600_000  # A quorum older than this raises an alarm.
EVIDENCE_NOTES_MAX: Final = 64  # Heads of another log that a replica keeps.
STALE_MS_MAX: Final = 86_400_000  # And at a day the list is stale: matching goes on and says so.

# Media
IMAGE_BYTES_MAX: Final = 50_000_000
IMAGE_PIXELS_MAX: Final = 50_000_000
JPEG2000_PIXELS_MAX: Final = 20_000_000  # Its decoder takes 18 bytes a pixel, and 2 s.
IMAGE_SIDE_MAX: Final = 30_000
IMAGE_FRAMES_MAX: Final = 64  # Frames sampled from an animation.
ANIMATION_PIXELS_MAX: Final = 150_000_000  # All frames of an animation: 2 to 2.5 s of CPU.
PICTURES_BESIDE_MAX: Final = 8  # JPEGs that are looked at after the end of one.
ARCHIVE_MEMBERS_MAX: Final = 1_000  # Files in one upload, archives within it included.
ARCHIVE_BYTES_MAX: Final = 100_000_000  # Unpacked, all members together: 0.3 s of CPU for deflate.
SEVEN_ZIP_HEADER_BYTES_MAX: Final = 4_000_000  # What lists the files: 1,000 long names and times.
ARCHIVE_DEPTH_MAX: Final = 4  # Archives in one another; a .tar.gz is two.
VIDEO_BYTES_MAX: Final = 100_000_000_000  # Of a film on a disk: what it says of itself is read.
VIDEO_FRAMES_MAX: Final = 255  # Distinct frames kept of a film, however long; a listing's most.
VIDEO_FRAME_PIXELS_MAX: Final = 36_000_000  # 8K: 7,680 by 4,320; of codecs that refer far, less:
VIDEO_REFERENCE_BYTES_MAX: Final = 480_000_000  # 17 frames of 4K in 10 bit, as HEVC may hold.
VIDEO_PIXELS_MAX: Final = 8_000_000_000  # Decoded and hashed: a minute of 1080p; of keys as much.
VIDEO_MEMBER_PIXELS_MAX: Final = 150_000_000  # The same of a film in an archive: 0.5 s.
VIDEO_KEYS_MAX: Final = 512  # Moments of a long film that are looked for, spread evenly.
VIDEO_STREAMS_MAX: Final = 4  # Streams of pictures in one file: film, cover, other angle.
LOOKS_MAX: Final = 16  # Pictures of a file that frames and patches are looked for in: 0.5 s of CPU.
PDF_PAGES_MAX: Final = 1_000  # Pages of a PDF that are gone over; 1 ms each as a rule.
PDF_OBJECTS_MAX: Final = 100_000  # Texts, paths, pictures and forms of a PDF: 0.2 s.
PDF_DRAWN_MAX: Final = 64  # Pages of a PDF that are drawn: a quarter of an upload's views.
PDF_DRAWN_PIXELS_MAX: Final = 100_000_000  # Of these and of all pictures on them: 1 s of CPU.
PDF_UNPACKED_MAX: Final = 200_000_000  # What is deflated in a PDF: 50 Mpx of RGB; 0.6 s of CPU.
PDF_MEMORY_BYTES: Final = 800_000_000  # Address space of a worker with one: 590 MB resident.
PDF_PATHS_PLAIN_MAX: Final = 256  # Lines and areas of a page of text, tables and all.
VIDEO_CPU_MS: Final = 60_000  # CPU of one film: twice what both of its budgets were seen to take.
VIDEO_WAIT_MS: Final = 180_000  # Wall time of one film: that CPU on cores that others use too.
VIDEO_ALL_STREAMS_MAX: Final = 100  # With those of sound and text: each costs a decoder 1 MB.
DECODE_CPU_MS: Final = 3_000  # CPU of one file, all threads: 50 Mpx take 0.5 to 2.
DECODE_WAIT_MS: Final = 10_000  # Wall time of one file: that CPU on cores that others use too.
LISTING_TIMES: Final = 8  # So much of both for a listing, whose patches are tried.
DECODER_MEMORY_BYTES: Final = 1_400_000_000  # Address space of a worker; 50 Mpx WebP: 1,260 MB.
DECODER_FILES_MAX: Final = 500  # Files before a decoder worker is recycled, if nobody says more.
DECODER_FILES_LIMIT: Final = 2_000  # The most that may be said.
DECODER_CPU_S: Final = 120_000  # CPU of a worker: so many films, each at its time limit.
DECODER_START_MS: Final = 20_000  # A worker loads its codecs in about 0.5 s on an idle core.
FINGERPRINTER_SETTINGS_MAX: Final = 16  # What an installed fingerprinter is called with.
FINGERPRINTER_SETTING_CHARS_MAX: Final = 1_024  # One of them: a path, a name.
DECODER_QUEUE_MAX: Final = 64  # Files that wait for a decoder worker; more are told to back off.
DECODER_QUEUE_WAIT_MS: Final = 30_000  # The longest one waits for a worker.
PDQ_DRIFT_MAX: Final = 10  # Bits between a scaled decoding's fingerprint and the exact one.
PDQ_QUALITY_DRIFT_MAX: Final = 5  # Between the qualities of the two; 1 is the most measured.
VARIANT_BITS_MAX: Final = 36  # Mirrored and turned, whatever a rule's distance for PDQ is;
FRAME_BITS_MAX: Final = 36  # and a picture in a frame. Beyond, unrelated pictures meet too often.
LISTING_PATCHES: Final = 24  # Of a listing, unless told otherwise: 3.2 KB with their index.
LISTING_PATCHES_MAX: Final = 240  # With those for a sixteenth of the picture: 32 KB.
PATCH_BITS_MAX: Final = 36  # So far may a patch be from one listed,
PATCH_VOTES: Final = 2  # and so many must meet, unless a rule asks for more: for a person to see,
PATCH_VOTES_MIN: Final = 3  # and for more than review.
PATCH_VOTES_MORE: Final = 2  # So many more must, where any but a listing's first 24 are counted.
PDQ_QUALITY_MIN: Final = 50  # Below it a fingerprint says too little to be listed or matched.

# Matching
PDQ_THRESHOLD_MAX: Final = 31  # Bits; the interoperable threshold and the default ceiling of rules.
# Default ceiling, Euclidean: alterations were at most 87 apart, the nearest other pictures 415.
# Of L1 too, which is never below L2, so that it is no wider. To be measured on real vectors.
PHOTODNA_THRESHOLD_MAX: Final = 300
CANDIDATES_MAX: Final = 10_000  # Candidates of one lookup that a decision names.
REASONS_MAX: Final = 64  # Reasons that a decision names, strictest first.

# HTTP
REQUEST_LIFE_S_MAX: Final = 300  # A request signature's `expires` minus `created`.
REQUEST_CLOCK_SKEW_S: Final = 30
LONG_POLL_MS_MAX: Final = 25_000

# Node
SUBMIT_QUEUE_BYTES_MAX: Final = 64_000_000  # Transactions that wait for a block: about 16 blocks.
MEMBER_QUEUE_BYTES_MAX: Final = 16_000_000  # One member's share of it.
MEMBER_QUEUE_MAX: Final = 1_024  # Transactions of one member that wait: two full blocks.
# One member's share of the engine's pool. In number: what its hourly quota gives in some seconds,
# and an eighth of a block. In bytes: two shares of a block, or four full batches.
MEMBER_POOL_MAX: Final = 64
MEMBER_POOL_BYTES_MAX: Final = 4_000_000
POOL_MAX: Final = 4_096  # Transactions in the engine's pool: the shares of 64 members.
POOL_BYTES_MAX: Final = 128_000_000  # Their bytes: the shares of 32 that all flood at once.
NONCES_MAX: Final = 200_000  # Request nonces remembered until they expire; 30 MB.
NONCE_CHARS_MAX: Final = 64
LONG_POLLS_MAX: Final = 1_024  # Followers that wait for the next head at one node.

# Consensus
HEADS_GATHERED_MAX: Final = 64  # Heads whose cosignatures a node gathers at once: a minute of them.
COSIGNATURES_KEPT_MAX: Final = 64  # Own signed heads that other nodes may still fetch.
SUBMIT_WAIT_MS: Final = 25_000  # The longest a submission waits for its block and its quorum.
STALL_MS_MAX: Final = 90_000  # No block for three heartbeats: the node says that it is stalled.
SUBMIT_AHEAD: Final = 4  # Statements of one person under way: four full batches fill a block share.
PEERS_MAX: Final = 63  # Other agencies' nodes.
SNAPSHOT_CHUNK_BYTES_MAX: Final = 4_000_000  # Below the engine's 16 MB; seconds on a slow line.
SNAPSHOT_CHUNKS_MAX: Final = 100_000  # 400 GB of log; the engine takes as many.

# Agency
RULE_FILE_BYTES_MAX: Final = 262_144  # A rule set that fits an envelope, with ample comments.
RULE_FILE_DEPTH_MAX: Final = 8  # A rule set nests 5 deep.

# Scanning
RECEIPT_BATCH_MAX: Final = 512  # Receipts that share one fsync: about 1 MB.
RECEIPT_QUEUE_MAX: Final = 8192  # Receipts that wait for the disk; more are told to back off.
RECEIPT_SECRETS_MS: Final = 7_776_000_000  # Salts open a receipt for 90 days, then are deleted.
SCREEN_JSON_BYTES_MAX: Final = 262_144  # Fingerprints of 255 views are 30 KB.
SCREEN_BYTES_IN_FLIGHT_MAX: Final = 400_000_000  # Request bodies held at once; more back off.
UPLOAD_FILM_BYTES_MAX: Final = 2_000_000_000  # A film in a request, if nobody says more or less.
SPOOL_BYTES_MAX: Final = 8_000_000_000  # Of all films that are under way, as above.
SPOOL_FREE_BYTES_MIN: Final = 1_000_000_000  # What films leave of a disk: receipts need it.
UPLOAD_SILENCE_S_MAX: Final = 30  # Between two parts of a body.
UPLOAD_WAIT_S_MAX: Final = 3_600  # A whole body: the largest film at 4.5 Mbit/s.
UPLOAD_ID_CHARS_MAX: Final = 64
ATTEST_GAP_MS: Final = 3_000  # Attestations are at least so far apart: a burst is one.
ATTEST_LIFE_MS: Final = 600_000  # `not_after` of an attestation.
ATTEST_ANCHOR_MS: Final = 3_600_000  # New receipts are anchored in the ledger within the hour.
REPLICA_POLL_MS: Final = 250  # How often a reader looks whether another process has synced.
FOLLOW_WAIT_MS: Final = 10_000  # One long poll of a follower; also how late it notices a stop.
FOLLOW_BACKOFF_MS_MAX: Final = 15_000  # Between tries while no node answers.
BULK_AHEAD_PER_WORKER: Final = 4  # Files in memory for each decoder while a scan runs.
BULK_FLUSH_FILES: Final = 200  # A killed scan looks at so many files again at most.
BULK_REFRESH_MS: Final = 30_000  # How often a running scan takes over a newer list.

# Look-ups by clients that do not hold the list
LOOKUPS_MINUTE: Final = 60  # Requests of one client, if its operator says nothing else.
LOOKUPS_DAY: Final = 20_000  # Its fingerprints in a day: a small forum has some thousand uploads.
LOOKUPS_MAX: Final = 10_000_000  # The most that either may be.
LOOKUP_CLIENTS_MAX: Final = 4_096  # Clients of one gateway.
# Different fingerprints of one client that matched one listing within the memory. With pairs of
# flipped bits about 17 matches name every bit that differs: half as many.
LOOKUP_PROBES_MAX: Final = 8
LOOKUP_PROBES_MS: Final = 2_592_000_000  # That memory: 30 days.
# Uploads match once in thousands. Below so many matches a day a share says nothing.
LOOKUP_ALARM_MATCHES_MIN: Final = 20
LOOKUP_ALARM_PER_MILLE: Final = 50
LOOKUP_WAIT_S_MAX: Final = 60  # As long as `accord lookup` waits by itself when told to.

# Cases
CASE_TEXT_CHARS_MAX: Final = 500  # A reason, a reference, the name of a hold.
CASE_LEASE_MS: Final = 1_800_000  # A reviewer who goes away keeps a case for half an hour.
CASE_MATCHES_MAX: Final = 64  # Matches that a case names, as many as a decision does.
CASES_LISTED_MAX: Final = 1_000  # Cases that one listing of the queue shows.
CASES_FILE_BYTES_MAX: Final = 65_536  # The settings of cases and reports, and the local layer's.
LOCAL_FILE_BYTES_MAX: Final = 2_000_000  # About 10,000 files known to be benign.
REPORT_BYTES_MAX: Final = 1_000_000  # An answer of a report desk; its own are below 1 KB.
WEBHOOK_TRIES_MAX: Final = 12  # With doubled waits from 5 s on that is about 3 hours.

# Audit
SYNC_SLACK_MS: Final = 60_000  # Added to each deadline, which counts from block time.
BACKDATED_SLACK_MS: Final = 7_200_000  # A statement may be an hour old when logged, clocks differ.
FINDINGS_MAX: Final = 20  # Violations of one kind that a verdict names; it counts them all.
AUDIT_LEAVES_MAX: Final = 20_000_000  # Receipts one audit reads.
ANSWER_ITEMS_MAX: Final = 513  # Values of one answer about the list: 510 views, three digests.
ANSWER_FILE_BYTES_MAX: Final = 262_144  # Its file: 300 bytes a value.
KEEPER_TURN_MS: Final = 5_000  # Each keeper's head start over the next; a block takes about 1 s.
STATEMENT_LIFE_MS: Final = 600_000  # What our statements ask for: clocks may be minutes apart.
