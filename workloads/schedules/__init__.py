"""Schedules: what a training run prunes when, spelled as a short text such as `cubic:0-0.8@25%-75%`."""

from zerocast.workloads.schedules.grammar import parse_schedule, schedules
from zerocast.workloads.schedules.ramp import Ramp
from zerocast.workloads.schedules.schedule import Point, Schedule, Segment, Upkeep

__all__ = ["Point", "Ramp", "Schedule", "Segment", "Upkeep", "parse_schedule", "schedules"]
