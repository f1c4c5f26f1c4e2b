"""Every limit of the drive, with its unit and its reason."""

from typing import Final

UPLOAD_BYTES_MAX: Final = 32_000_000  # One file; below what a gateway takes (50 MB).
FORM_BYTES_MAX: Final = 4 * UPLOAD_BYTES_MAX  # One request without scripts may carry several files.
FORM_FILES_MAX: Final = 50
SMALL_FORM_BYTES_MAX: Final = 64_000  # A form that carries no file: an appeal, a button.
NAME_CHARS_MAX: Final = 120  # A file name as shown; longer ones are cut.
APPEAL_CHARS_MAX: Final = 2_000
APPEALS_PER_REFERENCE_MAX: Final = 5  # A form without a login must not fill the disk.
ANSWER_BYTES_MAX: Final = 1_000_000  # One answer of the gateway.
GATEWAY_WAIT_S: Final = 30.0  # A large picture takes seconds; longer means it cannot screen now.
RETRY_AFTER_S_MAX: Final = 30.0  # A person waits: never sleep longer than this on a gateway's word.
RESCAN_AT_ONCE: Final = 8  # Stored files in flight during a rescan.
ROWS_SHOWN_MAX: Final = 200  # Rows of one table on the platform page.
