"""The preflight and the plan of a run of either kind."""

from collections.abc import Sequence

from scenerec.config.pretrain import PretrainConfig
from scenerec.config.run import RunConfig
from scenerec.training.plan import NodeResources, Plan
from scenerec.training.preflight import Preflight, check_job, plan_job
from scenerec.training.pretrain_preflight import check_pretraining, plan_pretraining


def check_run(config: RunConfig, nodes: Sequence[NodeResources] | None = None, restart: bool = False) -> Preflight:
    """Checks a training or a pretraining, as `check_job` and `check_pretraining` do. Raises their errors."""
    if isinstance(config, PretrainConfig):
        return check_pretraining(config, nodes, restart)
    return check_job(config, nodes, restart)


def plan_run(config: RunConfig) -> Plan:
    """The plan alone, in a job. Raises the errors of `check_run`."""
    return plan_pretraining(config) if isinstance(config, PretrainConfig) else plan_job(config)
