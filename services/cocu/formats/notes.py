"""What was decided, guessed or lost while a file was read: counted beside samples that were accepted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from cocu.curation import segmentation
from cocu.text.delimited import Dialect
from cocu.text.encodings import Tally

ENCODING_GUESSED = "encoding_guessed"
CHARACTERS_LOST = "characters_lost"
NO_HEADER = "table_without_header"
SEVERAL_TABLES = "captions_from_several_tables: those of the first table come first"
FIRST_FRAME = "animated_images: the first frame is used"
KEYS_ALIKE = "keys_alike: keys that differ from an earlier one in case or Unicode form alone"
TABLE = "table"
METADATA_DAMAGED = "metadata_damaged: of a .json that is no JSON to its end only captions are kept"
METADATA_TOO_LARGE = "metadata_too_large: only captions are kept of a .json"
NAMES_REPEATED = "json_names_repeated: the last value of a name in one object is used"
NOT_SEGMENTED = f"captions_without_spaces: no concept is found in them without {segmentation.INSTALL}"


@dataclass
class Notes:
    """Counts that grow while a file is read; complete when all its samples have been read.

    tally: texts whose encoding was guessed, and characters that no encoding had. tables: by dialect.
    others: codes of any other kind.
    """

    tally: Tally = field(default_factory=Tally)
    tables: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)

    def table(self, dialect: Dialect) -> None:
        """Count a table that is written so."""
        self.tables[str(dialect)] += 1

    def counts(self) -> dict[str, int]:
        """Return the counts by code; what was guessed or decided follows the code after a colon."""
        counted = {f"{ENCODING_GUESSED}: {name}": count for name, count in self.tally.guessed.items()}
        if self.tally.lost:
            counted[CHARACTERS_LOST] = self.tally.lost
        counted |= {f"{TABLE}: {dialect}": count for dialect, count in self.tables.items()}
        return dict(sorted((counted | self.others).items()))
