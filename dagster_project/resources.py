"""The project as a Dagster resource: settings, policy, rules and the database."""

from datetime import UTC, datetime

import dagster as dg

from pm.features.featurefile import feature_set_of
from pm.features.featureset import FeatureSet
from pm.labels.failures import FailureRules, load_rules
from pm.policy import Policy, load_policy
from pm.settings import Settings, read_settings
from pm.store.connection import Connection, database_url, open_database


class Project(dg.ConfigurableResource):
    """Everything an asset needs from outside, read when a run starts."""

    def settings(self) -> Settings:
        return read_settings()

    def policy(self) -> Policy:
        return load_policy(self.settings().policy_file)

    def feature_set(self) -> FeatureSet:
        """The configured set: used where none was chosen."""
        return feature_set_of(self.settings(), self.policy())

    def rules(self) -> FailureRules:
        return load_rules(self.settings().failure_rules_file)

    def database(self) -> Connection:
        """An open connection, migrated; use it as a context manager."""
        return open_database(self.settings())

    def database_url(self) -> str:
        return database_url(self.settings())

    def now(self) -> datetime:
        """The only clock that assets read."""
        return datetime.now(UTC)
