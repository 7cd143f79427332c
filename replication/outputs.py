"""Every file a whole run leaves behind, as patterns: what the run's RO-Crate describes."""

from replication import paths
from replication.figure_files import FIGURE_FILES, INTERACTIVE

OF_AN_EXPERIMENT = (
    paths.LOSSES,
    paths.TOP10,
    paths.EFFECT,
    paths.LOGIT_LENS,
    paths.RECORD,
    paths.SUMMARY,
    *paths.TOKEN_TABLES,
    *FIGURE_FILES,
    INTERACTIVE,
)

OF_A_MODEL = (
    paths.VERIFIED,
    paths.SECOND_OPINION,
    paths.PUBLISHED,
    paths.CLAIMS,
    paths.VERIFICATION,
    paths.REPORT,
    paths.REPORT_PAGE,
    paths.PROVENANCE,
)
