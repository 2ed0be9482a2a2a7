"""The service runtime: a service is its handlers, and this runs them."""

from swarm_common.runtime.service import Service, Work

__all__ = ["Service", "Work"]
