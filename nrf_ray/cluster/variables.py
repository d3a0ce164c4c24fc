"""Environment variables of Ray, which must be set before ray is imported, in this process and in those it starts."""

import os

_SET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    # The searcher decides how many stages are scheduled, by the cluster's resources at that moment.
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",
    "TUNE_WARN_THRESHOLD_S": "10",
}


def set_variables() -> None:
    """Set the variables that this process's environment does not have."""
    for name, value in _SET.items():
        os.environ.setdefault(name, value)
