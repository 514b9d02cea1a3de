"""The alert rules, tried by Prometheus' own tool on series that are made up."""

import shutil
from pathlib import Path

import yaml

from tests.monitoring import RULES, promtool

TESTS = Path(__file__).parent / "rules_test.yml"


def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    for file in (RULES, TESTS):
        shutil.copy(file, tmp_path)
    promtool("check", "rules", RULES.name, folder=tmp_path)
    promtool("test", "rules", TESTS.name, folder=tmp_path)


def test_no_alert_is_without_a_test() -> None:
    groups, tests = (yaml.safe_load(file.read_text()) for file in (RULES, TESTS))
    alerts = {rule["alert"] for group in groups["groups"] for rule in group["rules"] if "alert" in rule}
    tried = [case for test in tests["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in tried if "exp_alerts" in case} == alerts  # it fires
    assert {case["alertname"] for case in tried if "exp_alerts" not in case} == alerts  # and it does not
