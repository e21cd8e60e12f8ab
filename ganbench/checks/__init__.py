"""The contract tests, for anybody's model, metric or dataset: `ganbench check` and our own tests call these."""

from ganbench.checks.dataset import check_dataset
from ganbench.checks.game import check_game
from ganbench.checks.metric import check_metric
from ganbench.checks.result import Result

__all__ = ["Result", "check_dataset", "check_game", "check_metric"]
